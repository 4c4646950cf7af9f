//! Entries for people: the fixed fields between tabs, all others as JSON behind them.

use std::io::Write as _;

use super::super::Entry;
use super::json::JsonFields;
use super::options::{Form, Scalar};
use super::{Encoder, EncoderOptions, number};

/// The `console` format.
pub struct Console(Form);

impl Console {
    /// An encoder with these options, and with Caddy's defaults for this format: coloured levels
    /// wherever the log goes, and the wall clock's time.
    pub fn new(options: &EncoderOptions) -> Self {
        let mut options = options.clone();
        if options.level_format.is_empty() {
            options.level_format = "color".into();
        }
        if options.time_format.is_empty() {
            options.time_format = "wall_milli".into();
        }
        Self(options.form())
    }
}

impl Encoder for Console {
    fn encode(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let form = &self.0;
        let start = out.len();
        if !form.time_key.is_empty() {
            match form.time(entry.time) {
                Scalar::Float(number) => number::general(number, out),
                // Writing to a `Vec` can't fail.
                Scalar::Int(number) => drop(write!(out, "{number}")),
                Scalar::Text(text) => out.extend_from_slice(&text),
            }
        }
        if let Some(level) = form.level(entry.level) {
            column(level, start, out);
        }
        if !form.name_key.is_empty() && !entry.logger.is_empty() {
            column(entry.logger, start, out);
        }
        if let Some(caller) = entry.caller.filter(|_| !form.caller_key.is_empty()) {
            column(caller, start, out);
        }
        if !form.message_key.is_empty() {
            column(entry.message, start, out);
        }
        let before = out.len();
        column("{", start, out);
        let brace = out.len();
        entry.fields.visit(&mut JsonFields::new(form, true, out));
        if out.len() == brace {
            // Without fields there is no object.
            out.truncate(before);
        } else {
            out.push(b'}');
        }
        out.extend_from_slice(form.line_ending.as_bytes());
    }
}

/// Appends a column, with a tab before it unless it is the entry's first. A line break in it would
/// make two entries of one, so control characters are escaped.
fn column(text: &str, start: usize, out: &mut Vec<u8>) {
    if out.len() > start {
        out.push(b'\t');
    }
    for (index, line) in text.split(['\n', '\r']).enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::log::{Fields, Level, Value};

    fn encode(options: &EncoderOptions, message: &str, fields: &dyn Fields) -> String {
        let entry = Entry {
            level: Level::Warn,
            time: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_500_000_000),
            logger: "tls",
            caller: None,
            message,
            fields,
        };
        let mut out = Vec::new();
        Console::new(options).encode(&entry, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_and_an_object() {
        let fields = [("a", Value::Int(1)), ("b", Value::Texts(&[b"x", b"y"]))];
        assert_eq!(
            encode(&EncoderOptions::default(), "hi", &fields),
            "2023/11/14 22:13:20.500\t\u{1b}[33mWARN\u{1b}[0m\ttls\thi\t{\"a\": 1, \"b\": [\"x\", \"y\"]}\n"
        );
        assert!(encode(&EncoderOptions::default(), "hi", &()).ends_with("\thi\n"));
    }

    #[test]
    fn absent_columns_leave_no_tab() {
        let options: EncoderOptions =
            serde_json::from_str(r#"{"time_key":"","level_key":"","name_key":"n"}"#).unwrap();
        assert_eq!(encode(&options, "hi", &()), "tls\thi\n");
        let options = EncoderOptions {
            time_format: "unix_seconds_float".into(),
            level_format: "upper".into(),
            ..EncoderOptions::default()
        };
        assert_eq!(encode(&options, "hi", &()), "1.7000000005e+09\tWARN\ttls\thi\n");
    }

    #[test]
    fn a_line_break_does_not_make_two_entries() {
        assert!(encode(&EncoderOptions::default(), "a\nb", &()).ends_with("\ta\\nb\n"));
    }
}
