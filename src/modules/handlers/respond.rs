//! `respond`: an answer written in the configuration.
//!
//! ```caddyfile
//! :8080 {
//! 	respond /health "I'm well" 200
//! 	respond 404 {
//! 		body <<TEXT
//! 			There is nothing at {path}.
//! 			TEXT
//! 		close
//! 	}
//! }
//! ```

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::{ModuleJson, WeakString};
use crate::http::{
    Body, Exchange, Handler, HandlerError, HandlerType, Outcome, Provision, ProvisionError, Response, Step,
    Template, Unknown,
};
use crate::module::Module;

const SYNTAX: &str = "respond [<matcher>] <status>|<body> [<status>] {
	body <text>
	close
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: "respond", syntax: SYNTAX, parse: Parse::Handler(parse) }],
    ..Module::EMPTY
};

/// The name in JSON; other directives answer with it too.
pub(super) const NAME: &str = "static_response";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/static_response/>).
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticResponse {
    /// The status: a number, or text with placeholders.
    #[serde(default, skip_serializing_if = "WeakString::is_empty")]
    pub status_code: WeakString,
    /// Header fields to set.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub headers: std::collections::BTreeMap<String, Vec<String>>,
    /// The body, with placeholders.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Whether the connection ends after the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub close: bool,
    /// Whether the connection ends without an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub abort: bool,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut response = StaticResponse::default();
    cursor.next();
    match cursor.remaining_args().as_slice() {
        // Three digits are a status, anything else is a body.
        [one] if one.len() == 3 && one.parse::<u16>().is_ok_and(|code| code > 0) => {
            response.status_code = one.as_str().into();
        }
        [body] => response.body.clone_from(body),
        [body, status] => {
            response.body.clone_from(body);
            response.status_code = status.as_str().into();
        }
        _ => return Err(cursor.arg_err()),
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "body" if !response.body.is_empty() => return Err(cursor.err("body already specified")),
            "body" => [response.body] = cursor.all_args()?,
            "close" if response.close => return Err(cursor.err("close already specified")),
            "close" => response.close = true,
            other => {
                let message = format!("unrecognized subdirective '{other}'");
                return Err(cursor.err(message).did_you_mean(cursor.val(), ["body", "close"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &response))
}

struct Respond {
    status: Status,
    headers: Box<[(HeaderName, Template)]>,
    body: Template,
    close: bool,
    abort: bool,
}

enum Status {
    Fixed(StatusCode),
    Dynamic(Template),
}

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let config: StaticResponse = json.decode(HANDLER_TAG)?;
    let mut headers = Vec::new();
    for (name, values) in &config.headers {
        let name: HeaderName =
            name.parse().map_err(|_| ProvisionError::invalid(format!("invalid header name '{name}'")))?;
        headers.extend(values.iter().map(|value| (name.clone(), Template::compile(value, Unknown::Keep))));
    }
    Ok(Box::new(Respond {
        status: status(&config.status_code)?,
        headers: headers.into(),
        body: Template::compile(&config.body, Unknown::Keep),
        close: config.close,
        abort: config.abort,
    }))
}

fn status(said: &WeakString) -> Result<Status, ProvisionError> {
    let text = said.as_str();
    if text.is_empty() {
        return Ok(Status::Fixed(StatusCode::OK));
    }
    if text.contains('{') {
        return Ok(Status::Dynamic(Template::compile(text, Unknown::Empty)));
    }
    let code = text.parse().map_err(|_| ProvisionError::invalid(format!("invalid status code '{text}'")))?;
    Ok(Status::Fixed(code))
}

impl Handler for Respond {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Now(match self.respond(x) {
            Ok(response) => Outcome::Respond(response),
            Err(error) => Outcome::Fail(error),
        })
    }
}

impl Respond {
    fn respond(&self, x: &mut Exchange) -> Result<Response, HandlerError> {
        x.abort |= self.abort;
        x.close_connection |= self.close;
        let status = match &self.status {
            Status::Fixed(status) => *status,
            Status::Dynamic(template) => {
                StatusCode::from_bytes(&template.render(x)).map_err(HandlerError::internal)?
            }
        };
        let mut headers = std::mem::take(&mut x.response_headers);
        self.set_headers(x, &mut headers)?;
        let body = self.body.render(x).into_owned();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn set_headers(&self, x: &Exchange, headers: &mut HeaderMap) -> Result<(), HandlerError> {
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(&value.render(x)).map_err(HandlerError::internal)?;
            headers.append(name, value);
        }
        if !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        Ok(())
    }
}
