//! How many requests a client may make for nothing: take back before they are answered, or malform.
//!
//! Streams that are over make room for further ones, so the number of those under way bounds no client
//! that takes each back at once, while each may have had a request sent to an upstream ("rapid reset",
//! CVE-2023-44487).

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::super::quic::REQUESTS_MAX;

/// So many at once: all that can be under way.
const AT_ONCE: u32 = REQUESTS_MAX;
/// So many in each second that follows.
const PER_SECOND: u32 = 50;

/// What a connection has left of them. All of it lives on one worker thread.
#[derive(Default)]
pub(super) struct Budget {
    spent: AtomicU32,
    /// The second in which some was spent last (see [`super::super::wire::seconds`]).
    at: AtomicU32,
}

impl Budget {
    /// Counts one more in the second `now`; false if there is no room for it.
    pub(super) fn spend(&self, now: u32) -> bool {
        let seconds = now.saturating_sub(self.at.swap(now, Relaxed));
        let spent = self.spent.load(Relaxed).saturating_sub(seconds.saturating_mul(PER_SECOND));
        self.spent.store(spent.saturating_add(1), Relaxed);
        spent < AT_ONCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_comes_back_with_time() {
        let budget = Budget::default();
        assert_eq!((0..AT_ONCE * 2).filter(|_| budget.spend(7)).count(), AT_ONCE as usize);
        let budget = Budget::default();
        for _ in 0..AT_ONCE {
            assert!(budget.spend(7));
        }
        for second in 8..20 {
            for _ in 0..PER_SECOND {
                assert!(budget.spend(second), "{second}");
            }
            assert!(second < 19 || !budget.spend(second));
        }
        // However long nothing was spent, there is no more than that.
        assert_eq!((0..AT_ONCE * 2).filter(|_| budget.spend(u32::MAX)).count(), AT_ONCE as usize);
    }
}
