//! `format console`: entries for people.
//!
//! ```caddyfile
//! {
//! 	log {
//! 		format console {
//! 			time_format wall
//! 			level_format upper
//! 		}
//! 	}
//! }
//! ```

use std::sync::Arc;

use super::{NAMESPACE, options};
use crate::adapt::SubmoduleSyntax;
use crate::config::logging::ENCODER_TAG;
use crate::config::schema::ModuleSchema;
use crate::log::{Console, EncoderType};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_encoders: &[EncoderType {
        id: "console",
        provision: |json, _| Ok(Arc::new(Console::new(&json.decode(ENCODER_TAG)?))),
    }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "console",
        syntax: options::syntax!("console"),
        parse: options::parse,
    }],
    schemas: &[ModuleSchema::of::<crate::log::EncoderOptions>("caddy.logging.encoders", "console")],
    ..Module::EMPTY
};
