//! The Huffman code of HPACK and QPACK (RFC 7541 appendix B, RFC 9204 section 4.1.2).
//!
//! The code is canonical: among symbols in the order of their codes' lengths, and of their values
//! where those are the same, each code is the one before plus one, with zeros behind it as it gets
//! longer. So lengths alone make up the table.

use std::sync::OnceLock;

use super::Malformed;

/// The length of each byte's code in bits, and of the mark of the end at last.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

/// The longest code has this many bits.
const BITS_MAX: usize = 30;
/// The mark of the end, which never stands in a text.
const END: u16 = 256;
/// Less than a byte is padding.
const PADDING_BITS_MAX: u32 = 7;

/// The codes of one length.
#[derive(Clone, Copy, Default)]
struct Codes {
    /// The first of them.
    first: u32,
    /// How many there are.
    count: u32,
    /// Where their symbols begin in [`Table::symbols`].
    at: usize,
}

struct Table {
    by_length: [Codes; BITS_MAX + 1],
    symbols: Vec<u16>,
}

impl Table {
    fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| {
            let mut by_length = [Codes::default(); BITS_MAX + 1];
            let mut symbols = Vec::with_capacity(LENGTHS.len());
            let mut next = 0;
            for (length, codes) in by_length.iter_mut().enumerate() {
                next <<= 1;
                let at = symbols.len();
                let of_length = (0_u16..).zip(LENGTHS).filter(|(_, of)| usize::from(*of) == length);
                symbols.extend(of_length.map(|(symbol, _)| symbol));
                let count = u32::try_from(symbols.len() - at).unwrap_or(u32::MAX);
                *codes = Codes { first: next, count, at };
                next += count;
            }
            Self { by_length, symbols }
        })
    }
}

/// Decodes a text.
///
/// # Errors
/// The mark of the end stands in it, or what is behind its last symbol is no padding.
pub(super) fn decode(coded: &[u8]) -> Result<Vec<u8>, Malformed> {
    let table = Table::get();
    // The shortest code has five bits.
    let mut text = Vec::with_capacity(coded.len() * 8 / 5);
    let (mut code, mut length) = (0_u32, 0_usize);
    for byte in coded {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            length += 1;
            let codes = table.by_length.get(length).ok_or(Malformed)?;
            let Some(nth) = code.checked_sub(codes.first).filter(|nth| *nth < codes.count) else { continue };
            match table.symbols[codes.at + nth as usize] {
                END => return Err(Malformed),
                symbol => text.push(symbol.to_le_bytes()[0]),
            }
            (code, length) = (0, 0);
        }
    }
    // The rest is the start of the mark of the end: ones.
    let padding = u32::try_from(length).unwrap_or(u32::MAX);
    if padding > PADDING_BITS_MAX || code != (1 << padding) - 1 {
        return Err(Malformed);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_rfc_7541_are_decoded() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        for (coded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("", ""),
        ] {
            assert_eq!(decode(&hex(coded)).map_err(|_| ()), Ok(text.as_bytes().to_vec()), "{coded}");
        }
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        // An `a` is 00011.
        assert!(decode(&[0b0001_1111]).is_ok_and(|text| text == b"a"));
        for wrong in [&[0b0001_1110][..], &[0b0001_1111, 0xff], &[0xff, 0xff, 0xff, 0xff]] {
            assert!(decode(wrong).is_err(), "{wrong:?}");
        }
    }
}
