//! `invoke`: goes through a named route as if it stood here.
//!
//! ```caddyfile
//! &(api) {
//! 	respond "the API"
//! }
//! :8080 {
//! 	invoke api
//! }
//! ```

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::http::{
    Exchange, Handler, HandlerError, HandlerType, NamedRoute, Outcome, Provision, ProvisionError, Step,
};
use crate::module::Module;

const NAME: &str = "invoke";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive {
        name: NAME,
        syntax: "invoke [<matcher>] <named-route>",
        parse: Parse::Handler(parse),
    }],
    schemas: &[ModuleSchema::of::<Invoke>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/invoke/>).
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Invoke {
    /// The named route.
    name: String,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    h.cursor.next();
    if !h.cursor.next_arg() {
        return Err(h.cursor.arg_err());
    }
    let name = h.cursor.val().to_owned();
    // A block too is too much.
    if h.cursor.next() {
        return Err(h.cursor.arg_err());
    }
    h.invoke(&name);
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &Invoke { name }))
}

struct Invoked(Arc<NamedRoute>);

fn provision(json: &ModuleJson, ctx: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let config: Invoke = json.decode(HANDLER_TAG)?;
    Ok(Box::new(Invoked(ctx.named_route(&config.name)?)))
}

impl Handler for Invoked {
    fn handle<'p: 'x, 'x>(&'p self, _: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Now(match self.0.routes() {
            Some(routes) => Outcome::Enter(routes, None),
            None => Outcome::Fail(HandlerError::internal("the named route is not ready")),
        })
    }
}
