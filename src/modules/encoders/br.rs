//! `br`: Brotli, which Caddy has only with a plugin.

use std::io::{self, Write as _};

use brotli::CompressorWriter;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::{Encoder, Encoding, EncodingType, ProvisionError};
use crate::module::Module;

const NAME: &str = "br";

pub(super) static MODULE: Module = Module {
    encoding: Some(EncodingType { name: NAME, provision }),
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: NAME, syntax: "br [<quality>]", parse }],
    schemas: &[ModuleSchema::of::<Br>("http.encoders", NAME)],
    ..Module::EMPTY
};

/// The quality if none is given: the better ones take too long for answers that are made anew.
const QUALITY: i64 = 4;
const QUALITY_MAX: i64 = 11;
/// The window has 2 to this power bytes: every answer that is being sent holds one.
const WINDOW_BITS: u32 = 18;
/// What comes out is taken in pieces of this size.
const OUT_BYTES: usize = 4 * 1024;

/// The JSON form.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Br {
    /// From 0, the fastest, to 11.
    quality: Option<i64>,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    if !cursor.next_arg() {
        return Ok(json!({}));
    }
    match cursor.val().parse::<i64>() {
        Ok(quality) if is_quality(quality) => Ok(json!({ "quality": quality })),
        _ => Err(cursor.err(no_quality())),
    }
}

fn is_quality(quality: i64) -> bool {
    (0..=QUALITY_MAX).contains(&quality)
}

fn no_quality() -> String {
    format!("quality must be from 0 to {QUALITY_MAX}")
}

fn provision(json: &Value) -> Result<Box<dyn Encoding>, ProvisionError> {
    let quality = super::decode::<Br>(NAME, json)?.quality.unwrap_or(QUALITY);
    let quality = u32::try_from(quality).ok().filter(|quality| is_quality((*quality).into()));
    Ok(Box::new(Provisioned(quality.ok_or_else(|| ProvisionError::invalid(no_quality()))?)))
}

struct Provisioned(u32);

impl Encoding for Provisioned {
    fn begin(&self) -> io::Result<Box<dyn Encoder>> {
        Ok(Box::new(Running(Some(CompressorWriter::new(Vec::new(), OUT_BYTES, self.0, WINDOW_BITS)))))
    }
}

/// The compressor writes into a buffer of its own; none once it has finished.
struct Running(Option<CompressorWriter<Vec<u8>>>);

impl Encoder for Running {
    fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let Some(compressor) = &mut self.0 else { return Ok(()) };
        compressor.write_all(piece)?;
        out.append(compressor.get_mut());
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(compressor) = &mut self.0 else { return Ok(()) };
        compressor.flush()?;
        out.append(compressor.get_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if let Some(compressor) = self.0.take() {
            out.append(&mut compressor.into_inner());
        }
        Ok(())
    }
}
