//! `leaf`: certain certificates, and no others.

use serde_json::{Value, json};

use super::LOADERS;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax {
        namespace: "tls.client_auth.verifier",
        name: "leaf",
        syntax: "leaf [<loader> ...] {
	<loader> ...
}",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let mut loaders = Vec::new();
    reader.cursor.next();
    if reader.cursor.count_remaining_args() > 1 {
        reader.cursor.next_arg();
        loaders.push(reader.submodule(LOADERS, "loader")?);
    } else {
        let nesting = reader.cursor.nesting();
        while reader.cursor.next_block(nesting) {
            loaders.push(reader.submodule(LOADERS, "loader")?);
        }
    }
    Ok(if loaders.is_empty() { json!({}) } else { json!({ "leaf_certs_loaders": loaders }) })
}
