//! `templates`: answers are templates to be filled in. It can be written so far, and not run.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "templates",
        syntax: "templates [<matcher>] {
	mime <types...>
	between <open> <close>
	root <path>
	extensions {
		<module> ...
	}
}",
        parse: Parse::Handler(parse),
    }],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/templates/>).
#[derive(Default, Serialize)]
struct Templates {
    #[serde(skip_serializing_if = "String::is_empty")]
    file_root: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mime_types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    delimiters: Vec<String>,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    extensions: Option<BTreeMap<String, Value>>,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let vocabulary = h.vocabulary();
    let cursor = &mut h.cursor;
    let mut templates = Templates::default();
    cursor.next();
    while cursor.next_block(0) {
        match cursor.val() {
            "mime" => {
                templates.mime_types = cursor.remaining_args();
                if templates.mime_types.is_empty() {
                    return Err(cursor.arg_err());
                }
            }
            "between" => templates.delimiters = cursor.all_args::<2>()?.into(),
            "root" => [templates.file_root] = cursor.args()?,
            "extensions" => {
                if cursor.next_arg() {
                    return Err(cursor.arg_err());
                }
                if templates.extensions.is_some() {
                    return Err(cursor.err("extensions already specified"));
                }
                let mut extensions = BTreeMap::new();
                let nesting = cursor.nesting();
                while cursor.next_block(nesting) {
                    let name = cursor.val().to_owned();
                    let namespace = "http.handlers.templates.functions";
                    extensions.insert(name, vocabulary.submodule_value(cursor, namespace)?);
                }
                templates.extensions = Some(extensions).filter(|extensions| !extensions.is_empty());
            }
            // Caddy passes over a word that it doesn't know; here it is a mistake like any other.
            word => {
                return Err(cursor
                    .err(format!("unrecognized subdirective '{word}'"))
                    .did_you_mean(word, ["mime", "between", "root", "extensions"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, "templates", &templates))
}
