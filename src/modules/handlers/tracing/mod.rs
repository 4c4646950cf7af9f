//! `tracing`: a request is a span of a trace, by OpenTelemetry.
//!
//! ```caddyfile
//! :8080 {
//! 	tracing {
//! 		span gate
//! 	}
//! 	respond "{http.vars.trace_id}"
//! }
//! ```

mod context;
mod export;
mod otlp;
mod settings;
mod span;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::context::Context;
use self::span::{Running, Spans};
use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::http::{
    Body, Exchange, Handler, HandlerError, HandlerType, LogField, Outcome, Provision, ProvisionError,
    Response, ResponseFilter, Step, Template, Unknown, Value,
};
use crate::module::Module;

const NAME: &str = "tracing";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive {
        name: NAME,
        syntax: "tracing [<matcher>] {
	span <name>
	span_attributes {
		<name> <value>
	}
}",
        parse: Parse::Handler(parse),
    }],
    schemas: &[ModuleSchema::of::<Tracing>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The name of spans if none is given.
const SPAN: &str = "handler";

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/tracing/>).
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Tracing {
    /// The span's name.
    span: String,
    /// What else is told of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    span_attributes: BTreeMap<String, String>,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut tracing = Tracing::default();
    cursor.next();
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "span" => [tracing.span] = cursor.last_args()?,
            "span_attributes" => {
                while cursor.next_block(1) {
                    let name = cursor.val().to_owned();
                    let [value] = cursor.all_args()?;
                    tracing.span_attributes.insert(name, value);
                }
            }
            word => {
                return Err(cursor.arg_err().did_you_mean(word, ["span", "span_attributes"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &tracing))
}

struct Provisioned {
    name: Template,
    attributes: Box<[(Arc<str>, Template)]>,
    /// Where spans go when they end, if anywhere.
    spans: Option<Spans>,
}

fn provision(json: &ModuleJson, ctx: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let json: Tracing = json.decode(HANDLER_TAG)?;
    let name = if json.span.is_empty() { SPAN } else { &json.span };
    let compile = |text: &str| Template::compile(text, Unknown::Empty);
    let attributes = json.span_attributes.iter().map(|(name, value)| (name.as_str().into(), compile(value)));
    Ok(Box::new(Provisioned {
        name: compile(name),
        attributes: attributes.collect(),
        spans: export::provision(ctx)?,
    }))
}

impl Handler for Provisioned {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        let parent = parent(&x.headers);
        let Ok(context) = Context::below(parent.as_ref()) else {
            // Without a random source there are no ids.
            return Step::Now(Outcome::Next);
        };
        if let Ok(value) = HeaderValue::from_str(&context.to_string()) {
            x.headers.insert(TRACEPARENT, value);
        }
        if parent.is_none() {
            x.headers.remove(TRACESTATE);
        }
        let (trace_id, span_id) = (context.trace_id(), context.span_id());
        if let Some(log) = &mut x.log {
            let field = |key: &str, id: &str| LogField { key: key.into(), value: Some(id.into()) };
            log.add(field("traceID", &trace_id));
            log.add(field("spanID", &span_id));
        }
        x.vars.set("trace_id", Value::from(trace_id.as_str()));
        x.vars.set("span_id", Value::from(span_id.as_str()));
        let Some(spans) = self.spans.as_ref().filter(|_| context.is_sampled()) else {
            return Step::Now(Outcome::Next);
        };
        let name = String::from_utf8_lossy(&self.name.render(x)).into_owned();
        let running = Running::begin(spans.clone(), context, parent, name, x);
        span::enter(x, running);
        Step::Now(Outcome::Filter(self))
    }
}

impl ResponseFilter for Provisioned {
    fn filter(&self, x: &mut Exchange, response: &mut Response) -> Result<(), HandlerError> {
        let Some(running) = span::leave(x) else { return Ok(()) };
        let attributes = self.attributes.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(&value.render(x)).into_owned();
            (name.clone(), value)
        });
        running.answered(response.status(), attributes.collect());
        // What is in memory is as good as sent.
        if !matches!(response.body(), Body::Empty | Body::Full(_)) {
            let body = std::mem::take(response.body_mut());
            *response.body_mut() = body.watched(running);
        }
        Ok(())
    }
}

/// The span that the request comes from, if it says so in a way that can be believed.
fn parent(headers: &HeaderMap) -> Option<Context> {
    let mut said = headers.get_all(TRACEPARENT).iter();
    let context = Context::parse(said.next()?.to_str().ok()?.trim())?;
    said.next().is_none().then_some(context)
}

#[cfg(test)]
mod tests;
