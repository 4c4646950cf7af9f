//! Where a chunked request body ends (RFC 9112 section 7.1), without taking it apart.
//!
//! hyper decodes the chunks; the guard must know where the next head begins. It is the stricter of
//! the two, so that they can never disagree.

/// A trailer section may be this long at most.
const TRAILER_BYTES_MAX: u32 = 16 * 1024;
/// A size line may be this long at most, with its extensions.
const SIZE_LINE_BYTES_MAX: u32 = 1024;

/// So many hexadecimal digits fill 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// Where a chunked body stands.
#[derive(Debug)]
pub(super) enum Chunks {
    /// In a size line: its number so far, how many digits, how many bytes.
    Size { size: u64, digits: u8 },
    /// In the extensions of a size line.
    Extension { size: u64, seen: u32 },
    /// Behind the CR of a size line.
    SizeLf { size: u64 },
    /// In data.
    Data(u64),
    /// Behind data.
    DataCr,
    /// Behind the CR behind data.
    DataLf,
    /// In the trailer section: bytes in all, bytes of this line, whether a CR was last.
    Trailer { seen: u32, line: u32, cr: bool },
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

/// Whether a body ends in the bytes that were walked.
#[derive(Debug, PartialEq)]
pub(super) enum ChunksEnd {
    /// It does, after this many of them.
    At(usize),
    /// It goes on behind them.
    NotYet,
}

impl Chunks {
    /// Walks through `bytes`; fails if they are not chunks.
    pub(super) fn walk(&mut self, bytes: &[u8]) -> Result<ChunksEnd, ()> {
        let mut at = 0;
        while at < bytes.len() {
            if let Self::Data(left) = self {
                let part = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                *left -= part as u64;
                at += part;
                if *left == 0 {
                    *self = Self::DataCr;
                }
                continue;
            }
            let ended = self.step(bytes[at])?;
            at += 1;
            if ended {
                return Ok(ChunksEnd::At(at));
            }
        }
        Ok(ChunksEnd::NotYet)
    }

    /// One byte of what is not data; whether it is the last one.
    fn step(&mut self, byte: u8) -> Result<bool, ()> {
        *self = match (&*self, byte) {
            (Self::Size { size, digits: 1.. }, b'\r') => Self::SizeLf { size: *size },
            (Self::Size { size, digits: 1.. }, b';') => Self::Extension { size: *size, seen: 0 },
            // More than a signed number holds is read as something else by too many.
            (Self::Size { size, digits }, _) if *digits < SIZE_DIGITS_MAX && *size >> 59 == 0 => {
                let digit = char::from(byte).to_digit(16).ok_or(())?;
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Extension { size, .. }, b'\r') => Self::SizeLf { size: *size },
            (Self::Extension { size, seen }, b'\t' | b' '..=b'~' | 0x80..) if *seen < SIZE_LINE_BYTES_MAX => {
                Self::Extension { size: *size, seen: seen + 1 }
            }
            (Self::SizeLf { size: 0 }, b'\n') => Self::Trailer { seen: 0, line: 0, cr: false },
            (Self::SizeLf { size }, b'\n') => Self::Data(*size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::default(),
            (Self::Trailer { line: 0, cr: true, .. }, b'\n') => return Ok(true),
            (Self::Trailer { seen, cr: true, .. }, b'\n') => {
                Self::Trailer { seen: *seen, line: 0, cr: false }
            }
            (Self::Trailer { cr: true, .. }, _) | (Self::Trailer { .. }, b'\n') => return Err(()),
            (Self::Trailer { seen, line, .. }, _) if *seen < TRAILER_BYTES_MAX => {
                let cr = byte == b'\r';
                Self::Trailer { seen: seen + 1, line: if cr { *line } else { line + 1 }, cr }
            }
            _ => return Err(()),
        };
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(body: &[u8], step: usize) -> Result<Option<usize>, ()> {
        let (mut chunks, mut before) = (Chunks::default(), 0);
        for part in body.chunks(step) {
            if let ChunksEnd::At(length) = chunks.walk(part)? {
                return Ok(Some(before + length));
            }
            before += part.len();
        }
        Ok(None)
    }

    #[test]
    fn the_end_is_found_however_the_body_is_cut() {
        for body in [
            &b"0\r\n\r\n"[..],
            b"3\r\nabc\r\n0\r\n\r\n",
            b"3;a=\"b\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX: y\r\nZ: \r\n\r\n",
        ] {
            let next = [body, b"GET / HTTP/1.1\r\n"].concat();
            for step in 1..next.len() {
                assert_eq!(end_of(&next, step), Ok(Some(body.len())), "{step}");
            }
            assert_eq!(end_of(&body[..body.len() - 1], 7), Ok(None));
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for body in [
            &b"\r\n"[..],
            b";x\r\n",
            b"zz\r\n",
            b"-3\r\n",
            b"0x3\r\n",
            b"3 \r\n",
            b"3\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n",
            b"11111111111111111\r\n",
            b"8000000000000000\r\n",
            b"3;a\nb\r\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\n\rX",
        ] {
            assert_eq!(end_of(body, body.len()), Err(()), "{body:?}");
        }
    }
}
