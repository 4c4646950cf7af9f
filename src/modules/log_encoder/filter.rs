//! `format filter`: changes fields before another format writes them.
//!
//! ```caddyfile
//! :8080 {
//! 	log {
//! 		format filter {
//! 			wrap json
//! 			request>remote_ip ip_mask 16 32
//! 			request>headers>Cookie delete
//! 		}
//! 	}
//! 	respond "Hello"
//! }
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::logging::{ENCODER_TAG, FILTER_TAG};
use crate::config::schema::{self, ModuleSchema};
use crate::config::{ModuleJson, is_default};
use crate::log::{self, Encoder, EncoderContext, EncoderType, Entry, FieldFilter, Fields, LogError, Visitor};
use crate::module::Module;
use crate::modules::log_filter;

pub(super) static MODULE: Module = Module {
    log_encoders: &[EncoderType { id: NAME, provision }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: NAME,
        syntax: "filter {
	wrap <another format>
	fields {
		<field> <filter> ...
	}
	<field> <filter> ...
}",
        parse,
    }],
    schemas: &[ModuleSchema::of::<FilterEncoder>("caddy.logging.encoders", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "filter";
const REGEXP: &str = "regexp";

/// The JSON form (<https://caddyserver.com/docs/json/logging/logs/encoder/filter/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct FilterEncoder {
    /// The format that writes; json, or console on a terminal, unless given.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::LogEncoder>")]
    wrap: Option<ModuleJson>,
    /// Filters by field; `a>b` is the field `b` of the object `a`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, schema::LogFilter>")]
    fields: Map<String, Value>,
}

/// What is read of a Caddyfile, where a field may have several `regexp` filters.
#[derive(Default)]
struct Said {
    wrap: Option<ModuleJson>,
    fields: Map<String, Value>,
    regexps: HashMap<String, Vec<ModuleJson>>,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let mut said = Said::default();
    reader.cursor.next();
    while reader.cursor.next_block(0) {
        match reader.cursor.val() {
            "wrap" => {
                let [_] = reader.cursor.args()?;
                said.wrap = Some(reader.submodule(NAMESPACE, ENCODER_TAG)?);
            }
            "fields" => {
                let nesting = reader.cursor.nesting();
                while reader.cursor.next_block(nesting) {
                    parse_field(&mut said, reader)?;
                }
            }
            _ => parse_field(&mut said, reader)?,
        }
    }
    for (field, filters) in said.regexps {
        let merged = log_filter::merge_regexps(filters).map_err(|problem| {
            reader.cursor.err(format!("adding regexp operation for field {field}: {problem}"))
        })?;
        said.fields.insert(field, Value::Object(merged.0));
    }
    Ok(json!(FilterEncoder { wrap: said.wrap, fields: said.fields }))
}

fn parse_field(said: &mut Said, reader: &mut SubmoduleReader<'_>) -> Result<(), Error> {
    let field = reader.cursor.val().to_owned();
    let [name] = reader.cursor.args()?;
    let filter = reader.submodule(log_filter::NAMESPACE, FILTER_TAG)?;
    if name == REGEXP {
        said.regexps.entry(field).or_default().push(filter);
        return Ok(());
    }
    if said.regexps.contains_key(&field) {
        let message = format!("cannot mix regexp filters with other filter types for field {field}");
        return Err(reader.cursor.err(message));
    }
    if said.fields.contains_key(&field) {
        return Err(reader.cursor.err(format!(
            "field {field} already has a filter; multiple non-regexp filters per field are not supported"
        )));
    }
    said.fields.insert(field, Value::Object(filter.0));
    Ok(())
}

struct Filter {
    wrapped: Arc<dyn Encoder>,
    fields: Node,
}

/// The filters of the fields of one object.
#[derive(Default)]
struct Node {
    children: HashMap<Box<str>, Node>,
    filter: Option<Box<dyn FieldFilter>>,
}

fn provision(json: &ModuleJson, context: &EncoderContext<'_>) -> Result<Arc<dyn Encoder>, LogError> {
    let config: FilterEncoder = json.decode(ENCODER_TAG)?;
    let mut fields = Node::default();
    for (path, filter) in &config.fields {
        let filter = serde_json::from_value(filter.clone())
            .map_err(|error| LogError::invalid(error.to_string()))
            .and_then(|filter: ModuleJson| context.filter(&filter))
            .map_err(|error| error.at(format!("field {path}")))?;
        let mut node = &mut fields;
        for key in path.split('>') {
            node = node.children.entry(key.into()).or_default();
        }
        node.filter = Some(filter);
    }
    Ok(Arc::new(Filter { wrapped: context.wrapped(config.wrap.as_ref())?, fields }))
}

impl Encoder for Filter {
    fn encode(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let fields = Filtered { fields: entry.fields, node: &self.fields };
        self.wrapped.encode(&Entry { fields: &fields, ..*entry }, out);
    }
}

/// Fields as they look through filters.
struct Filtered<'a> {
    fields: &'a dyn Fields,
    node: &'a Node,
}

impl Fields for Filtered<'_> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.fields.visit(&mut Through { node: self.node, next: visitor });
    }
}

/// The filters of one object, in front of whoever takes its fields.
struct Through<'a> {
    node: &'a Node,
    next: &'a mut dyn Visitor,
}

impl Visitor for Through<'_> {
    fn field(&mut self, key: &str, value: log::Value<'_>) {
        let Some(node) = self.node.children.get(key) else { return self.next.field(key, value) };
        if let Some(filter) = &node.filter {
            return filter.filter(key, value, self.next);
        }
        match value {
            log::Value::Object(fields) => {
                self.next.field(key, log::Value::Object(&Filtered { fields, node }));
            }
            value => self.next.field(key, value),
        }
    }
}
