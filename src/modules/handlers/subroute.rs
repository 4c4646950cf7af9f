//! `subroute`: a list of routes inside a route, with error routes of its own. JSON only; `handle`,
//! `route` and site blocks are made of it.

use serde::{Deserialize, Serialize};

use crate::config::ModuleJson;
use crate::config::http::{HANDLER_TAG, RouteList};
use crate::http::{Exchange, Handler, HandlerType, Outcome, Provision, ProvisionError, Routes, Step};
use crate::module::Module;

pub(super) const NAME: &str = "subroute";

pub(super) static MODULE: Module =
    Module { handler: Some(HandlerType { id: NAME, provision }), ..Module::EMPTY };

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/subroute/>).
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subroute {
    /// The routes to go through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: RouteList,
    /// What to do if they fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Errors>,
}

/// Routes for errors.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// The routes to go through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: RouteList,
}

struct Compiled {
    routes: Routes,
    errors: Option<Routes>,
}

fn provision(json: &ModuleJson, ctx: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let config: Subroute = json.decode(HANDLER_TAG)?;
    let errors = match &config.errors {
        Some(errors) => Some(ctx.routes(&errors.routes).map_err(|error| error.at("error routes"))?),
        None => None,
    };
    Ok(Box::new(Compiled { routes: ctx.routes(&config.routes)?, errors }))
}

impl Handler for Compiled {
    fn handle<'p: 'x, 'x>(&'p self, _: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Now(Outcome::Enter(&self.routes, self.errors.as_ref()))
    }
}
