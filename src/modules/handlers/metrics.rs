//! `metrics`: what has been counted, to be read by Prometheus.
//!
//! ```caddyfile
//! :8080 {
//! 	metrics /metrics
//! 	respond / hello
//! }
//! ```

use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, is_default};
use crate::http::{
    Body, Exchange, Handler, HandlerType, Outcome, Provision, ProvisionError, Response, Step, unblock,
};
use crate::metrics::{Format, Registry};
use crate::module::Module;

const NAME: &str = "metrics";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive {
        name: NAME,
        syntax: "metrics [<matcher>] {
	disable_openmetrics
}",
        parse: Parse::Handler(parse),
    }],
    schemas: &[ModuleSchema::of::<Metrics>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/metrics/>).
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Metrics {
    /// Clients that would rather have the format of OpenMetrics don't get it.
    #[serde(skip_serializing_if = "is_default")]
    disable_openmetrics: bool,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut json = Metrics::default();
    cursor.next();
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "disable_openmetrics" => json.disable_openmetrics = true,
            word => {
                return Err(cursor
                    .err(format!("unrecognized subdirective {word:?}"))
                    .did_you_mean(word, ["disable_openmetrics"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &json))
}

struct Provisioned {
    registry: Arc<Registry>,
    offers_openmetrics: bool,
}

fn provision(json: &ModuleJson, ctx: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let json: Metrics = json.decode(HANDLER_TAG)?;
    let offers_openmetrics = !json.disable_openmetrics;
    Ok(Box::new(Provisioned { registry: ctx.metrics().clone(), offers_openmetrics }))
}

impl Provisioned {
    fn format(&self, headers: &HeaderMap) -> Format {
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if self.offers_openmetrics { Format::accepted(accept) } else { Format::Prometheus }
    }
}

impl Handler for Provisioned {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        let format = self.format(&x.headers);
        let registry = self.registry.clone();
        Step::Later(Box::pin(async move {
            let text = match unblock(move || registry.render(format)).await {
                Ok(text) => text,
                Err(error) => return Outcome::Fail(error),
            };
            let mut response = Response::new(Body::from(text));
            *response.headers_mut() = std::mem::take(&mut x.response_headers);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
            Outcome::Respond(response)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::site;

    fn content_type(directives: &str, accept: &str) -> String {
        let site = site(directives);
        let response = site.serve(&mut Exchange::get("/metrics", &[("accept", accept)]));
        response.headers()["content-type"].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_client_chooses_the_format_unless_there_is_no_choice() {
        let openmetrics = "application/openmetrics-text";
        assert!(content_type("metrics", "*/*").starts_with("text/plain; version=0.0.4"));
        assert!(content_type("metrics", openmetrics).starts_with(openmetrics));
        let one = "metrics {\ndisable_openmetrics\n}";
        assert!(content_type(one, openmetrics).starts_with("text/plain; version=0.0.4"));
    }

    #[test]
    fn upstreams_are_among_what_is_told() {
        let site = site("metrics /metrics\nreverse_proxy 127.0.0.1:1 127.0.0.1:2");
        let (status, text) = site.get("/metrics", &[]);
        assert_eq!(status, 200);
        assert!(
            text.contains("caddy_reverse_proxy_upstreams_healthy{upstream=\"127.0.0.1:2\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("# TYPE caddy_config_last_reload_successful gauge\n"), "{text}");
    }
}
