//! Times and spans of time: CEL's `timestamp` and `duration`.

use jiff::civil::Weekday;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

use super::eval::EvalError;
use super::functions::{Applied, Function, Type, global, method};
use super::value::Value;
use crate::config::Duration;

pub(super) static FUNCTIONS: &[Function] = &[
    global("timestamp", (1, 1), Type::Time, to_time),
    global("duration", (1, 1), Type::Span, to_span),
    method("getFullYear", (0, 1), Type::Time, Type::Int, |args| part(args, |time| time.year().into())),
    method("getMonth", (0, 1), Type::Time, Type::Int, |args| part(args, |time| i64::from(time.month()) - 1)),
    method("getDate", (0, 1), Type::Time, Type::Int, |args| part(args, |time| time.day().into())),
    method("getDayOfMonth", (0, 1), Type::Time, Type::Int, |args| {
        part(args, |time| i64::from(time.day()) - 1)
    }),
    method("getDayOfYear", (0, 1), Type::Time, Type::Int, |args| {
        part(args, |time| i64::from(time.day_of_year()) - 1)
    }),
    method("getDayOfWeek", (0, 1), Type::Time, Type::Int, |args| {
        part(args, |time| time.weekday().since(Weekday::Sunday).into())
    }),
    method("getHours", (0, 1), Type::Any, Type::Int, |args| {
        part_or_count(args, 3_600 * SECOND, |time| time.hour().into())
    }),
    method("getMinutes", (0, 1), Type::Any, Type::Int, |args| {
        part_or_count(args, 60 * SECOND, |time| time.minute().into())
    }),
    method("getSeconds", (0, 1), Type::Any, Type::Int, |args| {
        part_or_count(args, SECOND, |time| time.second().into())
    }),
    method("getMilliseconds", (0, 1), Type::Any, Type::Int, |args| {
        part_or_count(args, SECOND / 1_000, |time| time.millisecond().into())
    }),
];

const SECOND: i64 = 1_000_000_000;

/// The first year that CEL's times may have; the last one is jiff's too.
const YEAR_MIN: i16 = 1;

fn out_of_range() -> EvalError {
    EvalError::new("timestamp overflow")
}

fn in_range(time: Timestamp) -> Result<Value, EvalError> {
    if Offset::UTC.to_datetime(time).year() < YEAR_MIN { Err(out_of_range()) } else { Ok(Value::Time(time)) }
}

fn to_time(args: &[Value]) -> Applied {
    Some(match &args[0] {
        Value::Time(time) => Ok(Value::Time(*time)),
        Value::Int(seconds) => {
            Timestamp::from_second(*seconds).map_err(|_| out_of_range()).and_then(in_range)
        }
        Value::Text(text) => text
            .parse::<Timestamp>()
            .map_err(|_| EvalError::new("type conversion error from 'string' to 'google.protobuf.Timestamp'"))
            .and_then(in_range),
        _ => return None,
    })
}

fn to_span(args: &[Value]) -> Applied {
    Some(match &args[0] {
        Value::Span(span) => Ok(Value::Span(*span)),
        Value::Int(nanos) => Ok(Value::Span(Duration::from_nanos(*nanos))),
        // Go has no days, which the other spans of a configuration may have.
        Value::Text(text) => Ok(text.as_str())
            .and_then(|text| if text.contains('d') { Err(()) } else { text.parse().map_err(|_| ()) })
            .map(Value::Span)
            .map_err(|()| {
                EvalError::new("type conversion error from 'string' to 'google.protobuf.Duration'")
            }),
        _ => return None,
    })
}

/// A part of a time in UTC, or in the zone that is the second argument.
fn part(args: &[Value], of: impl Fn(&Zoned) -> i64) -> Applied {
    let (time, zone) = match args {
        [Value::Time(time)] => (*time, TimeZone::UTC),
        [Value::Time(time), Value::Zone(zone)] => (*time, zone.clone()),
        _ => return None,
    };
    Some(Ok(Value::Int(of(&time.to_zoned(zone)))))
}

/// The same; of a span, how many whole units it has.
fn part_or_count(args: &[Value], unit_nanos: i64, of: impl Fn(&Zoned) -> i64) -> Applied {
    match args {
        [Value::Span(span)] => Some(Ok(Value::Int(span.as_nanos() / unit_nanos))),
        _ => part(args, of),
    }
}

/// A time zone by its name, or by how far it is from UTC: `-08:00`.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    let Some((hours, minutes)) = name.split_once(':') else { return TimeZone::get(name).ok() };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let seconds = (hours.abs().checked_mul(60)?.checked_add(minutes)?).checked_mul(60)?;
    let seconds = if name.starts_with('-') { -seconds } else { seconds };
    Offset::from_seconds(seconds).ok().map(TimeZone::fixed)
}

/// What `+` and `-` make of times and spans; `None` if they are no such values.
pub(super) fn arithmetic(operator: &str, left: &Value, right: &Value) -> Applied {
    let sign = match operator {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let signed = |span: &Duration| SignedDuration::from_nanos(span.as_nanos()) * sign;
    let moved = |time: &Timestamp, span: &Duration| {
        time.checked_add(signed(span)).map_err(|_| out_of_range()).and_then(in_range)
    };
    let span = |nanos: Option<i64>| {
        nanos
            .map(|nanos| Value::Span(Duration::from_nanos(nanos)))
            .ok_or_else(|| EvalError::new("duration overflow"))
    };
    Some(match (left, right) {
        (Value::Time(time), Value::Span(span)) => moved(time, span),
        (Value::Span(span), Value::Time(time)) if sign > 0 => moved(time, span),
        (Value::Time(a), Value::Time(b)) if sign < 0 => {
            span(i64::try_from(a.duration_since(*b).as_nanos()).ok())
        }
        (Value::Span(a), Value::Span(b)) => {
            let (a, b) = (a.as_nanos(), b.as_nanos());
            span(if sign > 0 { a.checked_add(b) } else { a.checked_sub(b) })
        }
        _ => return None,
    })
}

/// A span as text: its seconds.
pub(super) fn span_text(span: Duration) -> String {
    let nanos = span.as_nanos();
    let (whole, rest) = (nanos / SECOND, (nanos % SECOND).unsigned_abs());
    let sign = if nanos < 0 && whole == 0 { "-" } else { "" };
    let text = format!("{sign}{whole}.{rest:09}");
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_seconds() {
        for (nanos, text) in [(0, "0s"), (90 * SECOND, "90s"), (1_500_000_000, "1.5s"), (-1, "-0.000000001s")]
        {
            assert_eq!(span_text(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn zones_have_names_or_offsets() {
        let hour = |name: &str| {
            let time = "2023-06-01T12:00:00Z".parse::<Timestamp>().unwrap();
            zone(name).map(|zone| time.to_zoned(zone).hour())
        };
        assert_eq!((hour("UTC"), hour("-08:00"), hour("02:30")), (Some(12), Some(4), Some(14)));
        assert_eq!((hour("No/Where"), hour("x:y"), hour("99:00")), (None, None, None));
    }
}
