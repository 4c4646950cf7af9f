//! `combined`: several pools together.

use serde_json::{Value, json};

use super::{NAMESPACE, TAG, unrecognized};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "combined",
        syntax: "combined {
	source <module> ...
}",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    reader.cursor.next();
    if reader.cursor.count_remaining_args() > 0 {
        return Err(reader.cursor.arg_err());
    }
    let mut sources = Vec::new();
    let nesting = reader.cursor.nesting();
    while reader.cursor.next_block(nesting) {
        if reader.cursor.val() != "source" {
            return Err(unrecognized(&reader.cursor, &["source"]));
        }
        if !reader.cursor.next_arg() {
            return Err(reader.cursor.arg_err());
        }
        sources.push(reader.submodule(NAMESPACE, TAG)?);
    }
    if sources.is_empty() {
        return Err(reader.cursor.err("no sources specified"));
    }
    Ok(json!({ "sources": sources }))
}
