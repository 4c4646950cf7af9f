//! `timeouts`: how long bodies may stall. It can be written so far, and not run.

use serde::Serialize;

use crate::adapt::{Cursor, Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::{Duration, ModuleJson, is_default, parse_bytes};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "timeouts",
        syntax: "timeouts [<matcher>] {
	read_timeout <duration> [<bytes_per_second>]
	write_timeout <duration> [<bytes_per_second>]
	max_write_chunk <size>
}",
        parse: Parse::Handler(parse),
    }],
    ..Module::EMPTY
};

/// The JSON form.
#[derive(Default, Serialize)]
struct Timeouts {
    #[serde(skip_serializing_if = "is_default")]
    read_timeout: Duration,
    #[serde(skip_serializing_if = "is_default")]
    read_min_rate: i64,
    #[serde(skip_serializing_if = "is_default")]
    write_timeout: Duration,
    #[serde(skip_serializing_if = "is_default")]
    write_min_rate: i64,
    #[serde(skip_serializing_if = "is_default")]
    max_write_chunk: u64,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut timeouts = Timeouts::default();
    cursor.next();
    while cursor.next_block(0) {
        match cursor.val() {
            "read_timeout" => {
                (timeouts.read_timeout, timeouts.read_min_rate) =
                    timeout(cursor, "read_timeout", timeouts.read_min_rate)?;
            }
            "write_timeout" => {
                (timeouts.write_timeout, timeouts.write_min_rate) =
                    timeout(cursor, "write_timeout", timeouts.write_min_rate)?;
            }
            "max_write_chunk" => {
                let [size] = cursor.all_args()?;
                timeouts.max_write_chunk = parse_bytes(&size)
                    .map_err(|error| cursor.err(format!("parsing max_write_chunk: {error}")))?;
            }
            word => {
                return Err(cursor
                    .err(format!("unrecognized timeouts subdirective '{word}'"))
                    .did_you_mean(word, ["read_timeout", "write_timeout", "max_write_chunk"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, "timeouts", &timeouts))
}

/// Reads a time, and how slow a body may be in bytes a second.
fn timeout(cursor: &mut Cursor, name: &str, rate: i64) -> Result<(Duration, i64), Error> {
    let args = cursor.remaining_args();
    let (time, rate) = match args.as_slice() {
        [time] => (time, rate),
        [time, rate] => {
            let rate = rate.parse().map_err(|_| {
                cursor.err(format!(
                    "parsing {name} min_rate: strconv.ParseInt: parsing {rate:?}: invalid syntax"
                ))
            })?;
            (time, rate)
        }
        _ => return Err(cursor.arg_err()),
    };
    let time = time.parse().map_err(|error| cursor.err(format!("parsing {name}: {error}")))?;
    Ok((time, rate))
}
