//! `log_name`: the loggers that a request is logged by, instead of its host's.
//!
//! ```caddyfile
//! :8080 {
//! 	log
//! 	log special {
//! 		output file special.log
//! 		no_hostname
//! 	}
//! 	log_name /special/* special
//! 	respond "Hello"
//! }
//! ```

use serde_json::json;

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "log_name",
        syntax: "log_name [<matcher>] <names...>",
        parse: Parse::Handler(parse),
    }],
    ..Module::EMPTY
};

fn parse(helper: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    helper.cursor.next();
    let names = Some(helper.cursor.remaining_args()).filter(|names| !names.is_empty());
    Ok(ModuleJson::new(HANDLER_TAG, "vars", &json!({crate::http::LOGGER_NAMES_VAR: names})))
}
