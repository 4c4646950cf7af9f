//! `delete`: leaves the field out.

use serde_json::json;

use super::NAMESPACE;
use crate::adapt::SubmoduleSyntax;
use crate::config::logging::FILTER_TAG;
use crate::config::schema::ModuleSchema;
use crate::log::{FieldFilter, FilterType, Value, Visitor};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_filters: &[FilterType {
        id: "delete",
        provision: |json| Ok(Box::new(json.decode::<Delete>(FILTER_TAG)?)),
    }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "delete",
        syntax: "<field> delete",
        parse: |_| Ok(json!({})),
    }],
    schemas: &[ModuleSchema::of::<Delete>("caddy.logging.encoders.filter", "delete")],
    ..Module::EMPTY
};

/// Nothing can be said of it.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Delete {}

impl FieldFilter for Delete {
    fn filter(&self, _: &str, _: Value<'_>, _: &mut dyn Visitor) {}
}
