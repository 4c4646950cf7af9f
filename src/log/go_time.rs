//! Times in the layouts of Go (<https://pkg.go.dev/time#pkg-constants>), which `time_format` and
//! `backup_time_format` are written in: the layout shows how 2 January 2006, 15:04:05 would look.

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, Zoned, tz::TimeZone};

/// A layout, taken apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout(Box<[Part]>);

/// A piece of a [`Layout`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Year {
        digits: u8,
    },
    MonthName {
        long: bool,
    },
    Month {
        pad: Pad,
    },
    DayName {
        long: bool,
    },
    Day {
        pad: Pad,
    },
    YearDay {
        pad: Pad,
    },
    Hour24,
    Hour12 {
        pad: Pad,
    },
    Minute {
        pad: Pad,
    },
    Second {
        pad: Pad,
    },
    HalfDay {
        upper: bool,
    },
    ZoneName,
    /// A zone's offset: how fine, with colons, and whether UTC is just `Z`.
    Offset {
        fields: u8,
        colon: bool,
        zulu: bool,
    },
    /// A fraction of a second with its point or comma; trailing zeros and an empty fraction go if `trim`.
    Fraction {
        mark: char,
        digits: u8,
        trim: bool,
    },
}

/// What makes a short number long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pad {
    None,
    Zero,
    Space,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Layout text and what it stands for. Of two with the same beginning the longer one comes first.
const TOKENS: &[(&str, Part)] = &[
    ("January", Part::MonthName { long: true }),
    ("Jan", Part::MonthName { long: false }),
    ("Monday", Part::DayName { long: true }),
    ("Mon", Part::DayName { long: false }),
    ("MST", Part::ZoneName),
    ("002", Part::YearDay { pad: Pad::Zero }),
    ("01", Part::Month { pad: Pad::Zero }),
    ("02", Part::Day { pad: Pad::Zero }),
    ("03", Part::Hour12 { pad: Pad::Zero }),
    ("04", Part::Minute { pad: Pad::Zero }),
    ("05", Part::Second { pad: Pad::Zero }),
    ("06", Part::Year { digits: 2 }),
    ("15", Part::Hour24),
    ("1", Part::Month { pad: Pad::None }),
    ("2006", Part::Year { digits: 4 }),
    ("2", Part::Day { pad: Pad::None }),
    ("__2", Part::YearDay { pad: Pad::Space }),
    ("_2", Part::Day { pad: Pad::Space }),
    ("3", Part::Hour12 { pad: Pad::None }),
    ("4", Part::Minute { pad: Pad::None }),
    ("5", Part::Second { pad: Pad::None }),
    ("PM", Part::HalfDay { upper: true }),
    ("pm", Part::HalfDay { upper: false }),
    ("-070000", Part::Offset { fields: 3, colon: false, zulu: false }),
    ("-07:00:00", Part::Offset { fields: 3, colon: true, zulu: false }),
    ("-0700", Part::Offset { fields: 2, colon: false, zulu: false }),
    ("-07:00", Part::Offset { fields: 2, colon: true, zulu: false }),
    ("-07", Part::Offset { fields: 1, colon: false, zulu: false }),
    ("Z070000", Part::Offset { fields: 3, colon: false, zulu: true }),
    ("Z07:00:00", Part::Offset { fields: 3, colon: true, zulu: true }),
    ("Z0700", Part::Offset { fields: 2, colon: false, zulu: true }),
    ("Z07:00", Part::Offset { fields: 2, colon: true, zulu: true }),
    ("Z07", Part::Offset { fields: 1, colon: false, zulu: true }),
];

impl Layout {
    /// Takes `layout` apart. Whatever is no part of a time stands for itself.
    pub fn new(layout: &str) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = layout;
        while let Some(first) = rest.chars().next() {
            if let Some((part, after)) = token(rest) {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(part);
                rest = after;
            } else {
                literal.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Self(parts.into())
    }

    /// Writes `time` as it is in `zone`.
    pub fn format(&self, time: Timestamp, zone: &TimeZone) -> String {
        let time = time.to_zoned(zone.clone());
        let mut text = String::with_capacity(32);
        for part in &self.0 {
            part.format(&time, &mut text);
        }
        text
    }

    /// Reads a time that was written in this layout; `None` if `text` is no such time. Its zone is
    /// not looked at: the caller knows it.
    pub fn parse(&self, text: &str) -> Option<DateTime> {
        let mut fields = Parsed { year: 1, month: 1, day: 1, ..Parsed::default() };
        let mut rest = text;
        for part in &self.0 {
            rest = fields.take(part, rest)?;
        }
        if !rest.is_empty() {
            return None;
        }
        let hour = match (fields.hour, fields.afternoon) {
            (12, Some(false)) => 0,
            (hour @ ..12, Some(true)) => hour + 12,
            (hour, _) => hour,
        };
        let mut date = Date::new(fields.year, fields.month, fields.day).ok()?;
        if let Some(day) = fields.year_day {
            date = Date::new(fields.year, 1, 1).ok()?.with().day_of_year(day).build().ok()?;
        }
        let time = jiff::civil::Time::new(hour, fields.minute, fields.second, fields.nanos).ok()?;
        Some(DateTime::from_parts(date, time))
    }
}

/// The part that `text` begins with, and what follows it.
fn token(text: &str) -> Option<(Part, &str)> {
    if let Some(after) = text.strip_prefix(['.', ',']) {
        let digit = after.chars().next().filter(|digit| matches!(digit, '0' | '9'))?;
        let digits = after.len() - after.trim_start_matches(digit).len();
        let rest = &after[digits..];
        // Another digit behind it means that this is a number after a mere separator.
        if rest.starts_with(|next: char| next.is_ascii_digit()) {
            return None;
        }
        let mark = if text.starts_with('.') { '.' } else { ',' };
        return Some((Part::Fraction { mark, digits: digits.min(9) as u8, trim: digit == '9' }, rest));
    }
    // `_2006` is an underscore before a year.
    if text.starts_with("_2006") {
        return None;
    }
    let (written, part) = TOKENS.iter().find(|(written, _)| text.starts_with(written))?;
    let rest = &text[written.len()..];
    // `Janet` and `Month` are just words.
    let short_name = matches!(part, Part::MonthName { long: false } | Part::DayName { long: false });
    if short_name && rest.starts_with(|next: char| next.is_ascii_lowercase()) {
        return None;
    }
    Some((part.clone(), rest))
}

impl Part {
    fn format(&self, time: &Zoned, text: &mut String) {
        match self {
            Self::Literal(literal) => text.push_str(literal),
            Self::Year { digits: 2 } => pad(time.year().rem_euclid(100).into(), 2, Pad::Zero, text),
            Self::Year { .. } => pad(time.year().into(), 4, Pad::Zero, text),
            Self::MonthName { long } => text.push_str(shorten(MONTHS[index(time.month())], *long)),
            Self::Month { pad: how } => pad(time.month().into(), 2, *how, text),
            Self::DayName { long } => {
                let day = time.weekday().to_monday_one_offset();
                text.push_str(shorten(DAYS[index(day)], *long));
            }
            Self::Day { pad: how } => pad(time.day().into(), 2, *how, text),
            Self::YearDay { pad: how } => pad(time.day_of_year().into(), 3, *how, text),
            Self::Hour24 => pad(time.hour().into(), 2, Pad::Zero, text),
            Self::Hour12 { pad: how } => {
                let hour = time.hour() % 12;
                pad(if hour == 0 { 12 } else { hour.into() }, 2, *how, text);
            }
            Self::Minute { pad: how } => pad(time.minute().into(), 2, *how, text),
            Self::Second { pad: how } => pad(time.second().into(), 2, *how, text),
            Self::HalfDay { upper } => text.push_str(match (time.hour() >= 12, upper) {
                (false, true) => "AM",
                (true, true) => "PM",
                (false, false) => "am",
                (true, false) => "pm",
            }),
            Self::ZoneName => {
                text.push_str(time.time_zone().to_offset_info(time.timestamp()).abbreviation());
            }
            Self::Offset { fields, colon, zulu } => {
                offset(time.offset().seconds(), *fields, *colon, *zulu, text);
            }
            Self::Fraction { mark, digits, trim } => {
                let all = format!("{:09}", time.subsec_nanosecond());
                let mut shown = &all[..usize::from(*digits)];
                if *trim {
                    shown = shown.trim_end_matches('0');
                }
                if !shown.is_empty() {
                    text.push(*mark);
                    text.push_str(shown);
                }
            }
        }
    }
}

/// The index of what is counted from one.
fn index(one_based: i8) -> usize {
    usize::try_from(one_based - 1).unwrap_or(0)
}

fn shorten(name: &'static str, long: bool) -> &'static str {
    if long { name } else { &name[..3] }
}

fn pad(number: i64, width: usize, how: Pad, text: &mut String) {
    let number = number.to_string();
    let fill = match how {
        Pad::None => None,
        Pad::Zero => Some('0'),
        Pad::Space => Some(' '),
    };
    if let Some(fill) = fill {
        text.extend(std::iter::repeat_n(fill, width.saturating_sub(number.len())));
    }
    text.push_str(&number);
}

fn offset(seconds: i32, fields: u8, colon: bool, zulu: bool, text: &mut String) {
    if zulu && seconds == 0 {
        text.push('Z');
        return;
    }
    text.push(if seconds < 0 { '-' } else { '+' });
    let seconds = i64::from(seconds.unsigned_abs());
    for (index, value) in [seconds / 3600, seconds / 60 % 60, seconds % 60].into_iter().enumerate() {
        if index < usize::from(fields) {
            if index > 0 && colon {
                text.push(':');
            }
            pad(value, 2, Pad::Zero, text);
        }
    }
}

/// What has been read of a time.
#[derive(Default)]
struct Parsed {
    year: i16,
    month: i8,
    day: i8,
    year_day: Option<i16>,
    hour: i8,
    afternoon: Option<bool>,
    minute: i8,
    second: i8,
    nanos: i32,
}

impl Parsed {
    /// Reads `part` off `text`; gives what follows.
    fn take<'t>(&mut self, part: &Part, text: &'t str) -> Option<&'t str> {
        let rest;
        match part {
            Part::Literal(literal) => rest = text.strip_prefix(literal.as_str())?,
            Part::Year { digits: 2 } => {
                let (year, after) = number(text, 2, 2)?;
                // Go's rule: 69 to 99 are of the last century.
                self.year = i16::try_from(if year >= 69 { 1900 + year } else { 2000 + year }).ok()?;
                rest = after;
            }
            Part::Year { .. } => (self.year, rest) = narrow(number(text, 4, 4)?)?,
            Part::MonthName { long } => {
                let (month, after) = name(text, &MONTHS, *long)?;
                self.month = i8::try_from(month).ok()?;
                rest = after;
            }
            Part::DayName { long } => rest = name(text, &DAYS, *long)?.1,
            Part::Month { pad } => (self.month, rest) = narrow(padded(text, 2, *pad)?)?,
            Part::Day { pad } => (self.day, rest) = narrow(padded(text, 2, *pad)?)?,
            Part::YearDay { pad } => {
                let (day, after) = narrow(padded(text, 3, *pad)?)?;
                self.year_day = Some(day);
                rest = after;
            }
            Part::Hour24 => (self.hour, rest) = narrow(number(text, 2, 2)?)?,
            Part::Hour12 { pad } => (self.hour, rest) = narrow(padded(text, 2, *pad)?)?,
            Part::Minute { pad } => (self.minute, rest) = narrow(padded(text, 2, *pad)?)?,
            Part::Second { pad } => (self.second, rest) = narrow(padded(text, 2, *pad)?)?,
            Part::HalfDay { .. } => {
                let half = text.get(..2)?;
                self.afternoon = Some(match half.to_ascii_lowercase().as_str() {
                    "am" => false,
                    "pm" => true,
                    _ => return None,
                });
                rest = &text[2..];
            }
            Part::ZoneName => {
                rest = text.trim_start_matches(|ch: char| ch.is_ascii_alphanumeric() || "+-".contains(ch));
            }
            Part::Offset { zulu: true, .. } if text.starts_with('Z') => rest = &text[1..],
            Part::Offset { fields, colon, .. } => {
                let width = 1 + 2 * usize::from(*fields) + usize::from(*colon) * (usize::from(*fields) - 1);
                rest = text.get(width..)?;
            }
            Part::Fraction { mark, digits, trim } => {
                rest = match text.strip_prefix(*mark) {
                    Some(after) => {
                        let least = if *trim { 1 } else { usize::from(*digits) };
                        let most = if *trim { 9 } else { usize::from(*digits) };
                        let (fraction, rest) = number(after, least, most)?;
                        let width = u32::try_from(after.len() - rest.len()).ok()?;
                        self.nanos = i32::try_from(fraction * 10_i64.pow(9 - width)).ok()?;
                        rest
                    }
                    None if *trim => text,
                    None => return None,
                };
            }
        }
        Some(rest)
    }
}

/// A number of `least` to `most` digits.
fn number(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if digits < least {
        return None;
    }
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

fn padded(text: &str, width: usize, pad: Pad) -> Option<(i64, &str)> {
    match pad {
        Pad::None => number(text, 1, width),
        Pad::Zero => number(text, width, width),
        Pad::Space => number(text.trim_start_matches(' '), 1, width),
    }
}

fn narrow<T: TryFrom<i64>>((number, rest): (i64, &str)) -> Option<(T, &str)> {
    Some((T::try_from(number).ok()?, rest))
}

/// One of `names`, counted from one.
fn name<'t>(text: &'t str, names: &[&'static str], long: bool) -> Option<(usize, &'t str)> {
    names
        .iter()
        .enumerate()
        .find_map(|(index, name)| text.strip_prefix(shorten(name, long)).map(|rest| (index + 1, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(layout: &str, time: &str) -> String {
        Layout::new(layout).format(time.parse().unwrap(), &TimeZone::UTC)
    }

    const TIME: &str = "2024-02-05T03:04:09.012345678Z";

    #[test]
    fn layouts_as_in_go() {
        for (layout, want) in [
            ("2006-01-02T15:04:05Z07:00", "2024-02-05T03:04:09Z"),
            ("2006-01-02T15:04:05.999999999Z07:00", "2024-02-05T03:04:09.012345678Z"),
            ("2006/01/02 15:04:05.000", "2024/02/05 03:04:09.012"),
            ("02/Jan/2006:15:04:05 -0700", "05/Feb/2024:03:04:09 +0000"),
            ("Monday, January _2 06 3:4:5pm PM MST", "Monday, February  5 24 3:4:9am AM UTC"),
            ("Mon Jan 2 1 03 002 __2 -07 -07:00:00", "Mon Feb 5 2 03 036  36 +00 +00:00:00"),
            ("05,000 05.99 15.04 _2006 Janet Months", "09,012 09.01 03.04 _2024 Janet Months"),
            ("", ""),
        ] {
            assert_eq!(utc(layout, TIME), want, "{layout}");
        }
    }

    #[test]
    fn noon_and_midnight() {
        assert_eq!(utc("3PM", "2024-02-05T12:00:00Z"), "12PM");
        assert_eq!(utc("3PM", "2024-02-05T00:00:00Z"), "12AM");
        assert_eq!(utc("05.999", "2024-02-05T00:00:07Z"), "07");
    }

    #[test]
    fn other_zones() {
        let zone =
            TimeZone::fixed(jiff::tz::Offset::constant(-3).saturating_sub(jiff::Span::new().minutes(30)));
        let text = Layout::new("15:04 -0700 -07:00 Z07").format(TIME.parse().unwrap(), &zone);
        assert_eq!(text, "23:34 -0330 -03:30 -03");
    }

    #[test]
    fn what_was_written_is_read_back() {
        for layout in [
            "2006-01-02T15-04-05.000",
            "2006-01-02-15-04-05",
            "Jan _2 06 03:04:05PM",
            "2006.002.15.04.05",
            "2006-1-2 15:4:5.999 Z07:00 Monday",
        ] {
            let text = utc(layout, "2024-11-15T23:04:09Z");
            let want: DateTime = "2024-11-15T23:04:09".parse().unwrap();
            assert_eq!(Layout::new(layout).parse(&text), Some(want), "{layout}: {text}");
        }
        let layout = Layout::new("2006-01-02T15-04-05.000");
        let millis = layout.parse("2024-11-15T23-04-09.120").unwrap();
        assert_eq!(millis, "2024-11-15T23:04:09.12".parse().unwrap());
        for no in ["", "2024-11-15T23-04-09", "2024-11-15T23-04-09.1", "2024-13-15T23-04-09.120", "x"] {
            assert_eq!(layout.parse(no), None, "{no}");
        }
    }
}
