//! `zstd`.

use serde_json::{Map, Value};

use super::NAMESPACE;
use crate::adapt::{Cursor, Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "zstd",
        syntax: "zstd [fastest|default|better|best] {
	level fastest|default|better|best
	disable_checksum
}",
        parse,
    }],
    written_only: &["zstd"],
    ..Module::EMPTY
};

/// The levels that may be named.
const LEVELS: [&str; 4] = ["fastest", "default", "better", "best"];

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut json = Map::new();
    cursor.next();
    if cursor.count_remaining_args() > 0 {
        json.insert("level".into(), level(cursor)?.into());
    }
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        match cursor.val() {
            "level" if json.contains_key("level") => {
                return Err(cursor.err("compression level already specified"));
            }
            "level" => {
                json.insert("level".into(), level(cursor)?.into());
            }
            "disable_checksum" => {
                if cursor.next_arg() {
                    return Err(cursor.arg_err());
                }
                if json.insert("checksum".into(), false.into()).is_some() {
                    return Err(cursor.err("checksum already specified"));
                }
            }
            word => {
                return Err(cursor
                    .err(format!("unknown subdirective '{word}'"))
                    .did_you_mean(word, ["level", "disable_checksum"]));
            }
        }
    }
    Ok(Value::Object(json))
}

fn level(cursor: &mut Cursor) -> Result<String, Error> {
    let [level] = cursor.all_args()?;
    if LEVELS.contains(&level.to_lowercase().as_str()) {
        return Ok(level);
    }
    let message = format!("unexpected compression level, use one of '{}'", LEVELS.join("', '"));
    Err(cursor.err(message).did_you_mean(&level, LEVELS))
}
