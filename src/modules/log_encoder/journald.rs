//! `format journald`: a priority in front of each entry, by which systemd's journal files it.
//!
//! ```caddyfile
//! {
//! 	log {
//! 		format journald {
//! 			wrap console
//! 		}
//! 	}
//! }
//! ```

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::logging::ENCODER_TAG;
use crate::config::schema::{self, ModuleSchema};
use crate::config::{ModuleJson, is_default};
use crate::log::{Console, Encoder, EncoderContext, EncoderOptions, EncoderType, Entry, Level, LogError};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_encoders: &[EncoderType { id: NAME, provision }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: NAME,
        syntax: "journald {\n\twrap <another format>\n}",
        parse,
    }],
    schemas: &[ModuleSchema::of::<JournaldEncoder>("caddy.logging.encoders", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "journald";

/// The JSON form (<https://caddyserver.com/docs/json/logging/logs/encoder/journald/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct JournaldEncoder {
    /// The format that writes; json, or console on a terminal, unless given.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::LogEncoder>")]
    wrap: Option<ModuleJson>,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let mut encoder = JournaldEncoder::default();
    reader.cursor.next();
    if reader.cursor.next_arg() {
        return Err(reader.cursor.arg_err());
    }
    while reader.cursor.next_block(0) {
        match reader.cursor.val() {
            "wrap" => {
                let [_] = reader.cursor.args()?;
                encoder.wrap = Some(reader.submodule(NAMESPACE, ENCODER_TAG)?);
            }
            other => return Err(reader.cursor.err(format!("unrecognized subdirective {other}"))),
        }
    }
    Ok(json!(encoder))
}

struct Journald(Arc<dyn Encoder>);

fn provision(json: &ModuleJson, context: &EncoderContext<'_>) -> Result<Arc<dyn Encoder>, LogError> {
    let config: JournaldEncoder = json.decode(ENCODER_TAG)?;
    Ok(Arc::new(Journald(match &config.wrap {
        // The journal has its own times, so the console format needs none.
        Some(wrap) if wrap.name(ENCODER_TAG)? == "console" => {
            let options: EncoderOptions = wrap.decode(ENCODER_TAG)?;
            Arc::new(Console::new(&EncoderOptions { time_key: Some(String::new()), ..options }))
        }
        None if context.terminal => {
            let options = EncoderOptions { time_key: Some(String::new()), ..EncoderOptions::default() };
            Arc::new(Console::new(&options))
        }
        wrap => context.wrapped(wrap.as_ref())?,
    })))
}

impl Encoder for Journald {
    fn encode(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        // syslog's severities (RFC 5424 section 6.2.1), as sd-daemon(3) writes them.
        out.extend_from_slice(match entry.level {
            Level::Debug => b"<7>",
            Level::Info => b"<6>",
            Level::Warn => b"<4>",
            Level::Error => b"<3>",
            Level::Panic | Level::Fatal => b"<2>",
        });
        self.0.encode(entry, out);
    }
}
