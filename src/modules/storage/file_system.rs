//! `file_system`: a folder of this machine.

use serde_json::{Value, json};

use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;
use crate::tls::{FileStorage, StorageType};

pub(super) static MODULE: Module = Module {
    storage: Some(StorageType { id: "file_system", open: FileStorage::open }),
    submodules: &[SubmoduleSyntax {
        namespace: "caddy.storage",
        name: "file_system",
        syntax: "file_system [<path>] {
	root <path>
}",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut root = String::new();
    cursor.next();
    if cursor.next_arg() {
        cursor.val().clone_into(&mut root);
    }
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "root" if !root.is_empty() => return Err(cursor.err("root already set")),
            "root" => [root] = cursor.last_args()?,
            word => {
                let message = format!("unrecognized parameter '{word}'");
                return Err(cursor.err(message).did_you_mean(word, ["root"]));
            }
        }
    }
    if root.is_empty() {
        return Err(cursor.err("missing root path (to use default, omit storage config entirely)"));
    }
    Ok(json!({ "root": root }))
}
