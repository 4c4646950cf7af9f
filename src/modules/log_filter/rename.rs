//! `rename`: the field under another key.

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
        id: "rename",
        provision: |json| Ok(Box::new(json.decode::<Rename>(FILTER_TAG)?)),
    }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "rename",
        syntax: "<field> rename <key>",
        parse,
    }],
    schemas: &[ModuleSchema::of::<Rename>("caddy.logging.encoders.filter", "rename")],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/logging/logs/encoder/filter/fields/rename/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Rename {
    /// The other key.
    #[serde(skip_serializing_if = "is_default")]
    name: String,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<serde_json::Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let name = if cursor.next_arg() { cursor.val().to_owned() } else { String::new() };
    Ok(json!(Rename { name }))
}

impl FieldFilter for Rename {
    fn filter(&self, _: &str, value: Value<'_>, next: &mut dyn Visitor) {
        next.field(&self.name, value);
    }
}
