//! `trace`: each handler that a request comes to is logged, at level DEBUG.

use serde_json::Value;

use super::{Exchange, Handler, Step, is_environment_value};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::log::{Level, Logger, Value as LogValue};

/// A handler that says so when a request comes to it. Without `trace` there is none of these, and
/// nothing is asked at request time.
pub(super) struct Traced {
    inner: Box<dyn Handler>,
    name: String,
    /// Its configuration, without keys that came from the environment.
    config: Value,
    logger: Logger,
}

impl Traced {
    /// `inner`, which was built from `json`.
    pub(super) fn new(inner: Box<dyn Handler>, json: &ModuleJson, logger: Logger) -> Self {
        let name = json.name(HANDLER_TAG).unwrap_or_default().to_owned();
        let mut config = json.0.clone();
        config.shift_remove(HANDLER_TAG);
        Self { inner, name, config: without_keys(Value::Object(config)), logger }
    }
}

fn without_keys(json: Value) -> Value {
    match json {
        Value::String(text) if is_environment_value(text.as_bytes()) => Value::String("REDACTED".into()),
        Value::Array(items) => items.into_iter().map(without_keys).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, without_keys(value))).collect(),
        other => other,
    }
}

impl Handler for Traced {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        self.logger.log(Level::Debug, &self.name, &[("module", LogValue::Json(&self.config))]);
        self.inner.handle(x)
    }
}
