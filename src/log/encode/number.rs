//! Numbers as Go prints them, where that differs from Rust.

use std::io::Write as _;
use std::time::Duration;

/// Appends a number without exponent and with no more digits than it takes to read it back.
pub(super) fn plain(number: f64, out: &mut Vec<u8>) {
    // Writing to a `Vec` can't fail.
    let _ = match number {
        _ if number.is_nan() => write!(out, "\"NaN\""),
        _ if number.is_infinite() => write!(out, "\"{}Inf\"", if number > 0.0 { '+' } else { '-' }),
        _ => write!(out, "{number}"),
    };
}

/// Appends a number as Go's `%v` does: with an exponent below 1e-4 and from a million on.
pub(super) fn general(number: f64, out: &mut Vec<u8>) {
    let size = number.abs();
    if number == 0.0 || (1e-4..1e6).contains(&size) || !number.is_finite() {
        let _ = write!(out, "{number}");
        return;
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    let _ = write!(out, "{digits}e{sign}{exponent:0>2}");
}

/// A span of time as Go's `Duration.String` prints it: `1h2m3.5s`, `1.5ms`, `0s`.
pub(super) fn duration(span: Duration, out: &mut Vec<u8>) {
    let nanos = span.as_nanos();
    let _ = match nanos {
        0 => write!(out, "0s"),
        1..1_000 => write!(out, "{nanos}ns"),
        1_000..1_000_000 => write!(out, "{}µs", nanos as f64 / 1e3),
        1_000_000..1_000_000_000 => write!(out, "{}ms", nanos as f64 / 1e6),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let rest = nanos % 60_000_000_000;
            let fraction = format!("{:09}", rest % 1_000_000_000);
            let fraction = fraction.trim_end_matches('0');
            let seconds = rest / 1_000_000_000;
            let point = if fraction.is_empty() { "" } else { "." };
            match (minutes / 60, minutes % 60) {
                (0, 0) => write!(out, "{seconds}{point}{fraction}s"),
                (0, minutes) => write!(out, "{minutes}m{seconds}{point}{fraction}s"),
                (hours, minutes) => write!(out, "{hours}h{minutes}m{seconds}{point}{fraction}s"),
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn plain_numbers_have_no_exponent() {
        assert_eq!(text(|out| plain(0.000037655, out)), "0.000037655");
        assert_eq!(text(|out| plain(1e21, out)), "1000000000000000000000");
        assert_eq!(text(|out| plain(2.0, out)), "2");
        assert_eq!(text(|out| plain(f64::NAN, out)), "\"NaN\"");
        assert_eq!(text(|out| plain(f64::NEG_INFINITY, out)), "\"-Inf\"");
    }

    #[test]
    fn general_numbers_have_one_if_they_are_very_small_or_large() {
        assert_eq!(text(|out| general(0.00001, out)), "1e-05");
        assert_eq!(text(|out| general(0.0001, out)), "0.0001");
        assert_eq!(text(|out| general(999_999.5, out)), "999999.5");
        assert_eq!(text(|out| general(1_795_534_592.5, out)), "1.7955345925e+09");
        assert_eq!(text(|out| general(1.5e300, out)), "1.5e+300");
        assert_eq!(text(|out| general(0.0, out)), "0");
    }

    #[test]
    fn durations_as_go_prints_them() {
        for (nanos, want) in [
            (0, "0s"),
            (999, "999ns"),
            (182_340, "182.34µs"),
            (1_500_000, "1.5ms"),
            (1_000_000_000, "1s"),
            (61_050_000_000, "1m1.05s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(text(|out| duration(Duration::from_nanos(nanos), out)), want);
        }
    }
}
