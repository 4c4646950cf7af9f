//! Spans of time as Go writes and reads them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SECOND: i64 = 1_000_000_000;

/// A span of time in nanoseconds, which may be negative where Caddy gives that a meaning.
///
/// In JSON it is printed as an integer of nanoseconds, and read from that or from text such as `1m30s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(i64);

/// Why a text is no duration; the wording is Go's, which scripts may know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number, a bad unit's place, or more than an `i64` of nanoseconds.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without its unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that there isn't.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// Longer than any real duration.
    #[error("parsing duration: input string too long")]
    TooLong,
}

/// The longest text that is read as a duration.
const TEXT_BYTES_MAX: usize = 1024;

impl Duration {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// A span of nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// A span of seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * SECOND)
    }

    /// The nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The span, or `None` if it is zero or negative, which mostly means "no limit" or "the default".
    pub fn positive(self) -> Option<std::time::Duration> {
        u64::try_from(self.0).ok().filter(|nanos| *nanos > 0).map(std::time::Duration::from_nanos)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    /// Reads Go's form: `300ms`, `1h30m`, `-1.5s`; besides Go's units, `d` is 24 hours.
    fn from_str(text: &str) -> Result<Self, DurationError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(DurationError::TooLong);
        }
        let invalid = || DurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let number_end = rest.find(|ch: char| !ch.is_ascii_digit() && ch != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at(number_end);
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
                return Err(invalid());
            }
            let unit_end = after.find(|ch: char| ch.is_ascii_digit() || ch == '.').unwrap_or(after.len());
            let (unit, next) = after.split_at(unit_end);
            if unit.is_empty() {
                return Err(DurationError::MissingUnit(text.to_owned()));
            }
            let nanos = unit_nanos(unit)
                .ok_or_else(|| DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
            total += scaled(whole, fraction, nanos).ok_or_else(invalid)?;
            if total > i128::from(i64::MAX) + i128::from(negative) {
                return Err(invalid());
            }
            rest = next;
        }
        let signed = if negative { -total } else { total };
        i64::try_from(signed).map(Self).map_err(|_| invalid())
    }
}

fn unit_nanos(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        "d" => 24 * 3_600 * SECOND,
        _ => return None,
    })
}

/// `whole.fraction` times `nanos`, cut off below a nanosecond; `None` if it is too much.
fn scaled(whole: &str, fraction: &str, nanos: i64) -> Option<i128> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = i128::from(whole) * i128::from(nanos);
    // More digits than these can't change a count of nanoseconds.
    let digits = &fraction[..fraction.len().min(18)];
    if !digits.is_empty() {
        let part: i128 = digits.parse().ok()?;
        total += part * i128::from(nanos) / 10_i128.pow(digits.len() as u32);
    }
    Some(total)
}

impl fmt::Display for Duration {
    /// Go's form: `1h30m0s`, `1.5s`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let second = SECOND.unsigned_abs();
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanos, 1_000_000)),
            _ => {
                let (hours, minutes) = (nanos / second / 3_600, nanos / second / 60 % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                write!(f, "{}s", decimal(nanos % (60 * second), second))
            }
        }
    }
}

/// `nanos / unit` without needless zeros.
fn decimal(nanos: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", nanos / unit, nanos % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration: text such as \"5m\", or nanoseconds")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, nanos: i64) -> Result<Duration, E> {
                Ok(Duration(nanos))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Duration, E> {
                Ok(Duration::default())
            }

            fn visit_u64<E: serde::de::Error>(self, nanos: u64) -> Result<Duration, E> {
                i64::try_from(nanos).map(Duration).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "A span of time: text such as 1m30s, or nanoseconds.",
            "type": ["integer", "string"],
            "pattern": "^[+-]?(0|(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d))+)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> i64 {
        text.parse::<Duration>().unwrap().as_nanos()
    }

    #[test]
    fn goes_forms_are_read() {
        assert_eq!(nanos("0"), 0);
        assert_eq!(nanos("300ms"), 300_000_000);
        assert_eq!(nanos("1h30m"), 5_400 * SECOND);
        assert_eq!(nanos("-1.5s"), -1_500_000_000);
        assert_eq!(nanos("+.5s"), 500_000_000);
        assert_eq!(nanos("1.s"), SECOND);
        assert_eq!(nanos("1d12h"), 36 * 3_600 * SECOND);
        assert_eq!(nanos("0.5d"), 12 * 3_600 * SECOND);
        assert_eq!(nanos("1us2µs3μs4ns"), 6_004);
        assert_eq!(nanos("-9223372036854775808ns"), i64::MIN);
    }

    #[test]
    fn other_forms_are_not() {
        let error = |text: &str| text.parse::<Duration>().unwrap_err().to_string();
        assert_eq!(error("abc"), r#"time: invalid duration "abc""#);
        assert_eq!(error(""), r#"time: invalid duration """#);
        assert_eq!(error("5"), r#"time: missing unit in duration "5""#);
        assert_eq!(error("5 s"), r#"time: unknown unit " s" in duration "5 s""#);
        assert_eq!(error("1.2.3s"), r#"time: invalid duration "1.2.3s""#);
        assert_eq!(error("9223372036854775808ns"), r#"time: invalid duration "9223372036854775808ns""#);
        assert_eq!(error(&"1".repeat(2_000)), "parsing duration: input string too long");
    }

    #[test]
    fn json_is_nanoseconds_and_may_be_text() {
        assert_eq!(serde_json::to_string(&Duration::from_secs(2)).unwrap(), "2000000000");
        assert_eq!(serde_json::from_str::<Duration>("\"2s\"").unwrap(), Duration::from_secs(2));
        assert_eq!(serde_json::from_str::<Duration>("-1").unwrap(), Duration::from_nanos(-1));
        assert!(serde_json::from_str::<Duration>("1.5").is_err());
    }

    #[test]
    fn display_is_goes() {
        let shown = |text: &str| text.parse::<Duration>().unwrap().to_string();
        assert_eq!(shown("90m"), "1h30m0s");
        assert_eq!(shown("1500ms"), "1.5s");
        assert_eq!(shown("61s"), "1m1s");
        assert_eq!(shown("1500us"), "1.5ms");
        assert_eq!(shown("-7ns"), "-7ns");
        assert_eq!(shown("0"), "0s");
    }
}
