//! Functions on times.

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};

use super::{Function, int, text, value};
use crate::config;
use crate::gotemplate::{Error, Object, Value};
use crate::log::Layout;

pub(super) const TABLE: &[(&str, Function)] = &[
    ("now", |_| Ok(Time(Zoned::now()).into_value())),
    ("date", |a| Ok(shown(&text(a, 0)?, value(a, 1)?, &TimeZone::system()).into())),
    ("dateInZone", |a| in_zone(&text(a, 0)?, value(a, 1)?, &text(a, 2)?)),
    ("date_in_zone", |a| in_zone(&text(a, 0)?, value(a, 1)?, &text(a, 2)?)),
    ("htmlDate", |a| Ok(shown("2006-01-02", value(a, 0)?, &TimeZone::system()).into())),
    ("htmlDateInZone", |a| in_zone("2006-01-02", value(a, 0)?, &text(a, 1)?)),
    ("dateModify", |a| modify(a, false)),
    ("date_modify", |a| modify(a, false)),
    ("mustDateModify", |a| modify(a, true)),
    ("must_date_modify", |a| modify(a, true)),
    ("toDate", |a| to_date(a, false)),
    ("mustToDate", |a| to_date(a, true)),
    ("unixEpoch", |a| Ok(time_of(value(a, 0)?).timestamp().as_second().to_string().into())),
    ("ago", |a| {
        let passed = Timestamp::now().duration_since(time_of(value(a, 0)?).timestamp());
        Ok(config::Duration::from_nanos(passed.as_secs().saturating_mul(1_000_000_000)).to_string().into())
    }),
    ("duration", |a| {
        Ok(config::Duration::from_nanos(int(a, 0)?.saturating_mul(1_000_000_000)).to_string().into())
    }),
    ("durationRound", |a| Ok(rounded(value(a, 0)?).into())),
];

/// A time with its zone.
#[derive(Debug, Clone)]
pub(in super::super) struct Time(pub(in super::super) Zoned);

impl Time {
    /// It as a value.
    pub(in super::super) fn into_value(self) -> Value {
        Value::Object(std::rc::Rc::new(self))
    }

    fn format(&self, layout: &str) -> String {
        Layout::new(layout).format(self.0.timestamp(), self.0.time_zone())
    }
}

impl Object for Time {
    fn type_name(&self) -> &'static str {
        "time.Time"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        let number = |number: i64| Some(Ok(Value::Int(number)));
        match (name, arguments) {
            ("Format", _) => Some(text(arguments, 0).map(|layout| self.format(&layout).into())),
            ("String", []) => Some(Ok(self.text().into())),
            ("Unix", []) => number(self.0.timestamp().as_second()),
            ("UnixMilli", []) => number(self.0.timestamp().as_millisecond()),
            ("UnixNano", []) => number(i64::try_from(self.0.timestamp().as_nanosecond()).unwrap_or(0)),
            ("Year", []) => number(self.0.year().into()),
            ("Month", []) => Some(Ok(self.format("January").into())),
            ("Day", []) => number(self.0.day().into()),
            ("Hour", []) => number(self.0.hour().into()),
            ("Minute", []) => number(self.0.minute().into()),
            ("Second", []) => number(self.0.second().into()),
            ("YearDay", []) => number(self.0.day_of_year().into()),
            ("Weekday", []) => Some(Ok(self.format("Monday").into())),
            ("UTC", []) => Some(Ok(Time(self.0.with_time_zone(TimeZone::UTC)).into_value())),
            ("Local", []) => Some(Ok(Time(self.0.with_time_zone(TimeZone::system())).into_value())),
            ("IsZero", []) => Some(Ok(false.into())),
            ("Before" | "After" | "Equal", [other]) => {
                let (own, other) = (self.0.timestamp(), time_of(other).timestamp());
                let truth = match name {
                    "Before" => own < other,
                    "After" => own > other,
                    _ => own == other,
                };
                Some(Ok(truth.into()))
            }
            _ => None,
        }
    }

    fn text(&self) -> String {
        self.format("2006-01-02 15:04:05.999999999 -0700 MST")
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// The time that a value stands for: a time, or seconds since 1970; else now.
fn time_of(value: &Value) -> Zoned {
    match value {
        Value::Object(object) => match object.as_any().downcast_ref::<Time>() {
            Some(Time(time)) => time.clone(),
            None => Zoned::now(),
        },
        Value::Int(seconds) => Timestamp::from_second(*seconds)
            .map_or_else(|_| Zoned::now(), |time| time.to_zoned(TimeZone::system())),
        _ => Zoned::now(),
    }
}

fn shown(layout: &str, value: &Value, zone: &TimeZone) -> String {
    Layout::new(layout).format(time_of(value).timestamp(), zone)
}

fn in_zone(layout: &str, value: &Value, zone: &str) -> Result<Value, Error> {
    let zone = match zone {
        "" | "UTC" => TimeZone::UTC,
        "Local" => TimeZone::system(),
        name => TimeZone::get(name).unwrap_or(TimeZone::UTC),
    };
    Ok(shown(layout, value, &zone).into())
}

fn parsed_duration(value: &Value) -> Option<SignedDuration> {
    let duration: config::Duration = match value {
        Value::Int(nanos) => config::Duration::from_nanos(*nanos),
        other => other.text().parse().ok()?,
    };
    Some(SignedDuration::from_nanos(duration.as_nanos()))
}

fn modify(a: &[Value], is_strict: bool) -> Result<Value, Error> {
    let time = time_of(value(a, 1)?);
    let changed = parsed_duration(value(a, 0)?).and_then(|duration| time.checked_add(duration).ok());
    match changed {
        Some(changed) => Ok(Time(changed).into_value()),
        None if is_strict => Err(Error::new(format!("time: invalid duration {:?}", value(a, 0)?.text()))),
        None => Ok(Time(time).into_value()),
    }
}

fn to_date(a: &[Value], is_strict: bool) -> Result<Value, Error> {
    let (layout, written) = (text(a, 0)?, text(a, 1)?);
    let parsed = Layout::new(&layout).parse(&written);
    match parsed.and_then(|time| time.to_zoned(TimeZone::system()).ok()) {
        Some(time) => Ok(Time(time).into_value()),
        None if is_strict => Err(Error::new(format!("parsing time {written:?} as {layout:?}: cannot parse"))),
        None => Ok(Value::Nil),
    }
}

/// A span in its largest unit.
fn rounded(value: &Value) -> String {
    let Some(duration) = parsed_duration(value) else { return "0s".into() };
    let seconds = duration.as_secs().unsigned_abs();
    let units = [(31_536_000, "y"), (2_592_000, "mo"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let unit = units.iter().find(|(size, _)| seconds >= *size);
    unit.map_or_else(|| "0s".into(), |(size, name)| format!("{}{name}", seconds / size))
}
