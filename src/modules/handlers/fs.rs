//! `fs`: the file system that later directives read from, one of those that the global option `filesystem` names.

use serde_json::json;

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive { name: "fs", syntax: "fs [<matcher>] <name>", parse: Parse::Handler(parse) }],
    ..Module::EMPTY
};

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    h.cursor.next();
    let [name] = h.cursor.last_args()?;
    Ok(ModuleJson::new(HANDLER_TAG, "vars", &json!({ "fs": name })))
}
