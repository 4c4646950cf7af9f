//! Parts of a file (RFC 9110 section 14).

use bytes::Bytes;

use crate::http::files::Piece;

/// Who asks for more parts than this gets all of the file: such requests mean to keep servers busy.
const RANGES_MAX: usize = 100;

/// Some bytes of a file: from one place up to another.
pub(super) type Range = (u64, u64);

/// Why a `Range` field can't be served.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RangeError {
    /// It is none.
    Invalid,
    /// The file has none of these bytes.
    NoOverlap,
}

impl RangeError {
    /// What Go says of it.
    pub(super) fn text(&self) -> &'static str {
        match self {
            Self::Invalid => "invalid range\n",
            Self::NoOverlap => "invalid range: failed to overlap\n",
        }
    }
}

/// Reads a `Range` field for a file of this size. An empty list asks for all of it.
pub(super) fn parse(field: &[u8], size: u64) -> Result<Vec<Range>, RangeError> {
    let list = field.strip_prefix(b"bytes=").ok_or(RangeError::Invalid)?;
    let mut ranges = Vec::new();
    let mut beyond = false;
    for range in list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|range| !range.is_empty()) {
        match one(range, size)? {
            Some(range) => ranges.push(range),
            None => beyond = true,
        }
    }
    if ranges.is_empty() && beyond && size > 0 {
        return Err(RangeError::NoOverlap);
    }
    // Parts that are more than the whole are better sent as the whole.
    let sum = ranges.iter().fold(0_u64, |sum, (from, to)| sum.saturating_add(to - from));
    if sum > size || ranges.len() > RANGES_MAX {
        ranges.clear();
    }
    Ok(ranges)
}

/// One range; `None` if it lies beyond the end.
fn one(range: &[u8], size: u64) -> Result<Option<Range>, RangeError> {
    let at = memchr::memchr(b'-', range).ok_or(RangeError::Invalid)?;
    let (first, last) = (range[..at].trim_ascii(), range[at + 1..].trim_ascii());
    let (from, to) = match (first, last) {
        (b"", last) => (size - number(last)?.min(size), size),
        (first, b"") => (number(first)?, size),
        (first, last) => {
            let first = number(first)?;
            // As Go, behind the end of the file it does not matter what follows.
            let last = if first < size { number(last)? } else { first };
            if first > last {
                return Err(RangeError::Invalid);
            }
            (first, last.saturating_add(1).min(size))
        }
    };
    Ok((from < to).then_some((from, to)))
}

fn number(digits: &[u8]) -> Result<u64, RangeError> {
    // Go takes a sign before a place, which changes nothing.
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return Err(RangeError::Invalid);
    }
    let text = std::str::from_utf8(digits).map_err(|_| RangeError::Invalid)?;
    text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok()).ok_or(RangeError::Invalid)
}

/// `Content-Range` of a part.
pub(super) fn content_range((from, to): Range, size: u64) -> String {
    format!("bytes {from}-{}/{size}", to - 1)
}

/// What stands between the parts of an answer with several, which is random so that no file has it.
pub(super) fn boundary() -> String {
    let mut random = [0_u8; 30];
    // Without a random source it is only easier to guess.
    let _ = getrandom::fill(&mut random);
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The body of an answer with several parts (RFC 9110 section 14.6).
pub(super) fn multipart(ranges: &[Range], size: u64, boundary: &str, content_type: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(ranges.len() * 2 + 1);
    for (index, range) in ranges.iter().enumerate() {
        let line_end = if index == 0 { "" } else { "\r\n" };
        let head = format!(
            "{line_end}--{boundary}\r\nContent-Range: {}\r\nContent-Type: {content_type}\r\n\r\n",
            content_range(*range, size)
        );
        pieces.push(Piece::Bytes(Bytes::from(head)));
        pieces.push(Piece::File(range.0, range.1));
    }
    pieces.push(Piece::Bytes(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(field: &str, size: u64) -> Result<Vec<Range>, RangeError> {
        parse(field.as_bytes(), size)
    }

    // What Caddy 2.11.7 answers, but that a last part without a byte is beyond the end here.
    #[test]
    fn ranges_are_read_as_go_reads_them() {
        for (field, size, expected) in [
            ("bytes=0-4", 10, Ok(vec![(0, 5)])),
            ("bytes=5-", 10, Ok(vec![(5, 10)])),
            ("bytes=-3", 10, Ok(vec![(7, 10)])),
            ("bytes=-30", 10, Ok(vec![(0, 10)])),
            ("bytes=9-99", 10, Ok(vec![(9, 10)])),
            ("bytes= 0 - 1 , , 4-5", 10, Ok(vec![(0, 2), (4, 6)])),
            ("bytes=20-,0-0", 10, Ok(vec![(0, 1)])),
            ("bytes=20-x,0-0", 10, Ok(vec![(0, 1)])),
            ("bytes=", 10, Ok(vec![])),
            ("bytes=0-9,0-9", 10, Ok(vec![])),
            ("bytes=0-0", 0, Ok(vec![])),
            ("bytes=-5", 0, Ok(vec![])),
            ("bytes=10-", 10, Err(RangeError::NoOverlap)),
            ("bytes=-0", 10, Err(RangeError::NoOverlap)),
            ("bytes=5-2", 10, Err(RangeError::Invalid)),
            ("bytes=a-b", 10, Err(RangeError::Invalid)),
            ("bytes=-", 10, Err(RangeError::Invalid)),
            ("bytes=--1", 10, Err(RangeError::Invalid)),
            ("bytes=5", 10, Err(RangeError::Invalid)),
            ("lines=0-1", 10, Err(RangeError::Invalid)),
            ("bytes=0-99999999999999999999", 10, Err(RangeError::Invalid)),
        ] {
            assert_eq!(ranges(field, size), expected, "{field} {size}");
        }
        let many = format!("bytes={}", vec!["0-0"; RANGES_MAX + 1].join(","));
        assert_eq!(ranges(&many, 1_000_000), Ok(vec![]));
    }

    #[test]
    fn parts_stand_between_boundaries() {
        let pieces = multipart(&[(0, 2), (4, 6)], 9, "B", "text/x");
        let text: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Piece::File(from, to) => format!("<{from}-{to}>"),
            })
            .collect();
        assert_eq!(
            text,
            "--B\r\nContent-Range: bytes 0-1/9\r\nContent-Type: text/x\r\n\r\n<0-2>\r\n\
             --B\r\nContent-Range: bytes 4-5/9\r\nContent-Type: text/x\r\n\r\n<4-6>\r\n--B--\r\n"
        );
        assert_eq!(boundary().len(), 60);
        assert_ne!(boundary(), boundary());
    }
}
