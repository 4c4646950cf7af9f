//! `copy_response_headers`: puts header fields of an upstream's answer on the answer that is made
//! within `handle_response`.
//!
//! ```caddyfile
//! :8080 {
//! 	reverse_proxy localhost:8000 {
//! 		handle_response {
//! 			copy_response_headers {
//! 				include X-Model X-Request-Id
//! 			}
//! 			respond "See the headers."
//! 		}
//! 	}
//! }
//! ```

use http::header::{CONTENT_LENGTH, HeaderName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reverse_proxy::answer::HeldAnswer;
use super::reverse_proxy::hop_by_hop;
use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, is_default};
use crate::http::{Exchange, Handler, HandlerError, HandlerType, Outcome, Provision, ProvisionError, Step};
use crate::module::Module;

const NAME: &str = "copy_response_headers";

const SYNTAX: &str = "copy_response_headers [<matcher>] {
	include <fields...>
	exclude <fields...>
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: NAME, syntax: SYNTAX, parse: Parse::Handler(parse) }],
    schemas: &[ModuleSchema::of::<CopyResponseHeaders>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/copy_response_headers/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct CopyResponseHeaders {
    /// The only fields to copy.
    #[serde(skip_serializing_if = "is_default")]
    include: Vec<String>,
    /// The only fields not to copy.
    #[serde(skip_serializing_if = "is_default")]
    exclude: Vec<String>,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut copy = CopyResponseHeaders::default();
    cursor.next();
    let [] = cursor.last_args()?;
    while cursor.next_block(0) {
        match cursor.val() {
            "include" => copy.include.extend(cursor.remaining_args()),
            "exclude" => copy.exclude.extend(cursor.remaining_args()),
            other => {
                let message = format!("unrecognized subdirective '{other}'");
                return Err(cursor.err(message).did_you_mean(cursor.val(), ["include", "exclude"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &copy))
}

/// Which fields are copied.
enum Copy {
    All,
    Only(Box<[HeaderName]>),
    AllBut(Box<[HeaderName]>),
}

/// There is no answer to copy from.
#[derive(Debug, thiserror::Error)]
#[error("cannot use 'copy_response_headers' outside of reverse_proxy's handle_response routes")]
struct NoAnswer;

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let json: CopyResponseHeaders = json.decode(HANDLER_TAG)?;
    let names = |names: &[String]| {
        let name = |name: &String| {
            name.parse().map_err(|_| ProvisionError::invalid(format!("invalid header name '{name}'")))
        };
        names.iter().map(name).collect::<Result<Box<[HeaderName]>, _>>()
    };
    let copy = match (json.include.as_slice(), json.exclude.as_slice()) {
        ([], []) => Copy::All,
        (include, []) => Copy::Only(names(include)?),
        ([], exclude) => Copy::AllBut(names(exclude)?),
        _ => {
            let message = "cannot define both 'exclude' and 'include' lists at the same time";
            return Err(ProvisionError::invalid(message));
        }
    };
    Ok(Box::new(copy))
}

impl Handler for Copy {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        let Some(held) = HeldAnswer::peek(x) else {
            return Step::Now(Outcome::Fail(HandlerError::internal(NoAnswer)));
        };
        let mut headers = held.answer.response.headers().clone();
        // What belongs to the upstream's connection or frames its body can't be true of ours.
        hop_by_hop::remove(&mut headers);
        headers.remove(CONTENT_LENGTH);
        for (name, value) in &headers {
            if self.is_meant(name) {
                x.response_headers.append(name, value.clone());
            }
        }
        Step::Now(Outcome::Next)
    }
}

impl Copy {
    fn is_meant(&self, name: &HeaderName) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
            Self::AllBut(names) => !names.contains(name),
        }
    }
}
