//! How often values fell below certain bounds.

use std::sync::atomic::{AtomicU64, Ordering};

/// A histogram of whole numbers: nanoseconds, bytes. `N` is how many bounds there are.
pub struct Histogram<const N: usize> {
    /// Upper bounds, rising.
    bounds: &'static [u64; N],
    /// What a unit is worth in the text: 1e-9 for nanoseconds.
    unit: f64,
    /// How many values fell between a bound and the one before it.
    buckets: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    /// An empty one with these bounds, in units that are worth `unit`.
    pub fn new(bounds: &'static [u64; N], unit: f64) -> Self {
        let buckets = std::array::from_fn(|_| AtomicU64::new(0));
        Self { bounds, unit, buckets, above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.buckets.get(place).unwrap_or(&self.above).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// The bounds with how many values are not above them, how many there are in all, and their sum.
    pub(super) fn read(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(N);
        for (bound, bucket) in self.bounds.iter().zip(&self.buckets) {
            count += bucket.load(Ordering::Relaxed);
            buckets.push((self.worth(*bound), count));
        }
        count += self.above.load(Ordering::Relaxed);
        (buckets, count, self.worth(self.sum.load(Ordering::Relaxed)))
    }

    fn worth(&self, value: u64) -> f64 {
        // A division keeps bounds such as 0.005 exact, where a factor of 1e-9 would not.
        if self.unit < 1.0 { value as f64 / (1.0 / self.unit).round() } else { value as f64 * self.unit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_what_is_below_it() {
        let histogram = Histogram::new(&[5_000_000, 10_000_000], 1e-9);
        for value in [0, 5_000_000, 5_000_001, 10_000_000, 10_000_001, u64::from(u32::MAX)] {
            histogram.observe(value);
        }
        let (buckets, count, sum) = histogram.read();
        assert_eq!(buckets, [(0.005, 2), (0.01, 4)]);
        assert_eq!(count, 6);
        assert_eq!(sum, 4.324967297);
    }
}
