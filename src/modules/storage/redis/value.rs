//! Values as the plugin stores them: JSON with the value in base64, when it was stored, and whether it
//! is compressed and encrypted.

use std::fmt;
use std::io::{Read, Write as _};
use std::time::SystemTime;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression as Level;
use flate2::read::{DeflateDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, ZlibEncoder};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A value that was compressed has so many bytes at most, as for the plugin.
const DECOMPRESSED_BYTES_MAX: u64 = 4 << 20;
/// The key has so many bytes, the first of a longer text.
const KEY_BYTES: usize = 32;

/// What is done with values before they are stored. What is done with those that are stored already,
/// they say themselves.
#[derive(Debug, Default)]
pub(super) struct Format {
    pub(super) compression: Compression,
    pub(super) key: Option<Key>,
}

/// How values are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Compression {
    #[default]
    None,
    /// Raw DEFLATE (RFC 1951).
    Flate,
    /// The same within zlib's frame (RFC 1950).
    Zlib,
}

impl Compression {
    /// Its number in JSON.
    fn number(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Flate => 1,
            Self::Zlib => 2,
        }
    }

    fn compress(self, value: &[u8]) -> Vec<u8> {
        let written = match self {
            Self::None => return value.to_vec(),
            Self::Flate => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Level::default());
                encoder.write_all(value).and_then(|()| encoder.finish())
            }
            Self::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Level::default());
                encoder.write_all(value).and_then(|()| encoder.finish())
            }
        };
        written.expect("invariant: memory takes what is written")
    }
}

/// A key of AES-256-GCM.
pub(super) struct Key(RandomizedNonceKey);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("REDACTED")
    }
}

/// Why a value can't be read, or not be stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error("not a value of this storage: {0}")]
    Json(#[from] serde_json::Error),
    #[error("not a value of this storage: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("it is encrypted, and there is no encryption_key")]
    NoKey,
    #[error("it can't be decrypted with this encryption_key")]
    Decryption,
    #[error("it can't be encrypted")]
    Encryption,
    #[error("it can't be decompressed: {0}")]
    Compression(std::io::Error),
    #[error("decompressed value exceeds limit ({DECOMPRESSED_BYTES_MAX} bytes)")]
    TooLong,
}

#[derive(Serialize, Deserialize)]
struct Json {
    /// Base64.
    value: String,
    /// RFC 3339.
    modified: String,
    /// Of the value as it is.
    size: u64,
    #[serde(default)]
    compression: i64,
    #[serde(default)]
    encryption: i64,
}

impl Key {
    /// The key of a text; `None` if that is too short.
    pub(super) fn new(text: &str) -> Option<Self> {
        let bytes = text.as_bytes().get(..KEY_BYTES)?;
        RandomizedNonceKey::new(&AES_256_GCM, bytes).ok().map(Self)
    }

    /// The nonce, and behind it what is encrypted and its tag.
    fn encrypt(&self, mut value: Vec<u8>) -> Result<Vec<u8>, ValueError> {
        let sealed = self.0.seal_in_place_append_tag(Aad::empty(), &mut value);
        let nonce = sealed.map_err(|_| ValueError::Encryption)?;
        Ok([&nonce.as_ref()[..], &value].concat())
    }

    fn decrypt(&self, bytes: &[u8]) -> Result<Vec<u8>, ValueError> {
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or(ValueError::Decryption)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| ValueError::Decryption)?;
        let mut sealed = sealed.to_vec();
        let opened = self.0.open_in_place(nonce, Aad::empty(), &mut sealed);
        Ok(opened.map_err(|_| ValueError::Decryption)?.to_vec())
    }
}

impl Format {
    /// What is stored for a value.
    pub(super) fn encode(&self, value: &[u8], now: Timestamp) -> Result<Vec<u8>, ValueError> {
        let compressed = self.compression.compress(value);
        // What does not become shorter stays as it is.
        let (bytes, compression) = if compressed.len() < value.len() {
            (compressed, self.compression)
        } else {
            (value.to_vec(), Compression::None)
        };
        let bytes = match &self.key {
            Some(key) => key.encrypt(bytes)?,
            None => bytes,
        };
        Ok(serde_json::to_vec(&Json {
            value: STANDARD.encode(bytes),
            modified: now.to_string(),
            size: value.len() as u64,
            compression: compression.number(),
            encryption: self.key.is_some().into(),
        })?)
    }

    /// The value that is stored so.
    pub(super) fn decode(&self, stored: &[u8]) -> Result<Vec<u8>, ValueError> {
        let json: Json = serde_json::from_slice(stored)?;
        let mut value = STANDARD.decode(&json.value)?;
        if json.encryption > 0 {
            value = self.key.as_ref().ok_or(ValueError::NoKey)?.decrypt(&value)?;
        }
        match json.compression {
            ..=0 => Ok(value),
            2 => decompress(ZlibDecoder::new(&*value)),
            _ => decompress(DeflateDecoder::new(&*value)),
        }
    }
}

/// When a value was stored; `None` if it says no time.
pub(super) fn modified(stored: &[u8]) -> Result<Option<SystemTime>, ValueError> {
    let json: Json = serde_json::from_slice(stored)?;
    Ok(json.modified.parse::<Timestamp>().ok().map(SystemTime::from))
}

fn decompress(from: impl Read) -> Result<Vec<u8>, ValueError> {
    let mut value = Vec::new();
    from.take(DECOMPRESSED_BYTES_MAX + 1).read_to_end(&mut value).map_err(ValueError::Compression)?;
    if value.len() as u64 > DECOMPRESSED_BYTES_MAX { Err(ValueError::TooLong) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef, and what is behind does not count";

    fn format(compression: Compression, key: Option<&str>) -> Format {
        Format { compression, key: key.map(|text| Key::new(text).unwrap()) }
    }

    #[test]
    fn what_is_stored_is_what_comes_back_whatever_is_done_with_it_now() {
        let long = "a certificate ".repeat(100);
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        for compression in [Compression::None, Compression::Flate, Compression::Zlib] {
            for key in [None, Some(SECRET)] {
                for value in [long.as_bytes(), b"x", b""] {
                    let stored = format(compression, key).encode(value, now).unwrap();
                    // With the same key, and another way to compress.
                    assert_eq!(format(Compression::None, key).decode(&stored).unwrap(), value);
                    assert_eq!(modified(&stored).unwrap(), Some(now.into()));
                }
            }
        }
    }

    #[test]
    fn values_have_the_form_of_the_plugin() {
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let stored = format(Compression::None, None).encode(b"hello", now).unwrap();
        let expected = r#"{"value":"aGVsbG8=","modified":"2026-01-02T03:04:05.678Z","size":5,"compression":0,"encryption":0}"#;
        assert_eq!(String::from_utf8(stored).unwrap(), expected);
        // By others: compressed and encrypted by other libraries, and with Go's times.
        let value = b"a certificate ".repeat(20);
        for (compression, text) in
            [(1, "S1RITi0qyUzLTE4sSVVIHOVBeQA="), (2, "eJxLVEhOLSrJTMtMTixJVUgc5UF5AHRYZtE=")]
        {
            let stored = format!(
                r#"{{"value":"{text}","modified":"2026-01-02T05:04:05.678123456+02:00","size":280,"compression":{compression},"encryption":0}}"#
            );
            assert_eq!(Format::default().decode(stored.as_bytes()).unwrap(), value);
            let time: Timestamp = "2026-01-02T03:04:05.678123456Z".parse().unwrap();
            assert_eq!(modified(stored.as_bytes()).unwrap(), Some(time.into()));
        }
        let sealed = br#"{"value":"AAECAwQFBgcICQoLRYDXELZS3/ZVIW5GIjbq+YuQdzut","modified":"","size":5,"compression":0,"encryption":1}"#;
        assert_eq!(format(Compression::None, Some(SECRET)).decode(sealed).unwrap(), b"hello");
    }

    #[test]
    fn what_can_not_be_read_says_why() {
        let now = Timestamp::UNIX_EPOCH;
        let sealed = format(Compression::None, Some(SECRET)).encode(b"hello", now).unwrap();
        let says = |format: &Format, stored: &[u8]| format.decode(stored).unwrap_err().to_string();
        assert_eq!(says(&Format::default(), &sealed), "it is encrypted, and there is no encryption_key");
        let other = format(Compression::None, Some(&SECRET.to_uppercase()));
        assert_eq!(says(&other, &sealed), "it can't be decrypted with this encryption_key");
        let short = br#"{"value":"AAAA","modified":"","size":3,"compression":0,"encryption":1}"#;
        assert_eq!(says(&other, short), "it can't be decrypted with this encryption_key");
        assert!(says(&other, b"hello").starts_with("not a value of this storage: "));
        let zeros = vec![0; 5 << 20];
        let bomb = format(Compression::Zlib, None).encode(&zeros, now).unwrap();
        assert_eq!(says(&other, &bomb), "decompressed value exceeds limit (4194304 bytes)");
        assert!(Key::new("too short").is_none());
        assert_eq!(format!("{:?}", format(Compression::None, Some(SECRET)).key.unwrap()), "REDACTED");
    }
}
