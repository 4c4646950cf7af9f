//! `gzip`.

use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::{Encoder, Encoding, EncodingType, ProvisionError};
use crate::module::Module;

const NAME: &str = "gzip";

pub(super) static MODULE: Module = Module {
    encoding: Some(EncodingType { name: NAME, provision }),
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: NAME, syntax: "gzip [<level>]", parse }],
    schemas: &[ModuleSchema::of::<Gzip>("http.encoders", NAME)],
    ..Module::EMPTY
};

/// The level if none is given, as in Caddy.
const LEVEL: u32 = 5;
/// The window has 2 to this power bytes, the most that there is.
const WINDOW_BITS: u8 = 15;
/// What comes out is taken in pieces of about this size.
const OUT_BYTES: usize = 4 * 1024;

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/encode/encodings/gzip/>).
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Gzip {
    /// From 1, the fastest, to 9; what is below has other names in Go, and is the fastest here.
    level: i64,
}

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

fn provision(json: &Value) -> Result<Box<dyn Encoding>, ProvisionError> {
    let Gzip { level } = super::decode(NAME, json)?;
    let level = match level {
        // Go's default, which stands for the same level.
        0 | -1 => LEVEL,
        // No compression but by frequent bytes, and one that remembers nothing.
        -2 | -3 => 1,
        ..-3 => return Err(ProvisionError::invalid("quality too low; must be >= -3")),
        10.. => return Err(ProvisionError::invalid("quality too high; must be <= 9")),
        1..10 => level as u32,
    };
    Ok(Box::new(Provisioned(Compression::new(level))))
}

struct Provisioned(Compression);

impl Encoding for Provisioned {
    fn begin(&self) -> io::Result<Box<dyn Encoder>> {
        Ok(Box::new(Running(Compress::new_gzip(self.0, WINDOW_BITS))))
    }
}

struct Running(Compress);

impl Running {
    /// Puts in `piece`, and goes on until the compressor has nothing more to say.
    fn run(&mut self, piece: &[u8], out: &mut Vec<u8>, flush: FlushCompress) -> io::Result<()> {
        let begin = self.0.total_in();
        loop {
            out.reserve(OUT_BYTES);
            let done = usize::try_from(self.0.total_in() - begin).unwrap_or(piece.len());
            let status = self.0.compress_vec(&piece[done..], out, flush).map_err(io::Error::other)?;
            // Room that is left says that there was nothing to fill it with.
            if status == Status::StreamEnd || out.len() < out.capacity() {
                return Ok(());
            }
        }
    }
}

impl Encoder for Running {
    fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.run(piece, out, FlushCompress::None)
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.run(&[], out, FlushCompress::Sync)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.run(&[], out, FlushCompress::Finish)
    }
}
