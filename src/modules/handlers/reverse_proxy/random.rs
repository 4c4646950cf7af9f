//! Dice for choosing upstreams: fast, good enough for that, and for nothing that must be secret.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed());
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without a random source, all workers throw the same dice, which still spread the load.
    let _ = getrandom::fill(&mut bytes);
    // Xorshift never leaves zero.
    u64::from_ne_bytes(bytes) | 1
}

/// A number below `n`, each as likely as the next; 0 if `n` is 0.
pub fn below(n: usize) -> usize {
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        // The product's upper half is below `n`, so the cast back loses nothing.
        ((u128::from(x) * n as u128) >> 64) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_come_up_and_no_others() {
        let mut seen = [0; 5];
        for _ in 0..5_000 {
            seen[below(5)] += 1;
        }
        assert!(seen.iter().all(|times| (800..1_200).contains(times)), "{seen:?}");
        assert_eq!((below(0), below(1)), (0, 0));
    }
}
