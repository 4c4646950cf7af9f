//! Values of which each worker has its own.
//!
//! Two cores that write to one place wait for each other, even if it is only the count of an [`Arc`]:
//! some fifty nanoseconds each time, and more with more cores. What every request counts or holds on to
//! is therefore there once for each worker.
//!
//! [`Arc`]: std::sync::Arc

use std::cell::Cell;
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread::available_parallelism;

/// With more workers than this some share a value.
const VALUES_MAX: usize = 16;

static VALUES: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(1, |cores| cores.get().min(VALUES_MAX)));

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// Says which worker this thread is. Threads that are none use the first one's values.
pub(super) fn enlist(worker: usize) {
    WORKER.set(worker);
}

/// A shared value for each worker, made when the worker first needs it. `T` must see to it that two don't
/// lie in one cache line, by `#[repr(align(128))]`: lines are fetched in pairs.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[OnceLock<Arc<T>>]>);

impl<T> PerWorker<T> {
    /// This thread's own.
    pub fn own(&self, make: impl FnOnce() -> T) -> &Arc<T> {
        self.0[WORKER.get() % self.0.len()].get_or_init(|| Arc::new(make()))
    }

    /// Those that were made.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(OnceLock::get).map(|value| &**value)
    }
}

impl<T> Default for PerWorker<T> {
    fn default() -> Self {
        Self((0..*VALUES).map(|_| OnceLock::new()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_worker_has_its_own_and_all_can_be_looked_at() {
        let counts = PerWorker::default();
        let count = |counts: &PerWorker<AtomicUsize>| {
            counts.own(AtomicUsize::default).fetch_add(1, Ordering::Relaxed);
        };
        assert_eq!(counts.iter().count(), 0);
        std::thread::scope(|scope| {
            for worker in 0..*VALUES + 1 {
                let counts = &counts;
                scope.spawn(move || {
                    enlist(worker);
                    count(counts);
                });
            }
        });
        count(&counts);
        let seen: Vec<_> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        // The first has also what the worker behind the last and this thread have counted.
        assert_eq!((seen[0], seen.len()), (3, *VALUES));
        assert!(seen[1..].iter().all(|count| *count == 1), "{seen:?}");
    }
}
