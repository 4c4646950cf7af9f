//! `inline`: certificates that stand in the configuration.

use serde_json::{Value, json};

use super::{NAMESPACE, list};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "inline",
        syntax: "inline {
	trust_der <base64...>
}",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    if cursor.count_remaining_args() > 0 {
        return Err(cursor.arg_err());
    }
    cursor.reset();
    let certificates = list(cursor, "trust_der")?;
    if certificates.is_empty() {
        return Err(cursor.err("no certificates specified"));
    }
    Ok(json!({ "trusted_ca_certs": certificates }))
}
