//! `tailscale`: the Tailscale client of this machine.

use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: "tailscale", syntax: "tailscale", parse }],
    written_only: &["tailscale"],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    reader.cursor.next();
    if reader.cursor.next_arg() {
        return Err(reader.cursor.arg_err());
    }
    Ok(json!({}))
}
