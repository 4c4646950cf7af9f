//! `metrics`: the metrics, to be read by Prometheus. It can be written so far, and not run.

use serde_json::json;

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "metrics",
        syntax: "metrics [<matcher>] {
	disable_openmetrics
}",
        parse: Parse::Handler(parse),
    }],
    ..Module::EMPTY
};

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut json = json!({});
    cursor.next();
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "disable_openmetrics" => json = json!({ "disable_openmetrics": true }),
            word => {
                return Err(cursor
                    .err(format!("unrecognized subdirective {word:?}"))
                    .did_you_mean(word, ["disable_openmetrics"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, "metrics", &json))
}
