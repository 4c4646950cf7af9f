//! DER as far as OCSP needs it (X.690): read strictly and within bounds, and written where it is short.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// Something that is tagged with a number in its context, and has parts.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Tags with numbers above 30 take further bytes; nothing here has one.
const HIGH_TAG: u8 = 0x1f;
/// A length is written in no more bytes.
const LENGTH_BYTES_MAX: usize = 3;

/// What is no DER, or not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed")]
pub(super) struct Malformed;

/// What is still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

/// One value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value, whatever it is.
    pub(super) fn any(&mut self) -> Result<Item<'a>, Malformed> {
        let bytes = self.0;
        let (&tag, rest) = bytes.split_first().ok_or(Malformed)?;
        let (&first, mut rest) = rest.split_first().ok_or(Malformed)?;
        if tag & HIGH_TAG == HIGH_TAG {
            return Err(Malformed);
        }
        let mut length = usize::from(first);
        if first >= 0x80 {
            let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(Malformed)?;
            length = digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit));
            // The shortest form is the only one.
            let is_shortest = digits.first().is_some_and(|digit| *digit != 0) && length >= 0x80;
            if digits.len() > LENGTH_BYTES_MAX || !is_shortest {
                return Err(Malformed);
            }
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.0 = after;
        Ok(Item { tag, content, whole: &bytes[..bytes.len() - after.len()] })
    }

    /// The next value, which must have this tag.
    pub(super) fn item(&mut self, tag: u8) -> Result<Item<'a>, Malformed> {
        Some(self.any()?).filter(|item| item.tag == tag).ok_or(Malformed)
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn content(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        Ok(self.item(tag)?.content)
    }

    /// The parts of the next value, which must have this tag.
    pub(super) fn parts(&mut self, tag: u8) -> Result<Reader<'a>, Malformed> {
        Ok(Reader(self.content(tag)?))
    }

    /// The content of the next value if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        match self.0.first() {
            Some(next) if *next == tag => self.content(tag).map(Some),
            _ => Ok(None),
        }
    }

    /// The next value, a time, in seconds since 1970.
    pub(super) fn time(&mut self) -> Result<i64, Malformed> {
        seconds(self.content(GENERALIZED_TIME)?).ok_or(Malformed)
    }

    /// The bytes of the next value, a string of whole ones.
    pub(super) fn bits(&mut self) -> Result<&'a [u8], Malformed> {
        match self.content(BIT_STRING)?.split_first() {
            Some((0, bytes)) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// `YYYYMMDDHHMMSSZ` in seconds since 1970.
fn seconds(text: &[u8]) -> Option<i64> {
    let (digits, zone) = text.split_at_checked(14)?;
    if zone != b"Z" || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| {
        digits[from..to].iter().fold(0_i16, |number, digit| number * 10 + i16::from(digit - b'0'))
    };
    // Two digits fit.
    let two = |from: usize| number(from, from + 2) as i8;
    let time = DateTime::new(number(0, 4), two(4), two(6), two(8), two(10), two(12), 0).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

/// A value with these parts.
pub(super) fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let digits = length.to_be_bytes();
            let digits = &digits[digits.iter().take_while(|digit| **digit == 0).count()..];
            bytes.push(0x80 | digits.len() as u8);
            bytes.extend_from_slice(digits);
        }
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_shortest_form_of_a_length_is_one() {
        let read = |bytes: &[u8]| Reader::new(bytes).any().map(|item| item.content.len());
        assert_eq!(read(&[4, 2, 1, 2]), Ok(2));
        let long = [&[4, 0x81, 0x80][..], &[0; 0x80]].concat();
        assert_eq!(read(&long), Ok(0x80));
        for broken in [
            &[][..],
            &[4],
            &[4, 3, 1, 2],
            &[4, 0x80, 0, 0],
            &[4, 0x81, 1, 0],
            &[4, 0x82, 0, 0x80],
            &[4, 0x84, 1, 0, 0, 0],
            &[4, 0xff, 0xff],
            &[0x1f, 1, 0],
        ] {
            assert_eq!(read(broken), Err(Malformed), "{broken:?}");
        }
    }

    #[test]
    fn times_are_written_in_one_form() {
        assert_eq!(seconds(b"19700101000001Z"), Some(1));
        assert_eq!(seconds(b"20240229120000Z"), Some(1_709_208_000));
        for wrong in [
            "20230229120000Z",
            "20240101000000",
            "20240101000000.5Z",
            "20240101000000+0100",
            "2024010100000-Z",
        ] {
            assert_eq!(seconds(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_makes_the_reader_fall(
            content in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let written = write(OCTET_STRING, &[&content]);
            let mut reader = Reader::new(&written);
            let item = reader.item(OCTET_STRING).unwrap();
            prop_assert_eq!((item.content, item.whole), (&content[..], &written[..]));
            prop_assert_eq!(reader.end(), Ok(()));
            let mut any = Reader::new(&content);
            while let Ok(item) = any.any() {
                prop_assert!(item.whole.len() > item.content.len());
            }
        }
    }
}
