//! `replace`: a fixed text in the value's place.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::is_default;
use crate::config::logging::FILTER_TAG;
use crate::config::schema::ModuleSchema;
use crate::log::{FieldFilter, FilterType, Value, Visitor};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_filters: &[FilterType {
        id: "replace",
        provision: |json| Ok(Box::new(json.decode::<Replace>(FILTER_TAG)?)),
    }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "replace",
        syntax: "<field> replace <value>",
        parse,
    }],
    schemas: &[ModuleSchema::of::<Replace>("caddy.logging.encoders.filter", "replace")],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/logging/logs/encoder/filter/fields/replace/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Replace {
    /// The text.
    #[serde(skip_serializing_if = "is_default")]
    value: String,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<serde_json::Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let value = if cursor.next_arg() { cursor.val().to_owned() } else { String::new() };
    Ok(json!(Replace { value }))
}

impl FieldFilter for Replace {
    fn filter(&self, key: &str, _: Value<'_>, next: &mut dyn Visitor) {
        next.field(key, Value::text(&self.value));
    }
}
