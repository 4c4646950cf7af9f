//! `http`: a service that answers with a certificate and its key.

use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: "http", syntax: "http <url>", parse }],
    written_only: &["http"],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let [url] = cursor.all_args()?;
    if cursor.next_block(0) {
        return Err(cursor.err("block not allowed here"));
    }
    Ok(json!({ "url": url }))
}
