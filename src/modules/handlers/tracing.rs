//! `tracing`: requests are spans of a trace. It can be written so far, and not run.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "tracing",
        syntax: "tracing [<matcher>] {
	span <name>
	span_attributes {
		<name> <value>
	}
}",
        parse: Parse::Handler(parse),
    }],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/tracing/>).
#[derive(Default, Serialize)]
struct Tracing {
    span: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    span_attributes: BTreeMap<String, String>,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut tracing = Tracing::default();
    cursor.next();
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "span" => [tracing.span] = cursor.all_args()?,
            "span_attributes" => {
                while cursor.next_block(1) {
                    let name = cursor.val().to_owned();
                    let [value] = cursor.all_args()?;
                    tracing.span_attributes.insert(name, value);
                }
            }
            word => {
                return Err(cursor
                    .err(format!("unrecognized subdirective '{word}'"))
                    .did_you_mean(word, ["span", "span_attributes"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, "tracing", &tracing))
}
