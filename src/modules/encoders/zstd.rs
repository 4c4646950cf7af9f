//! `zstd`.

use std::io;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use zstd::stream::raw::{CParameter, Encoder as Compressor, Operation as _, OutBuffer};

use super::NAMESPACE;
use crate::adapt::{Cursor, Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::{Encoder, Encoding, EncodingType, ProvisionError};
use crate::module::Module;

const NAME: &str = "zstd";

pub(super) static MODULE: Module = Module {
    encoding: Some(EncodingType { name: NAME, provision }),
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: NAME,
        syntax: "zstd [fastest|default|better|best] {
	level fastest|default|better|best
	disable_checksum
}",
        parse,
    }],
    schemas: &[ModuleSchema::of::<Zstd>("http.encoders", NAME)],
    ..Module::EMPTY
};

/// The levels that may be named.
const LEVELS: [&str; 4] = ["fastest", "default", "better", "best"];
/// The library's own numbers for them.
const NUMBERS: [i32; 4] = [1, 3, 7, 11];
/// The place of the level if none is given.
const DEFAULT: usize = 1;
/// The window has 2 to this power bytes, as in Caddy: more is too much for many clients.
const WINDOW_BITS: u32 = 17;
/// What comes out is taken in pieces of about this size.
const OUT_BYTES: usize = 4 * 1024;

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/encode/encodings/zstd/>).
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Zstd {
    /// `fastest`, `default`, `better` or `best`.
    level: String,
    /// Whether a checksum stands at the end, as it does if nothing is said.
    checksum: Option<bool>,
}

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
    if number(&level).is_some() {
        return Ok(level);
    }
    Err(cursor.err(no_level()).did_you_mean(&level, LEVELS))
}

fn number(level: &str) -> Option<i32> {
    let place = LEVELS.iter().position(|name| name.eq_ignore_ascii_case(level))?;
    Some(NUMBERS[place])
}

fn no_level() -> String {
    format!("unexpected compression level, use one of '{}'", LEVELS.join("', '"))
}

fn provision(json: &Value) -> Result<Box<dyn Encoding>, ProvisionError> {
    let Zstd { level, checksum } = super::decode(NAME, json)?;
    let level = if level.is_empty() { LEVELS[DEFAULT] } else { &level };
    let level = number(level).ok_or_else(|| ProvisionError::invalid(no_level()))?;
    Ok(Box::new(Provisioned { level, checksum: checksum.unwrap_or(true) }))
}

struct Provisioned {
    level: i32,
    checksum: bool,
}

impl Encoding for Provisioned {
    fn begin(&self) -> io::Result<Box<dyn Encoder>> {
        let mut compressor = Compressor::new(self.level)?;
        compressor.set_parameter(CParameter::WindowLog(WINDOW_BITS))?;
        compressor.set_parameter(CParameter::ChecksumFlag(self.checksum))?;
        Ok(Box::new(Running(compressor)))
    }
}

struct Running(Compressor<'static>);

/// Calls `step` until it says that nothing is left.
fn drain(
    out: &mut Vec<u8>,
    mut step: impl FnMut(&mut OutBuffer<'_, Vec<u8>>) -> io::Result<usize>,
) -> io::Result<()> {
    loop {
        out.reserve(OUT_BYTES);
        let written = out.len();
        if step(&mut OutBuffer::around_pos(out, written))? == 0 {
            return Ok(());
        }
    }
}

impl Encoder for Running {
    fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut done = 0;
        drain(out, |out| {
            let mut input = zstd::stream::raw::InBuffer::around(&piece[done..]);
            self.0.run(&mut input, out)?;
            done += input.pos();
            Ok(piece.len() - done)
        })
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        drain(out, |out| self.0.flush(out))
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        drain(out, |out| self.0.finish(out, true))
    }
}
