//! How answers are compressed: modules of `http.encoders`.

mod br;
mod gzip;
mod zstd;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::http::{Encoding, ProvisionError};
use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&br::MODULE, &gzip::MODULE, &zstd::MODULE];

/// Caddy's namespace.
pub(super) const NAMESPACE: &str = "http.encoders";

/// Builds the encoding `name` from its JSON; with the name that clients know it by.
///
/// # Errors
/// It does not exist, or refuses its configuration.
pub(super) fn provision(
    name: &str,
    json: &Value,
) -> Result<(&'static str, Box<dyn Encoding>), ProvisionError> {
    let mut rows = TABLE.iter().filter_map(|module| module.encoding.as_ref());
    let row = rows
        .find(|row| row.name == name)
        .ok_or_else(|| ProvisionError::Unknown { namespace: NAMESPACE, name: name.to_owned() })?;
    Ok((row.name, (row.provision)(json)?))
}

/// Reads an encoding's JSON, of which nothing need be there.
fn decode<T: DeserializeOwned + Default>(name: &str, json: &Value) -> Result<T, ProvisionError> {
    if json.is_null() {
        return Ok(T::default());
    }
    T::deserialize(json).map_err(|error| {
        ProvisionError::invalid(format!("decoding module config: {NAMESPACE}.{name}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use serde_json::json;

    use super::*;

    /// What `packed` holds; only as far as it goes, if it has no end yet.
    fn unpack(name: &str, packed: &[u8]) -> Vec<u8> {
        let mut reader: Box<dyn std::io::Read> = match name {
            "gzip" => Box::new(flate2::read::GzDecoder::new(packed)),
            "zstd" => Box::new(::zstd::stream::read::Decoder::new(packed).unwrap()),
            _ => Box::new(brotli::Decompressor::new(packed, 4096)),
        };
        let (mut unpacked, mut piece) = (Vec::new(), [0; 1000]);
        while let Ok(n @ 1..) = reader.read(&mut piece) {
            unpacked.extend_from_slice(&piece[..n]);
        }
        unpacked
    }

    fn pack(name: &str, json: &Value, pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = provision(name, json).unwrap().1.begin().unwrap();
        let mut packed = Vec::new();
        pieces.iter().for_each(|piece| encoder.write(piece, &mut packed).unwrap());
        encoder.finish(&mut packed).unwrap();
        packed
    }

    fn refusal(name: &str, json: &Value) -> String {
        provision(name, json).err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// Text that can be compressed, but not to nothing.
    fn text(lines: usize) -> Vec<u8> {
        (0..lines)
            .flat_map(|n| format!("line {n} of {} with {}\n", n * 7919 % 1000, n * n).into_bytes())
            .collect()
    }

    #[test]
    fn what_goes_in_comes_out() {
        let text = text(50_000);
        for (name, json) in [
            ("gzip", json!({})),
            ("gzip", json!({"level": 1})),
            ("gzip", json!({"level": 9})),
            ("gzip", json!({"level": -3})),
            ("zstd", json!(null)),
            ("zstd", json!({"level": "BEST", "checksum": false})),
            ("br", json!({})),
            ("br", json!({"quality": 1})),
        ] {
            let packed = pack(name, &json, &[&text[..7], &text[7..100_000], &[], &text[100_000..]]);
            assert!(packed.len() < text.len() / 2, "{name} {json}: {}", packed.len());
            assert!(unpack(name, &packed) == text, "{name} {json}");
            assert!(unpack(name, &pack(name, &json, &[])).is_empty(), "{name} {json}");
        }
    }

    #[test]
    fn what_was_flushed_can_be_read_before_more_comes() {
        for name in ["gzip", "zstd", "br"] {
            let mut encoder = provision(name, &json!({})).unwrap().1.begin().unwrap();
            let (mut packed, mut whole) = (Vec::new(), Vec::new());
            for line in ["one\n", "two\n", "three\n"] {
                encoder.write(line.as_bytes(), &mut packed).unwrap();
                encoder.flush(&mut packed).unwrap();
                whole.extend_from_slice(line.as_bytes());
                assert_eq!(unpack(name, &packed), whole, "{name}");
            }
            let before = packed.len();
            encoder.flush(&mut packed).unwrap();
            assert!(
                packed.len() - before < 16,
                "{name}: nothing to flush took {} bytes",
                packed.len() - before
            );
        }
    }

    #[test]
    fn a_zstd_frame_has_a_checksum_unless_told_not_to_and_a_small_window() {
        // RFC 8878 section 3.1.1.1: bit 2 of the descriptor, then the window's exponent.
        let head = |json: Value| pack("zstd", &json, &[b"text"])[4..6].to_owned();
        assert_eq!(head(json!({}))[0] & 4, 4);
        let plain = head(json!({"checksum": false}));
        assert_eq!((plain[0] & 4, plain[1] >> 3), (0, 17 - 10));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (name, json, says) in [
            ("gzip", json!({"level": 10}), "quality too high; must be <= 9"),
            ("gzip", json!({"level": -4}), "quality too low; must be >= -3"),
            ("gzip", json!({"quality": 1}), "unknown field"),
            ("zstd", json!({"level": "worst"}), "unexpected compression level"),
            ("br", json!({"quality": 12}), "quality must be from 0 to 11"),
            ("lz4", json!({}), "module not registered: http.encoders.lz4"),
        ] {
            assert!(refusal(name, &json).contains(says), "{name} {json}: {}", refusal(name, &json));
        }
    }
}
