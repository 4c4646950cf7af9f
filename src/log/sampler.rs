//! Leaving out entries when there are many.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Level;
use crate::config::logging::LogSampling;

/// Of like entries (same level, same message) within some time, lets the first ones through, and then
/// each so-manieth.
pub(super) struct Sampler {
    interval_nanos: u64,
    first: u64,
    thereafter: u64,
    started: Instant,
    hasher: RandomState,
    /// Entries fall into these by their hash; two kinds in one slot are counted together, as in zap.
    slots: Box<[Slot]>,
}

#[derive(Default)]
struct Slot {
    /// When counting begins anew, in nanoseconds since [`Sampler::started`].
    until: AtomicU64,
    count: AtomicU64,
}

const SLOTS: usize = 4096;

impl Sampler {
    /// A sampler as `config` wants it, with a second, 100 and 100 for what it leaves open.
    pub(super) fn new(config: &LogSampling) -> Self {
        let or = |said: i64, default: u64| u64::try_from(said).ok().filter(|n| *n > 0).unwrap_or(default);
        let interval = config.interval.positive().unwrap_or(Duration::from_secs(1));
        Self {
            interval_nanos: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            first: or(config.first, 100),
            thereafter: or(config.thereafter, 100),
            started: Instant::now(),
            hasher: RandomState::new(),
            slots: std::iter::repeat_with(Slot::default).take(SLOTS).collect(),
        }
    }

    /// Whether an entry is written.
    pub(super) fn allow(&self, level: Level, message: &str) -> bool {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let count = self.count(level, message, now);
        count <= self.first || (count - self.first).is_multiple_of(self.thereafter)
    }

    /// Counts an entry; which one of its kind it is.
    fn count(&self, level: Level, message: &str, now: u64) -> u64 {
        let hash = self.hasher.hash_one((level, message));
        let slot = &self.slots[hash as usize % SLOTS];
        let until = slot.until.load(Ordering::Relaxed);
        if now < until {
            return slot.count.fetch_add(1, Ordering::Relaxed) + 1;
        }
        // Whoever gets here first begins to count anew. A race may miscount by the number of threads,
        // which is nothing where entries are left out anyway.
        let next = now.saturating_add(self.interval_nanos);
        if slot.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            slot.count.store(1, Ordering::Relaxed);
            return 1;
        }
        slot.count.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_ones_and_then_each_so_manieth() {
        let sampler = Sampler::new(&LogSampling {
            interval: crate::config::Duration::from_secs(3600),
            first: 3,
            thereafter: 4,
        });
        let let_through = (1..=15).filter(|_| sampler.allow(Level::Info, "m")).count();
        // 1, 2, 3, 7, 11, 15.
        assert_eq!(let_through, 6);
        assert!(sampler.allow(Level::Error, "m"), "another level is another kind");
    }

    #[test]
    fn counting_begins_anew() {
        let sampler = Sampler::new(&LogSampling::default());
        let second = sampler.interval_nanos;
        assert_eq!(sampler.count(Level::Info, "m", 1), 1);
        assert_eq!(sampler.count(Level::Info, "m", second), 2);
        assert_eq!(sampler.count(Level::Info, "m", second + 1), 1);
    }
}
