//! `file`: certificates in PEM files.

use serde_json::{Value, json};

use super::{NAMESPACE, list};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "file",
        syntax: "file [<pem_files...>] {
	pem_file <pem_files...>
}",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let files = list(&mut reader.cursor, "pem_file")?;
    if files.is_empty() {
        return Err(reader.cursor.err("no certificates specified"));
    }
    Ok(json!({ "pem_files": files }))
}
