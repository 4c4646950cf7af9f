//! A clock for deadlines, which is read several times for each request: exact to some milliseconds, and
//! several times cheaper than one that is exact to nanoseconds.

use std::time::Duration;

/// The time since some moment before the process began.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[expect(unsafe_code, reason = "the standard library has no such clock")]
pub(super) fn now() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec of ours, which the call only writes to.
    if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) } != 0 {
        return Duration::ZERO;
    }
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
