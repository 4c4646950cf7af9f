//! Bodies in chunks (RFC 9112 section 7.1), whoever sends them.
//!
//! What two recipients could read differently is refused.

use bytes::{Buf as _, Bytes};
use http::HeaderMap;

/// A trailer section may be this long at most.
const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// A chunk's size line may be this long at most, extensions and all.
const SIZE_LINE_BYTES_MAX: usize = 1024;

/// Where a decoder stands between chunks.
#[derive(Debug, Default, PartialEq)]
pub(in crate::http) enum Chunked {
    /// At a size line, of which these bytes were read.
    #[default]
    Start,
    /// In a size line.
    Size { size: u64, digits: u8, seen: u16 },
    /// Behind a size, in what extends it.
    Extension { size: u64, seen: u16 },
    /// Behind the CR of a size line.
    SizeLf { size: u64 },
    /// In data, with this much to come.
    Data(u64),
    /// Behind data.
    DataCr,
    /// Behind the CR behind data.
    DataLf,
    /// In the trailer section, of which this much was read.
    Trailer(Vec<u8>),
    /// Behind everything.
    End,
}

/// What a decoder found in the bytes it was given.
#[derive(Debug)]
pub(in crate::http) enum Piece {
    /// Data of the body, all from one chunk.
    Data(Bytes),
    /// The trailer section; the body ends with it.
    Trailers(HeaderMap),
    /// The end, without trailers.
    End,
    /// Nothing yet: more bytes are needed.
    More,
}

impl Chunked {
    /// Takes the next piece out of `bytes`.
    pub(in crate::http) fn next(&mut self, bytes: &mut Bytes) -> Result<Piece, &'static str> {
        loop {
            if let Self::Data(left) = self
                && !bytes.is_empty()
            {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= take as u64;
                if *left == 0 {
                    *self = Self::DataCr;
                }
                return Ok(Piece::Data(bytes.split_to(take)));
            }
            if *self == Self::End {
                return Ok(Piece::End);
            }
            if bytes.is_empty() {
                return Ok(Piece::More);
            }
            if let Self::Trailer(section) = self {
                return trailer(section, bytes).inspect(|piece| {
                    if !matches!(piece, Piece::More) {
                        *self = Self::End;
                    }
                });
            }
            self.step(bytes.get_u8())?;
        }
    }

    /// One byte of what is not data.
    fn step(&mut self, byte: u8) -> Result<(), &'static str> {
        let next = match (&*self, byte) {
            (Self::Start, _) => {
                Self::Size { size: hex(byte).ok_or("malformed chunk size")?, digits: 1, seen: 1 }
            }
            (Self::Size { size, .. }, b'\r') => Self::SizeLf { size: *size },
            (Self::Size { size, seen, .. }, b';') => Self::Extension { size: *size, seen: *seen },
            (Self::Size { size, digits, seen }, _) => {
                let digit = hex(byte).ok_or("malformed chunk size")?;
                // More than a signed number holds is read as something else by too many.
                if *digits == 16 || *size >> 59 != 0 {
                    return Err("chunk size too large");
                }
                Self::Size { size: size << 4 | digit, digits: digits + 1, seen: seen + 1 }
            }
            (Self::Extension { size, .. }, b'\r') => Self::SizeLf { size: *size },
            (Self::Extension { size, seen }, b'\t' | b' '..=b'~' | 0x80..) => {
                if usize::from(*seen) >= SIZE_LINE_BYTES_MAX {
                    return Err("chunk extension too long");
                }
                Self::Extension { size: *size, seen: seen + 1 }
            }
            (Self::SizeLf { size: 0 }, b'\n') => Self::Trailer(Vec::new()),
            (Self::SizeLf { size }, b'\n') => Self::Data(*size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Start,
            _ => return Err("malformed chunk"),
        };
        *self = next;
        Ok(())
    }
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

/// Gathers the trailer section up to its empty line.
fn trailer(section: &mut Vec<u8>, bytes: &mut Bytes) -> Result<Piece, &'static str> {
    while !bytes.is_empty() {
        let byte = bytes.get_u8();
        // A line ends with both or with neither.
        if (byte == b'\n') != (section.last() == Some(&b'\r')) {
            return Err("malformed trailer section");
        }
        section.push(byte);
        if section.as_slice() == b"\r\n" {
            return Ok(Piece::End);
        }
        if section.ends_with(b"\r\n\r\n") {
            return parse_trailers(section).map(Piece::Trailers);
        }
        if section.len() > TRAILER_BYTES_MAX {
            return Err("trailer section too long");
        }
    }
    Ok(Piece::More)
}

fn parse_trailers(section: &[u8]) -> Result<HeaderMap, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(section, &mut fields) else {
        return Err("malformed trailer section");
    };
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = field.name.parse::<http::HeaderName>();
        let value = http::HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else { return Err("malformed trailer field") };
        map.append(name, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `wire` in pieces of `step` bytes: body, trailers, and what stays behind the end.
    fn decode(
        wire: &'static [u8],
        step: usize,
    ) -> Result<(Vec<u8>, Option<HeaderMap>, Vec<u8>), &'static str> {
        let (mut chunked, mut body) = (Chunked::default(), Vec::new());
        let mut rest = Bytes::from_static(wire);
        let mut now = Bytes::new();
        loop {
            match chunked.next(&mut now)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::Trailers(map) => return Ok((body, Some(map), [now, rest].concat())),
                Piece::End => return Ok((body, None, [now, rest].concat())),
                Piece::More if rest.is_empty() => return Err("unfinished"),
                Piece::More => now = rest.split_to(step.min(rest.len())),
            }
        }
    }

    #[test]
    fn chunks_decode_however_they_are_cut() {
        let wire = b"3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nX-Sum: 7\r\n\r\nNEXT";
        for step in 1..wire.len() {
            let (body, trailers, rest) = decode(wire, step).unwrap();
            assert_eq!(body, b"abc0123456789");
            assert_eq!(trailers.unwrap()["x-sum"], "7");
            assert_eq!(rest, b"NEXT");
        }
    }

    #[test]
    fn doubtful_chunks_are_refused() {
        for wire in [
            &b"\r\n"[..],
            b"zz\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"3\nabc\r\n0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"11111111111111111\r\n",
            b"8000000000000000\r\n",
            b"3;a\nb\r\nabc\r\n0\r\n\r\n",
            b"3;a\x01\r\nabc\r\n0\r\n\r\n",
            b"0\r\nbad name: x\r\n\r\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\n\rX: y\r\n\r\n",
            b"0\r\n\n",
        ] {
            assert_ne!(decode(wire, wire.len()).unwrap_err(), "unfinished", "{wire:?}");
        }
    }
}
