//! `format json`: one JSON object an entry.
//!
//! ```caddyfile
//! {
//! 	log {
//! 		format json {
//! 			time_format rfc3339
//! 		}
//! 	}
//! }
//! ```

use std::sync::Arc;

use super::{NAMESPACE, options};
use crate::adapt::SubmoduleSyntax;
use crate::config::logging::ENCODER_TAG;
use crate::config::schema::ModuleSchema;
use crate::log::{EncoderType, Json};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_encoders: &[EncoderType {
        id: "json",
        provision: |json, _| Ok(Arc::new(Json::new(&json.decode(ENCODER_TAG)?))),
    }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "json",
        syntax: options::syntax!("json"),
        parse: options::parse,
    }],
    schemas: &[ModuleSchema::of::<crate::log::EncoderOptions>("caddy.logging.encoders", "json")],
    ..Module::EMPTY
};
