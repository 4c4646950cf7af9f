//! `respond`: an answer written in the configuration.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::http::{
    Body, Exchange, Handler, HandlerError, HandlerType, Outcome, Provision, ProvisionError, Response, Step,
    Template, Unknown,
};
use crate::module::Module;

pub(super) static MODULE: Module =
    Module { handler: Some(HandlerType { id: "static_response", provision }), ..Module::EMPTY };

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/static_response/>).
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticResponse {
    /// The status: a number, or text with placeholders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<serde_json::Value>,
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
        status: status(config.status_code.as_ref())?,
        headers: headers.into(),
        body: Template::compile(&config.body, Unknown::Keep),
        close: config.close,
        abort: config.abort,
    }))
}

fn status(said: Option<&serde_json::Value>) -> Result<Status, ProvisionError> {
    let text = match said {
        None => return Ok(Status::Fixed(StatusCode::OK)),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if text.contains('{') {
        return Ok(Status::Dynamic(Template::compile(&text, Unknown::Empty)));
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
