//! XXH64, by which Caddy spreads keys over upstreams: with another hash, a key would move to
//! another upstream when someone moves here from Caddy.
//!
//! After the specification at <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>.

const PRIMES: [u64; 5] = [
    0x9E37_79B1_85EB_CA87,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0x85EB_CA77_C2B2_AE63,
    0x27D4_EB2F_1656_67C5,
];

/// The hash of `first` followed by `second`, with seed 0.
pub fn xxh64(first: &[u8], second: &[u8]) -> u64 {
    let bytes = [first, second].concat();
    let (mut hash, mut rest) = stripes(&bytes);
    hash = hash.wrapping_add(bytes.len() as u64);
    while let Some((lane, after)) = rest.split_first_chunk() {
        hash ^= round(0, u64::from_le_bytes(*lane));
        hash = hash.rotate_left(27).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
        rest = after;
    }
    if let Some((lane, after)) = rest.split_first_chunk() {
        hash ^= u64::from(u32::from_le_bytes(*lane)).wrapping_mul(PRIMES[0]);
        hash = hash.rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
        rest = after;
    }
    for &byte in rest {
        hash ^= u64::from(byte).wrapping_mul(PRIMES[4]);
        hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    avalanche(hash)
}

/// Takes all whole stripes of 32 bytes; what they leave is the remainder.
fn stripes(bytes: &[u8]) -> (u64, &[u8]) {
    let (stripes, rest) = bytes.as_chunks::<32>();
    if stripes.is_empty() {
        return (PRIMES[4], rest);
    }
    let mut lanes = [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, 0_u64.wrapping_sub(PRIMES[0])];
    for stripe in stripes {
        for (lane, input) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
            *lane = round(*lane, u64::from_le_bytes(*input));
        }
    }
    let rotated = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, by)| lane.rotate_left(by));
    let merged = rotated.fold(0, u64::wrapping_add);
    let hash = lanes
        .iter()
        .fold(merged, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]));
    (hash, rest)
}

fn round(lane: u64, input: u64) -> u64 {
    lane.wrapping_add(input.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIMES[1]);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_published_values() {
        // From the test vectors of the reference implementation and its ports.
        for (text, hash) in [
            ("", 0xef46_db37_51d8_e999),
            ("a", 0xd24e_c4f1_a98c_6e5b),
            ("as", 0x1c33_0fb2_d66b_e179),
            ("asd", 0x631c_37ce_72a9_7393),
            ("asdf", 0x4158_72f5_99ce_a71e),
            ("Call me Ishmael. Some years ago--never mind how long precisely-", 0x02a2_e854_70d6_fd96),
        ] {
            assert_eq!(xxh64(text.as_bytes(), b""), hash, "{text}");
            let (first, second) = text.as_bytes().split_at(text.len() / 2);
            assert_eq!(xxh64(first, second), hash, "{text}");
        }
    }
}
