//! What is done with an answer instead of passing it on (`handle_response`, `replace_status`), an
//! upstream's in `reverse_proxy` and any handler's in `intercept`.

use http::StatusCode;
use serde_json::Value;

use super::json::ResponseHandler;
use crate::config::parse_integer;
use crate::http::{
    AnswerMatcher, Exchange, HandlerError, Provision, ProvisionError, Response, Routes, Template, Unknown,
};

/// What may be done with answers; the first that matches is.
pub struct ResponseHandlers(Box<[Entry]>);

struct Entry {
    matcher: Option<AnswerMatcher>,
    action: Action,
}

enum Action {
    ReplaceStatus(Template),
    Enter { routes: Routes, keeps_answer: bool },
}

/// What becomes of an answer.
pub enum Handled<'p> {
    /// It goes to the client.
    PassOn,
    /// So it does with another status.
    Replace(StatusCode),
    /// The request goes through these routes, and then on.
    Enter {
        /// The routes.
        routes: &'p Routes,
        /// Whether they may pass the answer on after all.
        keeps_answer: bool,
    },
}

/// Which counts if a handler has both a status and routes, as only JSON can say it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// The status, in `reverse_proxy`.
    Status,
    /// The routes, in `intercept`.
    Routes,
}

impl ResponseHandlers {
    /// Those that the JSON asks for.
    ///
    /// # Errors
    /// A matcher or route that can't be built.
    pub fn provision(
        json: &[ResponseHandler],
        precedence: Precedence,
        ctx: &mut Provision<'_>,
    ) -> Result<Self, ProvisionError> {
        let mut entries = Vec::with_capacity(json.len());
        for (index, handler) in json.iter().enumerate() {
            let at = |error: ProvisionError| error.at(format!("provisioning response handler {index}"));
            let matcher =
                handler.matcher.as_ref().map(|matcher| matcher.compile().map_err(at)).transpose()?;
            let goes_by_routes = precedence == Precedence::Routes && !handler.routes.is_empty();
            let action = if handler.status_code.is_empty() || goes_by_routes {
                let routes = ctx.routes(&handler.routes).map_err(at)?;
                let keeps_answer = handler
                    .routes
                    .iter()
                    .flat_map(|route| &route.handle)
                    .any(|handler| handler.0.values().any(names_copying));
                Action::Enter { routes, keeps_answer }
            } else {
                Action::ReplaceStatus(Template::compile(handler.status_code.as_str(), Unknown::Empty))
            };
            entries.push(Entry { matcher, action });
        }
        Ok(Self(entries.into()))
    }

    /// What becomes of this answer.
    ///
    /// # Errors
    /// The status that is to replace its own is none.
    pub fn look(&self, x: &Exchange, response: &Response) -> Result<Handled<'_>, HandlerError> {
        let meant = |entry: &&Entry| {
            entry
                .matcher
                .as_ref()
                .is_none_or(|matcher| matcher.matches(response.status(), response.headers()))
        };
        match self.0.iter().find(meant).map(|entry| &entry.action) {
            None => Ok(Handled::PassOn),
            Some(Action::Enter { routes, keeps_answer }) => {
                Ok(Handled::Enter { routes, keeps_answer: *keeps_answer })
            }
            Some(Action::ReplaceStatus(template)) => replacement(template, x),
        }
    }
}

fn replacement<'p>(template: &Template, x: &Exchange) -> Result<Handled<'p>, HandlerError> {
    match parse_integer(&String::from_utf8_lossy(&template.render(x))).map_err(HandlerError::internal)? {
        // As in Caddy, zero leaves the status as it is.
        0 => Ok(Handled::PassOn),
        code => status(code).map(Handled::Replace),
    }
}

/// The status of this number.
///
/// # Errors
/// 500 if there is none.
pub fn status(code: i64) -> Result<StatusCode, HandlerError> {
    let code = u16::try_from(code).unwrap_or(0);
    StatusCode::from_u16(code).map_err(HandlerError::internal)
}

/// Whether a handler that copies the answer is named somewhere within.
fn names_copying(json: &Value) -> bool {
    match json {
        Value::String(text) => text == "copy_response" || text == "copy_response_headers",
        Value::Array(items) => items.iter().any(names_copying),
        Value::Object(fields) => fields.values().any(names_copying),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;
    use crate::http::Body;

    fn look(handlers: Value, status: u16) -> String {
        let json: Vec<ResponseHandler> = serde_json::from_value(handlers).unwrap();
        let (handlers, matchers) = (HashMap::new(), HashMap::new());
        let handlers =
            ResponseHandlers::provision(&json, Precedence::Status, &mut Provision::new(&handlers, &matchers))
                .unwrap();
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        match handlers.look(&Exchange::get("/?s=202", &[]), &response) {
            Ok(Handled::PassOn) => "pass on".into(),
            Ok(Handled::Replace(status)) => status.as_str().into(),
            Ok(Handled::Enter { keeps_answer, .. }) => format!("enter, keep: {keeps_answer}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_first_that_matches_counts() {
        let handlers = || {
            json!([
                {"match": {"status_code": [404]}, "status_code": 410},
                {"match": {"status_code": [4]}, "routes": []},
                {"match": {"status_code": [5]}, "status_code": "{http.request.uri.query.s}"},
            ])
        };
        assert_eq!(look(handlers(), 200), "pass on");
        assert_eq!(look(handlers(), 404), "410");
        assert_eq!(look(handlers(), 403), "enter, keep: false");
        assert_eq!(look(handlers(), 500), "202");
        assert_eq!(look(json!([]), 500), "pass on");
    }

    #[test]
    fn a_status_that_is_none_is_an_error() {
        assert_eq!(look(json!([{"status_code": 0}]), 200), "pass on");
        assert!(look(json!([{"status_code": "{http.request.uri.query.none}"}]), 200).starts_with("HTTP 500"));
    }

    #[test]
    fn an_answer_is_kept_only_for_routes_that_may_copy_it() {
        for (inner, keeps) in [("copy_response", true), ("copy_response_headers", true), ("respond", false)] {
            let handler = json!({"handler": "subroute", "routes": [{"handle": [{"handler": inner}]}]});
            assert_eq!(handler.as_object().unwrap().values().any(names_copying), keeps, "{inner}");
        }
    }
}
