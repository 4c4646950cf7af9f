//! `{time.now.*}`

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// A form of the present time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// As Go prints a time.
    Full,
    /// As in HTTP's `Date`.
    Http,
    /// As in the common log format.
    CommonLog,
    /// The year.
    Year,
    /// Seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
}

impl Clock {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "time.now" => Self::Full,
            "time.now.http" => Self::Http,
            "time.now.common_log" => Self::CommonLog,
            "time.now.year" => Self::Year,
            "time.now.unix" => Self::Unix,
            "time.now.unix_ms" => Self::UnixMs,
            _ => return None,
        })
    }

    pub(super) fn text(self) -> String {
        self.at(&Zoned::now())
    }

    fn at(self, now: &Zoned) -> String {
        match self {
            Self::Full => now.strftime("%Y-%m-%d %H:%M:%S%.f %z %Z").to_string(),
            Self::Http => now.with_time_zone(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
            Self::CommonLog => now.strftime("%d/%b/%Y:%H:%M:%S %z").to_string(),
            Self::Year => now.year().to_string(),
            Self::Unix => Timestamp::from(now).as_second().to_string(),
            Self::UnixMs => Timestamp::from(now).as_millisecond().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_reads_as_in_caddy() {
        let now = Timestamp::from_nanosecond(1_795_533_028_408_651_535).unwrap().to_zoned(TimeZone::UTC);
        for (clock, text) in [
            (Clock::Full, "2026-11-24 15:10:28.408651535 +0000 UTC"),
            (Clock::Http, "Tue, 24 Nov 2026 15:10:28 GMT"),
            (Clock::CommonLog, "24/Nov/2026:15:10:28 +0000"),
            (Clock::Year, "2026"),
            (Clock::Unix, "1795533028"),
            (Clock::UnixMs, "1795533028408"),
        ] {
            assert_eq!(clock.at(&now), text);
        }
    }
}
