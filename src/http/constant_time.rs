//! Comparing secrets.

use subtle::{Choice, ConstantTimeEq as _};

/// Whether two texts are the same. How long it takes depends on their lengths alone.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // Words of eight bytes, because `subtle` takes its time for each step.
    let ((words_a, rest_a), (words_b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut same = Choice::from(1);
    for (a, b) in words_a.iter().zip(words_b) {
        same &= u64::from_ne_bytes(*a).ct_eq(&u64::from_ne_bytes(*b));
    }
    let word = |rest: &[u8]| rest.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    same &= word(rest_a).ct_eq(&word(rest_b));
    same.into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
