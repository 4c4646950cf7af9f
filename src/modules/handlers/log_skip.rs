//! `log_skip`: requests that are left out of access logs.
//!
//! ```caddyfile
//! :8080 {
//! 	log
//! 	log_skip /health
//! 	respond "Hello"
//! }
//! ```

use serde_json::json;

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[
        Directive { name: "skip_log", syntax: "skip_log [<matcher>]", parse: Parse::Handler(parse_old) },
        Directive { name: "log_skip", syntax: "log_skip [<matcher>]", parse: Parse::Handler(parse) },
    ],
    ..Module::EMPTY
};

fn parse(helper: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut helper.cursor;
    cursor.next();
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    if cursor.next_block(0) {
        return Err(cursor.err("log_skip directive does not accept blocks"));
    }
    Ok(ModuleJson::new(HANDLER_TAG, "vars", &json!({crate::http::LOG_SKIP_VAR: true})))
}

fn parse_old(helper: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let handler = parse(helper)?;
    helper.warn("the 'skip_log' directive is deprecated, please use 'log_skip' instead!");
    Ok(handler)
}
