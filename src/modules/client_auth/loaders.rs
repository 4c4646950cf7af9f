//! `file`, `folder` and `pem`: where leaf certificates come from.

use serde_json::{Value, json};

use super::LOADERS;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[
        SubmoduleSyntax {
            namespace: LOADERS,
            name: "file",
            syntax: "file <paths...>",
            parse: |reader| list(reader, "files"),
        },
        SubmoduleSyntax {
            namespace: LOADERS,
            name: "folder",
            syntax: "folder <paths...>",
            parse: |reader| list(reader, "folders"),
        },
        SubmoduleSyntax {
            namespace: LOADERS,
            name: "pem",
            syntax: "pem <certificates...>",
            parse: |reader| list(reader, "certificates"),
        },
    ],
    ..Module::EMPTY
};

fn list(reader: &mut SubmoduleReader<'_>, field: &str) -> Result<Value, Error> {
    reader.cursor.next();
    let values = reader.cursor.remaining_args();
    Ok(if values.is_empty() { json!({}) } else { json!({ field: values }) })
}
