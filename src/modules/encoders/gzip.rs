//! `gzip`.

use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: "gzip", syntax: "gzip [<level>]", parse }],
    written_only: &["gzip"],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    if !cursor.next_arg() {
        return Ok(json!({}));
    }
    let text = cursor.val();
    match text.parse::<i64>() {
        Ok(0) => Ok(json!({})),
        Ok(level) => Ok(json!({ "level": level })),
        Err(_) => Err(cursor.err(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))),
    }
}
