//! `copy_response_headers`: inside `handle_response`, header fields of the upstream's answer. It can be written so
//! far, and not run.

use serde::Serialize;

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "copy_response_headers",
        syntax: "copy_response_headers [<matcher>] {
	include <fields...>
	exclude <fields...>
}",
        parse: Parse::Handler(parse),
    }],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/copy_response_headers/>).
#[derive(Default, Serialize)]
struct CopyHeaders {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exclude: Vec<String>,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut copy = CopyHeaders::default();
    cursor.next();
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "include" => copy.include.extend(cursor.remaining_args()),
            "exclude" => copy.exclude.extend(cursor.remaining_args()),
            word => {
                return Err(cursor
                    .err(format!("unrecognized subdirective '{word}'"))
                    .did_you_mean(word, ["include", "exclude"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, "copy_response_headers", &copy))
}
