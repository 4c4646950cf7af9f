//! `subroute`: a list of routes inside a route, with error routes of its own. JSON only; `handle`,
//! `route` and site blocks are made of it.

use crate::config::ModuleJson;
use crate::config::http::{HANDLER_TAG, Subroute};
use crate::http::{Exchange, Handler, HandlerType, Outcome, Provision, ProvisionError, Routes, Step};
use crate::module::Module;

pub(super) static MODULE: Module =
    Module { handler: Some(HandlerType { id: Subroute::NAME, provision }), ..Module::EMPTY };

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
