//! What the tests of single modules have in common: a Caddyfile in, answers out.

use http_body_util::BodyExt as _;
use serde_json::Value;
use tollgate_grammar::{NoFiles, ProcessEnv};

use crate::adapt;
use crate::config::Config;
use crate::http::{Exchange, Provision, ProvisionError, Response, Routes, run};

/// Builds the matcher `name` from its JSON and asks it.
pub(crate) fn matches(name: &str, json: &Value, x: &mut Exchange) -> bool {
    matcher(name, json).unwrap_or_else(|error| panic!("{name} {json}: {error}")).matches(x).unwrap()
}

/// Builds the matcher `name` from its JSON.
pub(crate) fn matcher(name: &str, json: &Value) -> Result<crate::http::MatcherSet, ProvisionError> {
    let registry = super::registry();
    let mut ctx = Provision::new(&registry.handlers, &registry.matchers);
    ctx.matcher_set(&serde_json::Map::from_iter([(name.to_owned(), json.clone())]))
}

/// Adapts the directives of one site.
pub(crate) fn adapt(directives: &str) -> Result<Config, String> {
    let registry = super::registry();
    let text = format!(":8080 {{\n{directives}\n}}\n");
    adapt::adapt("Caddyfile", &text, &registry.vocabulary, &ProcessEnv, &NoFiles)
        .map(|adapted| adapted.config)
        .map_err(|error| error.message())
}

/// The JSON of a site's routes.
pub(crate) fn routes(directives: &str) -> Value {
    let config = adapt(directives).unwrap_or_else(|error| panic!("{directives}: {error}"));
    serde_json::to_value(config).unwrap()["apps"]["http"]["servers"]["srv0"]["routes"].take()
}

/// A site, ready to answer.
pub(crate) struct Site {
    routes: Routes,
    errors: Option<Routes>,
}

/// Adapts and provisions the directives of one site.
pub(crate) fn site(directives: &str) -> Site {
    try_site(directives).unwrap_or_else(|error| panic!("{directives}: {error}"))
}

/// As [`site`], where a refusal is expected.
pub(crate) fn try_site(directives: &str) -> Result<Site, String> {
    let mut config = adapt(directives)?;
    let registry = super::registry();
    let mut ctx = Provision::new(&registry.handlers, &registry.matchers);
    let server = config.apps.http.as_mut().unwrap().servers.remove("srv0").unwrap();
    let mut build = |routes| ctx.routes(routes).map_err(|error| error.to_string());
    Ok(Site {
        routes: build(&server.routes)?,
        errors: server.errors.as_ref().map(|errors| build(&errors.routes)).transpose()?,
    })
}

impl Site {
    /// Answers a request.
    pub(crate) fn serve(&self, x: &mut Exchange) -> Response {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&self.routes, self.errors.as_ref(), x)).0
    }

    /// Status and body of the answer to `GET target` with these header fields.
    pub(crate) fn get(&self, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
        text(self.serve(&mut Exchange::get(target, headers)))
    }
}

/// Status and body of an answer.
pub(crate) fn text(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
