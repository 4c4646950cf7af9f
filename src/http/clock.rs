//! A clock for deadlines, which is read several times for each request: exact to some milliseconds, and
//! several times cheaper than one that is exact to nanoseconds.

use std::time::Duration;

/// The time since some moment before the process began.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// The time since the process first asked.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn now() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on() {
        let before = now();
        std::thread::sleep(Duration::from_millis(30));
        let passed = now() - before;
        assert!((Duration::from_millis(15)..Duration::from_secs(10)).contains(&passed), "{passed:?}");
    }
}
