//! `copy_response`: passes an upstream's answer on from within `handle_response`, with another
//! status if one is given.
//!
//! ```caddyfile
//! :8080 {
//! 	reverse_proxy localhost:8000 {
//! 		@busy status 503
//! 		handle_response @busy {
//! 			header Retry-After 5
//! 			copy_response 429
//! 		}
//! 	}
//! }
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reverse_proxy::answer::HeldAnswer;
use super::reverse_proxy::handle_response::status as status_of;
use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, WeakString, is_default, parse_integer};
use crate::http::{
    Exchange, Handler, HandlerError, HandlerType, Outcome, Provision, ProvisionError, Step, Template, Unknown,
};
use crate::module::Module;

const NAME: &str = "copy_response";

const SYNTAX: &str = "copy_response [<matcher>] [<status>] {
	status <status>
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: NAME, syntax: SYNTAX, parse: Parse::Handler(parse) }],
    schemas: &[ModuleSchema::of::<CopyResponse>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/copy_response/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct CopyResponse {
    /// The status to give the answer instead of its own.
    #[serde(skip_serializing_if = "is_default")]
    status_code: WeakString,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut copy = CopyResponse::default();
    cursor.next();
    if let [status] = cursor.remaining_args().as_slice()
        && status.parse::<i64>().is_ok_and(|status| status > 0)
    {
        copy.status_code = status.as_str().into();
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "status" => {
                let [status] = cursor.args()?;
                copy.status_code = status.into();
            }
            other => {
                let message = format!("unrecognized subdirective '{other}'");
                return Err(cursor.err(message).did_you_mean(cursor.val(), ["status"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &copy))
}

struct Copy {
    status: Option<Template>,
}

/// There is no answer to copy.
#[derive(Debug, thiserror::Error)]
#[error("cannot use 'copy_response' outside of reverse_proxy's handle_response routes")]
struct NoAnswer;

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let json: CopyResponse = json.decode(HANDLER_TAG)?;
    let status = Some(&json.status_code).filter(|status| !status.is_empty());
    Ok(Box::new(Copy { status: status.map(|status| Template::compile(status.as_str(), Unknown::Empty)) }))
}

impl Handler for Copy {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Later(Box::pin(async move {
            match self.copy(x).await {
                Ok(response) => Outcome::Respond(response),
                Err(error) => Outcome::Fail(error),
            }
        }))
    }
}

impl Copy {
    async fn copy(&self, x: &mut Exchange) -> Result<crate::http::Response, HandlerError> {
        let HeldAnswer { mut answer, finish } =
            HeldAnswer::take(x).ok_or_else(|| HandlerError::internal(NoAnswer))?;
        if let Some(status) = &self.status {
            let code = parse_integer(&String::from_utf8_lossy(&status.render(x)));
            *answer.response.status_mut() = status_of(code.map_err(HandlerError::internal)?)?;
        }
        finish.finish(x, answer)
    }
}
