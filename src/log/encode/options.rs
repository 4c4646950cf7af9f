//! What json and console encoders have in common: the names of the fixed fields and the form of
//! times, spans and levels.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Level;
use super::super::go_time::Layout;
use super::number;

/// The options as they are written
/// (<https://caddyserver.com/docs/json/logging/logs/encoder/json/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderOptions {
    /// The key of the message; an empty one leaves it out, as with the other keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_key: Option<String>,
    /// The key of the level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level_key: Option<String>,
    /// The key of the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_key: Option<String>,
    /// The key of the logger's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_key: Option<String>,
    /// The key of the place in the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_key: Option<String>,
    /// The key of the stack trace, which entries of ours never have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stacktrace_key: Option<String>,
    /// What ends an entry; a line feed unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_ending: Option<String>,
    /// `unix_seconds_float`, `unix_milli_float`, `unix_nano`, `iso8601`, `rfc3339`, `rfc3339_nano`,
    /// `wall`, `wall_milli`, `wall_nano`, `common_log`, or a layout of Go's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub time_format: String,
    /// Whether times are in the local zone instead of UTC.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub time_local: bool,
    /// `s`, `ms`, `ns` (or their long names) or `string`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub duration_format: String,
    /// `lower`, `upper` or `color`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub level_format: String,
}

/// The options as encoders use them.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) message_key: Box<str>,
    pub(super) level_key: Box<str>,
    pub(super) time_key: Box<str>,
    pub(super) name_key: Box<str>,
    pub(super) caller_key: Box<str>,
    pub(super) line_ending: Box<str>,
    pub(super) time: TimeFormat,
    pub(super) duration: DurationFormat,
    pub(super) level: LevelFormat,
}

/// How times are written.
#[derive(Clone, Debug)]
pub(super) enum TimeFormat {
    /// Seconds since 1970 with a fraction.
    UnixSeconds,
    /// Milliseconds since 1970 with a fraction.
    UnixMillis,
    /// Whole nanoseconds since 1970.
    UnixNanos,
    /// In a layout, in a zone.
    Layout(Layout, TimeZone),
}

/// How spans of time are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DurationFormat {
    /// Seconds with a fraction.
    Seconds,
    /// Whole milliseconds.
    Millis,
    /// Whole nanoseconds.
    Nanos,
    /// `1m2.5s`.
    Text,
}

/// How levels are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LevelFormat {
    /// `info`.
    Lower,
    /// `INFO`.
    Upper,
    /// `INFO` in blue.
    Coloured,
    /// Not at all, which is what an unknown name means to Caddy.
    Hidden,
}

/// A time or a span in the form that was asked for: a number or text.
pub(super) enum Scalar {
    Float(f64),
    Int(i128),
    Text(Vec<u8>),
}

impl EncoderOptions {
    /// The usable form of these options.
    pub(super) fn form(&self) -> Form {
        let key = |said: &Option<String>, default: &str| said.as_deref().unwrap_or(default).into();
        let line_ending = self.line_ending.as_deref().filter(|ending| !ending.is_empty()).unwrap_or("\n");
        Form {
            message_key: key(&self.message_key, "msg"),
            level_key: key(&self.level_key, "level"),
            time_key: key(&self.time_key, "ts"),
            name_key: key(&self.name_key, "logger"),
            caller_key: key(&self.caller_key, "caller"),
            line_ending: line_ending.into(),
            time: self.time(),
            duration: match self.duration_format.as_str() {
                "ns" | "nano" | "nanos" => DurationFormat::Nanos,
                "ms" | "milli" | "millis" => DurationFormat::Millis,
                "string" => DurationFormat::Text,
                _ => DurationFormat::Seconds,
            },
            level: match self.level_format.as_str() {
                "" | "lower" => LevelFormat::Lower,
                "upper" => LevelFormat::Upper,
                "color" => LevelFormat::Coloured,
                _ => LevelFormat::Hidden,
            },
        }
    }

    fn time(&self) -> TimeFormat {
        let layout = match self.time_format.as_str() {
            "" | "unix_seconds_float" => return TimeFormat::UnixSeconds,
            "unix_milli_float" => return TimeFormat::UnixMillis,
            "unix_nano" => return TimeFormat::UnixNanos,
            // Always in the local zone, whatever `time_local` says.
            "iso8601" => {
                return TimeFormat::Layout(Layout::new("2006-01-02T15:04:05.000Z0700"), TimeZone::system());
            }
            "rfc3339" => "2006-01-02T15:04:05Z07:00",
            "rfc3339_nano" => "2006-01-02T15:04:05.999999999Z07:00",
            "wall" => "2006/01/02 15:04:05",
            "wall_milli" => "2006/01/02 15:04:05.000",
            "wall_nano" => "2006/01/02 15:04:05.000000000",
            "common_log" => "02/Jan/2006:15:04:05 -0700",
            layout => layout,
        };
        let zone = if self.time_local { TimeZone::system() } else { TimeZone::UTC };
        TimeFormat::Layout(Layout::new(layout), zone)
    }
}

impl Form {
    pub(super) fn time(&self, time: SystemTime) -> Scalar {
        // Clocks before 1970 don't need to be told apart.
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        match &self.time {
            TimeFormat::UnixSeconds => Scalar::Float(since.as_nanos() as f64 / 1e9),
            TimeFormat::UnixMillis => Scalar::Float(since.as_nanos() as f64 / 1e6),
            TimeFormat::UnixNanos => Scalar::Int(i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)),
            TimeFormat::Layout(layout, zone) => {
                let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
                Scalar::Text(layout.format(time, zone).into_bytes())
            }
        }
    }

    pub(super) fn duration(&self, span: Duration) -> Scalar {
        let nanos = i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        match self.duration {
            DurationFormat::Seconds => Scalar::Float(nanos as f64 / 1e9),
            DurationFormat::Millis => Scalar::Int(nanos / 1_000_000),
            DurationFormat::Nanos => Scalar::Int(nanos),
            DurationFormat::Text => {
                let mut text = Vec::new();
                number::duration(span, &mut text);
                Scalar::Text(text)
            }
        }
    }

    /// The level's text; `None` if levels are not written.
    pub(super) fn level(&self, level: Level) -> Option<&'static str> {
        if self.level_key.is_empty() {
            return None;
        }
        match self.level {
            LevelFormat::Lower => Some(level.lower()),
            LevelFormat::Upper => Some(level.upper()),
            LevelFormat::Coloured => Some(level.coloured()),
            LevelFormat::Hidden => None,
        }
    }
}
