//! `filesystem`: file systems that directives can name.

use serde_json::{Value, json};

use crate::adapt::{Error, GlobalOption, OptionReader};
use crate::module::Module;

/// The app that holds them.
const APP: &str = "caddy.filesystems";

pub(super) static MODULE: Module = Module {
    options: &[GlobalOption { name: "filesystem", syntax: "filesystem <name> <module> ...", parse }],
    ..Module::EMPTY
};

fn parse(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    reader.cursor.next();
    let [name] = reader.cursor.args()?;
    if !reader.cursor.next_arg() {
        return Err(reader.cursor.arg_err());
    }
    let file_system = reader.submodule("caddy.fs", "backend")?;
    let app = reader.options.apps.entry(APP.into()).or_insert_with(|| json!({ "filesystems": [] }));
    if let Some(Value::Array(list)) = app.get_mut("filesystems") {
        list.push(json!({"name": name, "file_system": file_system}));
    }
    Ok(())
}
