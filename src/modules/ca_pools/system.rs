//! `system`: the authorities that this machine trusts.

use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: "system", syntax: "system", parse }],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    if cursor.count_remaining_args() > 0 {
        return Err(cursor.arg_err());
    }
    if cursor.next_block(0) {
        return Err(cursor.err("system trust pool does not support any configuration"));
    }
    Ok(json!({}))
}
