//! `format append`: fields that every entry gets, in front of another format.
//!
//! ```caddyfile
//! {
//! 	log {
//! 		format append {
//! 			wrap json
//! 			instance {env.HOSTNAME}
//! 		}
//! 	}
//! }
//! ```

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::NAMESPACE;
use crate::adapt::{Cursor, Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::logging::ENCODER_TAG;
use crate::config::schema::{self, ModuleSchema};
use crate::config::{ModuleJson, is_default, sort_keys};
use crate::log::{self, Encoder, EncoderContext, EncoderType, Entry, Fields, LogError, Visitor, global};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_encoders: &[EncoderType { id: NAME, provision }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: NAME,
        syntax: "append {\n\twrap <another format>\n\tfields {\n\t\t<field> <value>\n\t}\n\t<field> <value>\n}",
        parse,
    }],
    schemas: &[ModuleSchema::of::<AppendEncoder>("caddy.logging.encoders", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "append";

/// The JSON form (<https://caddyserver.com/docs/json/logging/logs/encoder/append/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct AppendEncoder {
    /// The format that writes; json, or console on a terminal, unless given.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::LogEncoder>")]
    wrap: Option<ModuleJson>,
    /// The fields. Text that is a placeholder as a whole stands for its value.
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let mut encoder = AppendEncoder::default();
    reader.cursor.next();
    while reader.cursor.next_block(0) {
        match reader.cursor.val() {
            "wrap" => {
                let [_] = reader.cursor.args()?;
                encoder.wrap = Some(reader.submodule(NAMESPACE, ENCODER_TAG)?);
            }
            "fields" => {
                let nesting = reader.cursor.nesting();
                while reader.cursor.next_block(nesting) {
                    parse_field(&mut encoder, &mut reader.cursor)?;
                }
            }
            _ => parse_field(&mut encoder, &mut reader.cursor)?,
        }
    }
    Ok(json!(encoder))
}

fn parse_field(encoder: &mut AppendEncoder, cursor: &mut Cursor) -> Result<(), Error> {
    let field = cursor.val().to_owned();
    if !cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    let value = cursor.scalar_val().map_or(Value::Null, scalar);
    encoder.fields.insert(field, value);
    if cursor.next_arg() { Err(cursor.arg_err()) } else { Ok(()) }
}

fn scalar(scalar: crate::adapt::Scalar) -> Value {
    use crate::adapt::Scalar;
    match scalar {
        Scalar::Int(number) => json!(number),
        Scalar::Float(number) => json!(number),
        Scalar::Bool(truth) => json!(truth),
        Scalar::String(text) => json!(text),
    }
}

struct Append {
    wrapped: Arc<dyn Encoder>,
    fields: Box<[(String, Value)]>,
}

fn provision(json: &ModuleJson, context: &EncoderContext<'_>) -> Result<Arc<dyn Encoder>, LogError> {
    let config: AppendEncoder = json.decode(ENCODER_TAG)?;
    // In the order of their names, where Caddy's order changes with each entry.
    let mut fields: Vec<_> =
        config.fields.into_iter().map(|(key, value)| (key, known(sort_keys(value)))).collect();
    fields.sort_by(|(key, _), (other, _)| key.cmp(other));
    Ok(Arc::new(Append { wrapped: context.wrapped(config.wrap.as_ref())?, fields: fields.into() }))
}

/// The value of a text that is one placeholder; `null` if there is no such one. All else is itself.
fn known(value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    match inside.filter(|inside| !inside.contains('{')) {
        Some(name) => global::value(name.trim_matches(['{', '}'])).map_or(Value::Null, Value::String),
        None => value,
    }
}

impl Encoder for Append {
    fn encode(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let fields = WithMore { first: entry.fields, more: &self.fields };
        self.wrapped.encode(&Entry { fields: &fields, ..*entry }, out);
    }
}

struct WithMore<'a> {
    first: &'a dyn Fields,
    more: &'a [(String, Value)],
}

impl Fields for WithMore<'_> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.first.visit(visitor);
        for (key, value) in self.more {
            let value = match value {
                Value::String(text) => log::Value::text(text),
                // Numbers are floats in Caddy's JSON, and whole ones are printed without a point.
                Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                    (Some(number), _) => log::Value::Int(number),
                    (None, Some(number)) => log::Value::Float(number),
                    (None, None) => log::Value::Json(value),
                },
                other => log::Value::Json(other),
            };
            visitor.field(key, value);
        }
    }
}
