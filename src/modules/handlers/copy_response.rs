//! `copy_response`: inside `handle_response`, the upstream's answer after all. It can be written so far, and not run.

use serde_json::json;

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::{ModuleJson, WeakString};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "copy_response",
        syntax: "copy_response [<matcher>] [<status>] {
	status <status>
}",
        parse: Parse::Handler(parse),
    }],
    ..Module::EMPTY
};

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut status = WeakString::default();
    cursor.next();
    match cursor.remaining_args().as_slice() {
        [code] if code.parse::<i64>().is_ok_and(|code| code > 0) => status = code.as_str().into(),
        _ => {
            while cursor.next_block(0) {
                match cursor.val() {
                    "status" => [status.0] = cursor.args()?,
                    word => {
                        return Err(cursor
                            .err(format!("unrecognized subdirective '{word}'"))
                            .did_you_mean(word, ["status"]));
                    }
                }
            }
        }
    }
    let json = if status.is_empty() { json!({}) } else { json!({ "status_code": status }) };
    Ok(ModuleJson::new(HANDLER_TAG, "copy_response", &json))
}
