//! How often to ask again for what could not be had.

use std::time::Duration;

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
/// However long an authority wants us to wait, it is asked again after this time.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(24 * HOUR);

/// The attempts to get one certificate.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    made: u32,
}

impl Attempts {
    /// How many have failed.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// How long to wait after one more that failed like this.
    pub(super) fn next(&mut self, error: &IssueError) -> Duration {
        let index = usize::try_from(self.made).unwrap_or(usize::MAX).min(WAITS.len() - 1);
        self.made = self.made.saturating_add(1);
        let wait = Duration::from_secs(WAITS[index]);
        match error.retry {
            Retry::Later => wait,
            Retry::After(said) => wait.max(said.min(WAIT_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_and_longer() {
        let mut attempts = Attempts::default();
        let error = IssueError::new("no");
        let waits: Vec<u64> = (0..30).map(|_| attempts.next(&error).as_secs()).collect();
        assert_eq!(waits[..4], [60, 120, 120, 300]);
        assert_eq!(waits[25..], [6 * HOUR; 5]);
        assert_eq!(attempts.made(), 30);
        let said = IssueError { retry: Retry::After(Duration::from_secs(10 * HOUR)), ..error };
        assert_eq!(attempts.next(&said), Duration::from_secs(10 * HOUR));
        let never = IssueError { retry: Retry::After(Duration::MAX), ..said };
        assert_eq!(attempts.next(&never), WAIT_MAX);
    }
}
