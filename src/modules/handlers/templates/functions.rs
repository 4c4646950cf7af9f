//! Caddy's functions on text.

use jiff::{Timestamp, tz::TimeZone};

use crate::gotemplate::Error;
use crate::log::Layout;

/// How times are written unless the template says otherwise (Go's `RFC1123Z`).
const TIME_LAYOUT: &str = "Mon, 02 Jan 2006 15:04:05 -0700";

/// Text without HTML tags.
pub(super) fn strip_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut depth, mut quote) = (0_usize, None);
    for character in text.chars() {
        match (quote, character) {
            (None, '"' | '\'') if depth > 0 => quote = Some(character),
            (Some(open), character) if depth > 0 && character == open => quote = None,
            (None, '<') => depth += 1,
            (None, '>') if depth > 0 => depth -= 1,
            _ if depth == 0 => out.push(character),
            _ => {}
        }
    }
    out
}

/// A size or a time for people.
pub(super) fn humanize(kind: &str, data: &str) -> Result<String, Error> {
    let mut parts = kind.split(':');
    match parts.next() {
        Some("size") => match data.parse::<u64>() {
            Ok(bytes) => Ok(size(bytes)),
            Err(error) => Err(Error::new(format!("humanize: size cannot be parsed: {error}"))),
        },
        Some("time") => {
            let layout = parts.next().unwrap_or(TIME_LAYOUT);
            match Layout::new(layout).parse(data).and_then(|time| time.to_zoned(zone(layout, data)).ok()) {
                Some(time) => Ok(relative(time.timestamp(), Timestamp::now())),
                None => Err(Error::new(format!(
                    "humanize: time cannot be parsed: parsing time {data:?} as {layout:?}: cannot parse"
                ))),
            }
        }
        _ => Err(Error::new("no know function was given")),
    }
}

/// The offset that a time says at its end, if its layout has one there.
fn zone(layout: &str, data: &str) -> TimeZone {
    let has_offset = ["-0700", "-07:00", "Z0700", "Z07:00"].iter().any(|form| layout.ends_with(form));
    let tail: String =
        data.chars().rev().take(6).collect::<Vec<_>>().into_iter().rev().filter(|c| *c != ':').collect();
    let offset = tail.rfind(['+', '-']).filter(|_| has_offset).map(|at| &tail[at..]);
    let Some(offset) = offset.filter(|offset| offset.len() == 5) else { return TimeZone::UTC };
    let number =
        |range: std::ops::Range<usize>| offset.get(range).and_then(|digits| digits.parse::<i32>().ok());
    let (Some(hours), Some(minutes)) = (number(1..3), number(3..5)) else { return TimeZone::UTC };
    let seconds = (hours * 60 + minutes) * 60;
    let signed = if offset.starts_with('-') { -seconds } else { seconds };
    jiff::tz::Offset::from_seconds(signed).map_or(TimeZone::UTC, TimeZone::fixed)
}

/// `83 MB`: in powers of 1000, with a decimal below ten.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut scale, mut unit) = (1_u64, 0);
    while bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let value = ((bytes as f64 / scale as f64) * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// How long ago, or from now.
fn relative(time: Timestamp, now: Timestamp) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const WEEK: i64 = 7 * DAY;
    const MONTH: i64 = 30 * DAY;
    const YEAR: i64 = 12 * MONTH;
    let seconds = now.as_second() - time.as_second();
    let (passed, label) = if seconds < 0 { (-seconds, "from now") } else { (seconds, "ago") };
    let many = |unit: i64, name: &str| format!("{} {name} {label}", passed / unit);
    let said = |text: &str| format!("{text} {label}");
    // Up to so many seconds, and what is said then.
    let steps: [(i64, &dyn Fn() -> String); 17] = [
        (1, &|| "now".into()),
        (2, &|| said("1 second")),
        (MINUTE, &|| many(1, "seconds")),
        (2 * MINUTE, &|| said("1 minute")),
        (HOUR, &|| many(MINUTE, "minutes")),
        (2 * HOUR, &|| said("1 hour")),
        (DAY, &|| many(HOUR, "hours")),
        (2 * DAY, &|| said("1 day")),
        (WEEK, &|| many(DAY, "days")),
        (2 * WEEK, &|| said("1 week")),
        (MONTH, &|| many(WEEK, "weeks")),
        (2 * MONTH, &|| said("1 month")),
        (YEAR, &|| many(MONTH, "months")),
        (18 * MONTH, &|| said("1 year")),
        (2 * YEAR, &|| said("2 years")),
        (37 * YEAR, &|| many(YEAR, "years")),
        (i64::MAX, &|| said("a long while")),
    ];
    steps.iter().find(|(until, _)| passed < *until).map(|(_, say)| say()).unwrap_or_default()
}

/// A segment of a path, escaped.
pub(super) fn path_escape(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte))
            }
            b'$' | b'&' | b'+' | b'=' | b':' | b'@' => out.push(char::from(*byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go() {
        assert_eq!(strip_html("a <b title=\"1 > 0\">bold</b> 2 > 1 'x'"), "a bold 2 > 1 'x'");
    }

    #[test]
    fn sizes_and_times_for_people() {
        for (bytes, expected) in
            [("7", "7 B"), ("999", "999 B"), ("2048000", "2.0 MB"), ("83000000", "83 MB")]
        {
            assert_eq!(humanize("size", bytes).unwrap(), expected);
        }
        assert!(
            humanize("size", "x").is_err() && humanize("time", "x").is_err() && humanize("x", "1").is_err()
        );
        assert_eq!(humanize("time:2006-Jan-02", "1822-May-05").unwrap(), "a long while ago");
        let now: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        for (seconds, expected) in [
            (0, "now"),
            (-1, "1 second ago"),
            (-90, "1 minute ago"),
            (-7300, "2 hours ago"),
            (-86_400 * 20, "2 weeks ago"),
            (86_400 * 400, "1 year from now"),
        ] {
            let time = Timestamp::from_second(now.as_second() + seconds).unwrap();
            assert_eq!(relative(time, now), expected);
        }
        let offset = zone(TIME_LAYOUT, "Fri, 05 May 2022 15:04:05 +0200");
        assert_eq!(offset.to_fixed_offset().unwrap().seconds(), 7200);
    }

    #[test]
    fn segments_are_escaped() {
        assert_eq!(path_escape("50%_a b?/é".as_bytes()), "50%25_a%20b%3F%2F%C3%A9");
    }
}
