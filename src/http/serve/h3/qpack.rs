//! QPACK without a dynamic table (RFC 9204): we announce a table of no bytes, so a client can only
//! refer to the static one, and neither side's state can be made to grow.

mod huffman;
mod static_table;

use std::borrow::Cow;

use bytes::{BufMut as _, BytesMut};

/// What a field costs beside its name and value (RFC 9114 section 4.2.2), in bytes.
const FIELD_BYTES: usize = 32;

/// A field section that is none, or that refers to a table there isn't: the connection is over
/// (`QPACK_DECOMPRESSION_FAILED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed field section")]
pub(super) struct Malformed;

/// Why a field section was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionError {
    Malformed,
    /// Its fields have more bytes than they may.
    TooLarge,
}

impl From<Malformed> for SectionError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// A field, pseudo-header fields included.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Cow<'static, [u8]>,
    pub(super) value: Cow<'static, [u8]>,
}

/// A section has so many fields at most, however small they are.
const FIELDS_MAX: usize = 4096;

/// Decodes a field section (RFC 9204 section 4.5) whose fields have at most `bytes_max` bytes, each
/// counted with 32 more.
pub(super) fn decode(section: &[u8], bytes_max: usize) -> Result<Vec<Field>, SectionError> {
    let mut rest = section;
    // Nothing was inserted, so nothing may be required; and the base, which then means nothing, must
    // not be below zero.
    let (count, _) = integer(&mut rest, 8)?;
    let (_, sign) = integer(&mut rest, 7)?;
    if count != 0 || sign != 0 {
        return Err(SectionError::Malformed);
    }
    let mut fields = Vec::new();
    let mut bytes = 0_usize;
    while !rest.is_empty() {
        let field = field(&mut rest)?;
        bytes += field_bytes(&field.name, &field.value);
        if bytes > bytes_max || fields.len() >= FIELDS_MAX {
            return Err(SectionError::TooLarge);
        }
        fields.push(field);
    }
    Ok(fields)
}

/// How many bytes a field has, as a section's bound counts them.
pub(super) fn field_bytes(name: &[u8], value: &[u8]) -> usize {
    FIELD_BYTES + name.len() + value.len()
}

fn field(rest: &mut &[u8]) -> Result<Field, Malformed> {
    let first = *rest.first().ok_or(Malformed)?;
    // An indexed field line, of the static table.
    if first & 0b1100_0000 == 0b1100_0000 {
        let (name, value) = indexed(integer(rest, 6)?.0)?;
        return Ok(Field { name: Cow::Borrowed(name.as_bytes()), value: Cow::Borrowed(value.as_bytes()) });
    }
    // A literal with a name of the static table.
    if first & 0b1101_0000 == 0b0101_0000 {
        let (name, _) = indexed(integer(rest, 4)?.0)?;
        return Ok(Field { name: Cow::Borrowed(name.as_bytes()), value: Cow::Owned(string(rest, 7)?) });
    }
    // A literal with a literal name.
    if first & 0b1110_0000 == 0b0010_0000 {
        let name = string(rest, 3)?;
        return Ok(Field { name: Cow::Owned(name), value: Cow::Owned(string(rest, 7)?) });
    }
    // All else refers to the dynamic table.
    Err(Malformed)
}

fn indexed(index: u64) -> Result<(&'static str, &'static str), Malformed> {
    let index = usize::try_from(index).map_err(|_| Malformed)?;
    static_table::FIELDS.get(index).copied().ok_or(Malformed)
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1), and the bits before it.
fn integer(rest: &mut &[u8], prefix_bits: u32) -> Result<(u64, u8), Malformed> {
    let first = take(rest)?;
    let mask = u8::MAX >> (8 - prefix_bits);
    let flags = first & !mask;
    let mut value = u64::from(first & mask);
    if value < u64::from(mask) {
        return Ok((value, flags));
    }
    // No length or index needs more than four further bytes.
    for shift in (0..28).step_by(7) {
        let byte = take(rest)?;
        value += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value, flags));
        }
    }
    Err(Malformed)
}

/// A string literal whose length has a prefix of so many bits (RFC 9204 section 4.1.2).
fn string(rest: &mut &[u8], prefix_bits: u32) -> Result<Vec<u8>, Malformed> {
    let is_coded = rest.first().ok_or(Malformed)? & 1 << prefix_bits != 0;
    let (length, _) = integer(rest, prefix_bits)?;
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (text, after) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = after;
    if is_coded { huffman::decode(text) } else { Ok(text.to_vec()) }
}

fn take(rest: &mut &[u8]) -> Result<u8, Malformed> {
    let (first, after) = rest.split_first().ok_or(Malformed)?;
    *rest = after;
    Ok(*first)
}

/// Encodes a field section.
pub(super) fn encode<'f>(fields: impl Iterator<Item = (&'f str, &'f [u8])>) -> BytesMut {
    let mut section = BytesMut::with_capacity(512);
    section.put_slice(&[0, 0]);
    for (name, value) in fields {
        match lookup(name, value) {
            Found::Both(index) => put_integer(&mut section, index, 6, 0b1100_0000),
            Found::Name(index) => {
                put_integer(&mut section, index, 4, 0b0101_0000);
                put_string(&mut section, value, 7, 0);
            }
            Found::None => {
                put_string(&mut section, name.as_bytes(), 3, 0b0010_0000);
                put_string(&mut section, value, 7, 0);
            }
        }
    }
    section
}

/// What the static table has of a field.
enum Found {
    Both(usize),
    Name(usize),
    None,
}

fn lookup(name: &str, value: &[u8]) -> Found {
    let mut found = Found::None;
    for (index, (known, known_value)) in static_table::FIELDS.iter().enumerate() {
        if *known == name {
            if known_value.as_bytes() == value {
                return Found::Both(index);
            }
            if matches!(found, Found::None) {
                found = Found::Name(index);
            }
        }
    }
    found
}

fn put_integer(section: &mut BytesMut, value: usize, prefix_bits: u32, flags: u8) {
    let mask = u8::MAX >> (8 - prefix_bits);
    if let Some(small) = u8::try_from(value).ok().filter(|small| *small < mask) {
        section.put_u8(flags | small);
        return;
    }
    section.put_u8(flags | mask);
    let mut left = value - usize::from(mask);
    while left >= 0x80 {
        section.put_u8(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    section.put_u8(left.to_le_bytes()[0]);
}

fn put_string(section: &mut BytesMut, text: &[u8], prefix_bits: u32, flags: u8) {
    put_integer(section, text.len(), prefix_bits, flags);
    section.put_slice(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: usize = 1 << 20;

    fn pairs(fields: &[Field]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.iter().map(|field| (text(&field.name), text(&field.value))).collect()
    }

    #[test]
    fn a_section_of_rfc_9204_is_decoded() {
        // Appendix B.1.
        let section = b"\x00\x00\x51\x0b/index.html";
        assert_eq!(pairs(&decode(section, ALL).unwrap()), [(":path".to_owned(), "/index.html".to_owned())]);
    }

    #[test]
    fn a_section_has_a_bound() {
        let fields = [("a", &b"b"[..]); 10];
        let section = encode(fields.into_iter());
        assert_eq!(decode(&section, 340).unwrap().len(), 10);
        assert_eq!(decode(&section, 339), Err(SectionError::TooLarge));
        assert_eq!(field_bytes(b"a", b"b"), 34);
    }

    #[test]
    fn what_needs_a_dynamic_table_or_makes_no_sense_is_refused() {
        for section in [
            &b""[..],
            b"\x00",
            // It requires an insertion, or counts from below zero.
            b"\x01\x00",
            b"\x00\x80",
            // Dynamic: indexed, named, and both behind the base.
            b"\x00\x00\x80",
            b"\x00\x00\x40\x00",
            b"\x00\x00\x10",
            b"\x00\x00\x00\x00",
            // There are 99 static fields.
            b"\x00\x00\xff\x24",
            // Cut, too long for anything, and not padded.
            b"\x00\x00\x51\x0b/ind",
            b"\x00\x00\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\x00\x00\x51\x81\x18",
        ] {
            assert_eq!(decode(section, ALL), Err(SectionError::Malformed), "{section:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            fields in prop::collection::vec(("[a-z-]{1,300}|content-type|:status", "[ -~]{0,300}|200"), 0..20),
        ) {
            let borrowed = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            prop_assert_eq!(pairs(&decode(&encode(borrowed), ALL).unwrap()), fields);
        }

        #[test]
        fn nothing_makes_it_panic(section in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&section, 4096);
        }
    }
}
