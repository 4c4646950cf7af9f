//! `storage`: certificates that are kept in a storage.

use serde_json::{Map, Value, json};

use super::{NAMESPACE, unrecognized};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "storage",
        syntax: "storage [<keys...>] {
	storage <module> ...
	keys <keys...>
}",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let mut storage = None;
    reader.cursor.next();
    let mut keys = reader.cursor.remaining_args();
    let nesting = reader.cursor.nesting();
    while reader.cursor.next_block(nesting) {
        match reader.cursor.val() {
            "storage" if storage.is_some() => return Err(reader.cursor.err("storage module already set")),
            "storage" => {
                if !reader.cursor.next_arg() {
                    return Err(reader.cursor.arg_err());
                }
                storage = Some(reader.submodule("caddy.storage", "module")?);
            }
            "keys" => keys.extend(reader.cursor.remaining_args()),
            _ => return Err(unrecognized(&reader.cursor, &["storage", "keys"])),
        }
    }
    let mut json = Map::new();
    json.extend(storage.map(|storage| ("storage".to_owned(), json!(storage))));
    if !keys.is_empty() {
        json.insert("pem_keys".into(), json!(keys));
    }
    Ok(Value::Object(json))
}
