//! `output stdout`, `output stderr` and `output discard`.
//!
//! ```caddyfile
//! {
//! 	log {
//! 		output stdout
//! 	}
//! }
//! ```

use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::ModuleJson;
use crate::config::logging::WRITER_TAG;
use crate::config::schema::ModuleSchema;
use crate::log::{Destination, LogError, WriterType};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_writers: &[
        WriterType { id: "stdout", provision: |json| standard(json, Some(crate::log::stdout)) },
        WriterType { id: "stderr", provision: |json| standard(json, Some(crate::log::stderr)) },
        WriterType { id: "discard", provision: |json| standard(json, None) },
    ],
    submodules: &[
        SubmoduleSyntax { namespace: NAMESPACE, name: "stdout", syntax: "stdout", parse },
        SubmoduleSyntax { namespace: NAMESPACE, name: "stderr", syntax: "stderr", parse },
        SubmoduleSyntax { namespace: NAMESPACE, name: "discard", syntax: "discard", parse },
    ],
    schemas: &[
        ModuleSchema::of::<Nothing>("caddy.logging.writers", "stdout"),
        ModuleSchema::of::<Nothing>("caddy.logging.writers", "stderr"),
        ModuleSchema::of::<Nothing>("caddy.logging.writers", "discard"),
    ],
    ..Module::EMPTY
};

/// Whether a writer's name is all that can be said of it. What follows, be it an empty block, is then told of by who
/// reads on.
pub(in crate::modules) fn is_standard(name: &str) -> bool {
    MODULE.submodules.iter().any(|row| row.name == name)
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    reader.cursor.next();
    Ok(json!({}))
}

/// Nothing can be said of these.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn standard(json: &ModuleJson, open: Option<fn() -> Destination>) -> Result<Option<Destination>, LogError> {
    let Nothing {} = json.decode(WRITER_TAG)?;
    Ok(open.map(|open| open()))
}
