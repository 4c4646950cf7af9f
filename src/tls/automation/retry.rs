//! How often to ask again for what could not be had.

use std::time::{Duration, Instant};

use super::super::issuance::{IssueError, Retry};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// How long to wait after each attempt, in seconds, as Caddy does; the last one is repeated. A short
/// trouble is over by the first; whatever takes longer needs somebody who mends it.
const WAITS: &[u64] = &[
    MINUTE,
    2 * MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    10 * MINUTE,
    10 * MINUTE,
    20 * MINUTE,
    20 * MINUTE,
    20 * MINUTE,
    20 * MINUTE,
    30 * MINUTE,
    30 * MINUTE,
    30 * MINUTE,
    30 * MINUTE,
    30 * MINUTE,
    30 * MINUTE,
    HOUR,
    HOUR,
    HOUR,
    2 * HOUR,
    2 * HOUR,
    3 * HOUR,
    3 * HOUR,
    6 * HOUR,
];
/// After this time nobody tries any more.
const PATIENCE: Duration = Duration::from_secs(30 * 24 * HOUR);

/// The attempts to get one certificate.
#[derive(Debug)]
pub(super) struct Attempts {
    made: u32,
    since: Instant,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { made: 0, since: Instant::now() }
    }
}

impl Attempts {
    /// How many have failed.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// How long to wait after one more that failed like this; `None` if there shall be no other.
    pub(super) fn next(&mut self, error: &IssueError) -> Option<Duration> {
        let index = usize::try_from(self.made).unwrap_or(usize::MAX).min(WAITS.len() - 1);
        self.made = self.made.saturating_add(1);
        let wait = Duration::from_secs(WAITS[index]);
        let wait = match error.retry {
            Retry::Later => wait,
            Retry::After(said) => wait.max(said),
        };
        (self.since.elapsed() + wait < PATIENCE).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_and_longer_but_not_for_ever() {
        let mut attempts = Attempts::default();
        let error = IssueError::new("no");
        let waits: Vec<u64> = (0..30).map(|_| attempts.next(&error).unwrap().as_secs()).collect();
        assert_eq!(waits[..4], [60, 120, 120, 300]);
        assert_eq!(waits[25..], [6 * HOUR; 5]);
        assert_eq!(attempts.made(), 30);
        let said = IssueError { retry: Retry::After(Duration::from_secs(10 * HOUR)), ..error };
        assert_eq!(attempts.next(&said), Some(Duration::from_secs(10 * HOUR)));
        let never = IssueError { retry: Retry::After(PATIENCE), ..said };
        assert_eq!(attempts.next(&never), None);
    }
}
