//! The options that the json and console formats share.

use serde_json::{Value, json};

use crate::adapt::{Error, SubmoduleReader};
use crate::log::EncoderOptions;

/// How they are written, after the format's name.
macro_rules! syntax {
    ($name:literal) => {
        concat!(
            $name,
            " {
	message_key <key>
	level_key <key>
	time_key <key>
	name_key <key>
	caller_key <key>
	stacktrace_key <key>
	line_ending <char>
	time_format <format>
	time_local
	duration_format <format>
	level_format <format>
}"
        )
    };
}
pub(super) use syntax;

/// Reads them.
pub(super) fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    let mut options = EncoderOptions::default();
    while cursor.next_block(0) {
        let name = cursor.val().to_owned();
        if name == "time_local" {
            let [] = cursor.last_args()?;
            options.time_local = true;
            continue;
        }
        let [value] = cursor.all_args()?;
        match name.as_str() {
            "message_key" => options.message_key = Some(value),
            "level_key" => options.level_key = Some(value),
            "time_key" => options.time_key = Some(value),
            "name_key" => options.name_key = Some(value),
            "caller_key" => options.caller_key = Some(value),
            "stacktrace_key" => options.stacktrace_key = Some(value),
            "line_ending" => options.line_ending = Some(value),
            "time_format" => options.time_format = value,
            "duration_format" => options.duration_format = value,
            "level_format" => options.level_format = value,
            _ => return Err(cursor.err(format!("unrecognized subdirective {name}"))),
        }
    }
    Ok(json!(options))
}
