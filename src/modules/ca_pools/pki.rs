//! `pki_root` and `pki_intermediate`: certificates of our own authorities.

use serde_json::{Value, json};

use super::{NAMESPACE, list};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[
        SubmoduleSyntax {
            namespace: NAMESPACE,
            name: "pki_root",
            syntax: "pki_root [<authorities...>] {
	authority <authorities...>
}",
            parse,
        },
        SubmoduleSyntax {
            namespace: NAMESPACE,
            name: "pki_intermediate",
            syntax: "pki_intermediate [<authorities...>] {
	authority <authorities...>
}",
            parse,
        },
    ],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let authorities = list(&mut reader.cursor, "authority")?;
    if authorities.is_empty() {
        return Err(reader.cursor.err("no authorities specified"));
    }
    Ok(json!({ "authority": authorities }))
}
