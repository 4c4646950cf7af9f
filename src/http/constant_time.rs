//! Comparing secrets.

use subtle::ConstantTimeEq as _;

/// Whether two texts are the same. How long it takes depends on their lengths alone.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // Every difference is gathered, and only what comes of all of them is looked at: the loop has no
    // way out that depends on the texts.
    let ((words_a, rest_a), (words_b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut difference = 0;
    for (a, b) in words_a.iter().zip(words_b) {
        difference |= u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b);
    }
    for (a, b) in rest_a.iter().zip(rest_b) {
        difference |= u64::from(a ^ b);
    }
    difference.ct_eq(&0).into()
}

/// Whether `part` is somewhere in `text`. How long it takes depends on their lengths alone.
pub fn contains(text: &[u8], part: &[u8]) -> bool {
    if part.is_empty() {
        return true;
    }
    // No `any`: it would end at the first place.
    text.windows(part.len()).fold(false, |found, window| found | equal(window, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_wherever_it_is() {
        let text = b"abcdefghijklmnop";
        for from in 0..text.len() {
            for to in from..text.len() {
                assert!(contains(text, &text[from..to]));
            }
        }
        assert!(!contains(text, b"ac") && !contains(text, b"abcdefghijklmnopq") && !contains(b"", b"a"));
    }

    #[test]
    fn every_byte_counts() {
        let text: Vec<u8> = (0..37).collect();
        for len in 0..text.len() {
            assert!(equal(&text[..len], &text[..len]));
            assert!(!equal(&text[..len], &text[..=len]));
            for at in 0..len {
                let mut other = text[..len].to_vec();
                other[at] ^= 0x80;
                assert!(!equal(&text[..len], &other), "byte {at} of {len}");
            }
        }
    }
}
