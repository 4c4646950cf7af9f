//! `error`: fails, so that `handle_errors` takes over.
//!
//! ```caddyfile
//! :8080 {
//! 	error /private* "Nothing to see" 404
//! 	handle_errors {
//! 		respond "{err.status_code}: {err.message}"
//! 	}
//! }
//! ```

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::respond::{parse_status, text_and_status};
use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, WeakString};
use crate::http::{
    Exchange, Handler, HandlerError, HandlerType, Outcome, Provision, ProvisionError, Step, Template,
    Unknown, target,
};
use crate::module::Module;

const SYNTAX: &str = "error [<matcher>] <status>|<message> [<status>] {
	message <text>
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: NAME, syntax: SYNTAX, parse: Parse::Handler(parse) }],
    schemas: &[ModuleSchema::of::<StaticError>("http.handlers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "error";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/error/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct StaticError {
    /// What went wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
    /// The status that it means: a number, or text with placeholders; 500 unless given.
    #[serde(skip_serializing_if = "WeakString::is_empty")]
    status_code: WeakString,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut said = StaticError::default();
    cursor.next();
    (said.error, said.status_code) = text_and_status(cursor)?;
    while cursor.next_block(0) {
        match cursor.val() {
            "message" if !said.error.is_empty() => return Err(cursor.err("message already specified")),
            "message" => [said.error] = cursor.all_args()?,
            other => {
                let message = format!("unrecognized subdirective '{other}'");
                return Err(cursor.err(message).did_you_mean(cursor.val(), ["message"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &said))
}

struct Fail {
    message: Template,
    status: Template,
}

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let config: StaticError = json.decode(HANDLER_TAG)?;
    let status = Template::compile(config.status_code.as_str(), Unknown::Empty);
    if let Some(code) = status.constant()
        && !code.is_empty()
    {
        parse_status(&code).map_err(ProvisionError::invalid)?;
    }
    Ok(Box::new(Fail { message: Template::compile(&config.error, Unknown::Keep), status }))
}

impl Handler for Fail {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Now(Outcome::Fail(self.error(x)))
    }
}

impl Fail {
    fn error(&self, x: &Exchange) -> HandlerError {
        let status = if self.status.parts().is_empty() {
            Ok(StatusCode::INTERNAL_SERVER_ERROR)
        } else {
            parse_status(&self.status.render(x))
        };
        match status {
            Ok(status) => HandlerError::new(status, target::lossy(&self.message.render(x)).into_owned()),
            Err(error) => HandlerError::internal(error),
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
            ("error 404", json!({"handler": NAME, "status_code": 404})),
            ("error oops", json!({"handler": NAME, "error": "oops"})),
            ("error oops 403", json!({"handler": NAME, "error": "oops", "status_code": 403})),
            ("error 404 {\nmessage oops\n}", json!({"handler": NAME, "error": "oops", "status_code": 404})),
        ] {
            assert_eq!(json(line), expected, "{line}");
        }
        assert!(adapt("error a {\nmessage b\n}").unwrap_err().contains("message already specified"));
        assert!(adapt("error").unwrap_err().contains("wrong argument count"));
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn errors_have_status_and_message() {
        let site = site(
            "error /e1 \"msg {nope} {path}\" 503\nerror /e2 only\nerror /e3 404\nerror /e4 x {query.s}\n\
             handle_errors {\nrespond \"{err.status_code} {err.status_text} {err.message}\"\n}",
        );
        for (target, status, text) in [
            ("/e1", 503, "503 Service Unavailable msg {nope} /e1"),
            ("/e2", 500, "500 Internal Server Error only"),
            ("/e3", 404, "404 Not Found "),
            ("/e4?s=499", 499, "499  x"),
        ] {
            assert_eq!(site.get(target, &[]), (status, text.to_owned()), "{target}");
        }
        assert_eq!(site.get("/e4?s=x", &[]).0, 500);
        assert!(try_site("error a 99").err().unwrap().contains("invalid status code \"99\""));
    }
}
