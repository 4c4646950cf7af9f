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

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::redir;

use crate::adapt::{Cursor, Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
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
    schemas: &[ModuleSchema::of::<StaticResponse>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The name in JSON; other directives answer with it too.
pub(super) const NAME: &str = "static_response";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/static_response/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
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
    (response.body, response.status_code) = text_and_status(cursor)?;
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

/// Reads a text, a status, or both; three digits alone are a status.
pub(super) fn text_and_status(cursor: &mut Cursor) -> Result<(String, WeakString), Error> {
    Ok(match cursor.remaining_args().as_slice() {
        [one] if one.len() == 3 && one.parse::<u16>().is_ok_and(|code| code > 0) => {
            (String::new(), one.as_str().into())
        }
        [text] => (text.clone(), WeakString::default()),
        [text, status] => (text.clone(), status.as_str().into()),
        _ => return Err(cursor.arg_err()),
    })
}

/// A static response, compiled.
struct Respond {
    /// `None` is 200, or the error's status in error routes.
    status: Option<Status>,
    headers: Box<[(HeaderName, Box<[Template]>)]>,
    body: BodyText,
    close: bool,
    abort: bool,
}

/// A status, which may come out of placeholders.
pub(super) enum Status {
    Fixed(StatusCode),
    Dynamic(Template),
}

/// What the body says.
enum BodyText {
    Empty,
    /// The same for every request, with the content type that it looks like.
    Fixed(Bytes, HeaderValue),
    Dynamic(Template),
    /// A page that sends browsers elsewhere. What placeholders put into it is escaped, so that nothing
    /// that a client sends can become a script.
    Page(Template),
}

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let config: StaticResponse = json.decode(HANDLER_TAG)?;
    let mut headers = Vec::new();
    for (name, values) in &config.headers {
        let name: HeaderName =
            name.parse().map_err(|_| ProvisionError::invalid(format!("invalid header name '{name}'")))?;
        headers.push((name, values.iter().map(|value| Template::compile(value, Unknown::Keep)).collect()));
    }
    Ok(Box::new(Respond {
        status: Status::compile(&config.status_code)?,
        headers: headers.into(),
        body: BodyText::compile(&config.body),
        close: config.close,
        abort: config.abort,
    }))
}

impl Status {
    /// The status that is said; `None` if none is.
    pub(super) fn compile(said: &WeakString) -> Result<Option<Self>, ProvisionError> {
        let text = said.as_str();
        if text.is_empty() {
            return Ok(None);
        }
        let template = Template::compile(text, Unknown::Empty);
        Ok(Some(match template.constant() {
            Some(code) => Self::Fixed(parse_status(&code).map_err(ProvisionError::invalid)?),
            None => Self::Dynamic(template),
        }))
    }

    /// The status for one request.
    pub(super) fn of(&self, x: &Exchange) -> Result<StatusCode, HandlerError> {
        match self {
            Self::Fixed(status) => Ok(*status),
            Self::Dynamic(template) => parse_status(&template.render(x)).map_err(HandlerError::internal),
        }
    }
}

/// The status in a text. Other modules take theirs in this form too.
pub(super) fn parse_status(text: &[u8]) -> Result<StatusCode, String> {
    let text = String::from_utf8_lossy(text);
    let code = text.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok());
    code.ok_or_else(|| format!("invalid status code {text:?}"))
}

impl BodyText {
    fn compile(text: &str) -> Self {
        let template = Template::compile(text, Unknown::Keep);
        match template.constant() {
            Some(text) if text.is_empty() => Self::Empty,
            Some(text) => {
                let content_type = content_type(&text);
                Self::Fixed(text.into_owned().into(), content_type)
            }
            None if text.starts_with(redir::PAGE_START) => Self::Page(template),
            None => Self::Dynamic(template),
        }
    }

    /// The body for one request and the content type that it looks like; `None` if it is empty.
    fn render(&self, x: &Exchange) -> Option<(Bytes, HeaderValue)> {
        let text: Bytes = match self {
            Self::Empty => return None,
            Self::Fixed(text, content_type) => return Some((text.clone(), content_type.clone())),
            Self::Dynamic(template) => template.render(x).into_owned().into(),
            Self::Page(template) => escaped_page(&template.render_marked(x)).into(),
        };
        let content_type = content_type(&text);
        (!text.is_empty()).then_some((text, content_type))
    }
}

/// JSON objects and arrays are `application/json`, all else is plain text.
fn content_type(body: &[u8]) -> HeaderValue {
    let text = body.trim_ascii();
    let is_json = text.len() > 2
        && matches!((text[0], text[text.len() - 1]), (b'{', b'}') | (b'[', b']'))
        && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    HeaderValue::from_static(if is_json { "application/json" } else { "text/plain; charset=utf-8" })
}

/// A page whose bytes from placeholders are part of an address, first in a script, then in HTML. What could end
/// either is written as an address writes it. An ampersand is itself in a script; in HTML it would begin an
/// entity, which could be any character.
fn escaped_page(marked: &[(u8, bool)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(marked.len());
    let mut is_script = true;
    for run in marked.chunk_by(|(_, left), (_, right)| left == right) {
        let text = run.iter().map(|(byte, _)| *byte);
        let start = out.len();
        if run[0].1 {
            out.extend(text);
            is_script &= memchr::memmem::find(&out[start..], b"</script>").is_none();
            continue;
        }
        for byte in text {
            match byte {
                b'"' | b'\'' | b'<' | b'>' | b'\\' | b'`' | 0..=b' ' | 0x7f => {
                    out.extend_from_slice(format!("%{byte:02X}").as_bytes());
                }
                b'&' if !is_script => out.extend_from_slice(b"&amp;"),
                _ => out.push(byte),
            }
        }
        let scheme = SCRIPTS.iter().find(|scheme| {
            out[start..]
                .get(..scheme.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(scheme.as_bytes()))
        });
        if let Some(scheme) = scheme {
            let colon = start + scheme.len() - 1;
            out.splice(colon..=colon, *b"%3A");
        }
    }
    out
}

/// Addresses that begin so are programs.
const SCRIPTS: [&str; 3] = ["javascript:", "vbscript:", "data:"];

impl Handler for Respond {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Now(self.respond(x).unwrap_or_else(Outcome::Fail))
    }
}

impl Respond {
    fn respond(&self, x: &mut Exchange) -> Result<Outcome<'static>, HandlerError> {
        x.abort |= self.abort;
        x.close_connection |= self.close;
        let body = self.body.render(x);
        self.set_headers(x);
        if let Some((_, content_type)) = &body
            && x.response_headers.get(CONTENT_TYPE).is_none_or(HeaderValue::is_empty)
        {
            x.response_headers.insert(CONTENT_TYPE, content_type.clone());
        }
        let status = self.status(x)?;
        if status == StatusCode::EARLY_HINTS {
            x.interim_way().send(status, &x.response_headers);
            return Ok(Outcome::Next);
        }
        let status = x.interim_way().settle(status, &x.response_headers);
        let mut response = Response::new(body.map_or(Body::Empty, |(body, _)| Body::Full(body)));
        *response.status_mut() = status;
        *response.headers_mut() = std::mem::take(&mut x.response_headers);
        Ok(Outcome::Respond(response))
    }

    fn status(&self, x: &Exchange) -> Result<StatusCode, HandlerError> {
        match &self.status {
            None => Ok(x.error.as_ref().map_or(StatusCode::OK, |error| error.status)),
            Some(status) => status.of(x),
        }
    }

    fn set_headers(&self, x: &mut Exchange) {
        for (name, values) in &self.headers {
            let values: SmallVec<[HeaderValue; 1]> =
                values.iter().map(|value| value.render_header(x)).collect();
            x.response_headers.remove(name);
            for value in values {
                x.response_headers.append(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::modules::testing::{adapt, routes, site, try_site};

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = |line: &str| routes(line)[0]["handle"][0].take();
        for (line, expected) in [
            ("respond hello", json!({"handler": NAME, "body": "hello"})),
            ("respond 404", json!({"handler": NAME, "status_code": 404})),
            ("respond 000", json!({"handler": NAME, "body": "000"})),
            ("respond no 404", json!({"handler": NAME, "status_code": 404, "body": "no"})),
            ("respond {\nbody x\nclose\n}", json!({"handler": NAME, "body": "x", "close": true})),
        ] {
            if line.ends_with('}') {
                // Without an argument Caddy refuses it.
                assert!(adapt(line).unwrap_err().contains("wrong argument count"), "{line}");
            } else {
                assert_eq!(json(line), expected, "{line}");
            }
        }
        for (line, says) in [
            ("respond a 200 {\nbody b\n}", "body already specified"),
            ("respond 200 {\nclose\nclose\n}", "close already specified"),
            ("respond 200 {\nbdoy b\n}", "unrecognized subdirective 'bdoy'"),
            ("respond a 200 c", "wrong argument count"),
        ] {
            let error = adapt(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    fn answer(directives: &str, target: &str) -> Response {
        site(directives).serve(&mut Exchange::get(target, &[]))
    }

    fn content_type_of(response: &Response) -> &str {
        response.headers().get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap())
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn json_and_text_are_told_apart() {
        for (body, expected) in [
            ("plain", "text/plain; charset=utf-8"),
            (r#" {"a":1} "#, "application/json"),
            ("[1]", "application/json"),
            ("[]", "text/plain; charset=utf-8"),
            ("{bad}", "text/plain; charset=utf-8"),
            ("", ""),
        ] {
            assert_eq!(content_type_of(&answer(&format!("respond `{body}`"), "/")), expected, "{body}");
        }
        let own = answer("header Content-Type text/x\nrespond `[1]`", "/");
        assert_eq!(content_type_of(&own), "text/x");
    }

    #[test]
    fn the_status_may_be_a_placeholder() {
        for (target, expected) in [("/?s=201", 201), ("/?s=x", 500), ("/?s=", 500), ("/?s=1000", 500)] {
            assert_eq!(answer("respond x {query.s}", target).status(), expected, "{target}");
        }
        assert!(try_site("respond x abc").err().unwrap().contains("invalid status code \"abc\""));
    }

    #[test]
    fn early_hints_are_not_the_answer() {
        let response = answer("header Link </x>\nrespond /a hint 103\nrespond rest", "/a");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["link"], "</x>");
        assert_eq!(answer("respond body 102", "/").status(), 200);
    }

    #[test]
    fn the_connection_ends_if_it_is_told_to() {
        let mut x = Exchange::get("/", &[]);
        site("respond no 401 {\nclose\n}").serve(&mut x);
        assert!(x.close_connection && !x.abort);
    }

    #[test]
    fn in_error_routes_the_errors_status_is_kept() {
        let site = site("error /x oops 404\nhandle_errors {\nrespond \"{err.message}\"\n}");
        assert_eq!(site.get("/x", &[]), (404, "oops".into()));
    }
}
