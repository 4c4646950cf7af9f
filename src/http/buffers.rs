//! Buffers for heads, of which each thread keeps a few for their next use.

use std::cell::RefCell;

use super::spares::{self, Spares};

/// What a head, with a short body or a line of a stream behind it, takes.
const USUAL_BYTES: usize = 1024;
/// A larger buffer than this is not kept.
const KEPT_BYTES_MAX: usize = 32 * 1024;
/// So many are kept.
const KEPT_MAX: usize = 4;

thread_local! {
    static KEPT: Spares<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub(super) fn take() -> Vec<u8> {
    spares::take(&KEPT).unwrap_or_else(|| Vec::with_capacity(USUAL_BYTES))
}

/// Takes back a buffer that nobody needs any more.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > KEPT_BYTES_MAX {
        return;
    }
    buffer.clear();
    spares::keep(&KEPT, buffer, KEPT_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_only_so_many() {
        let mut buffer = take();
        buffer.resize(2 * USUAL_BYTES, b'x');
        give_back(buffer);
        let again = take();
        assert!(again.is_empty() && again.capacity() >= 2 * USUAL_BYTES);
        for _ in 0..2 * KEPT_MAX {
            give_back(Vec::with_capacity(1));
        }
        give_back(Vec::with_capacity(2 * KEPT_BYTES_MAX));
        KEPT.with_borrow(|kept| {
            assert_eq!(kept.len(), KEPT_MAX);
            assert!(kept.iter().all(|buffer| buffer.capacity() <= KEPT_BYTES_MAX));
        });
    }
}
