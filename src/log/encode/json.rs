//! Entries as JSON, one a line, as zap's production encoder writes them.

use std::io::Write as _;

use super::super::{Entry, Value, Visitor};
use super::options::{Form, Scalar};
use super::{Encoder, EncoderOptions, number};

/// The `json` format.
pub struct Json(Form);

impl Json {
    /// An encoder with these options.
    pub fn new(options: &EncoderOptions) -> Self {
        Self(options.form())
    }
}

impl Encoder for Json {
    fn encode(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let form = &self.0;
        out.push(b'{');
        let mut fields = JsonFields::new(form, false, out);
        if let Some(level) = form.level(entry.level) {
            fields.field(&form.level_key, Value::text(level));
        }
        if !form.time_key.is_empty() {
            fields.key(&form.time_key);
            fields.scalar(form.time(entry.time));
        }
        if !form.name_key.is_empty() && !entry.logger.is_empty() {
            fields.field(&form.name_key, Value::text(entry.logger));
        }
        if let Some(caller) = entry.caller.filter(|_| !form.caller_key.is_empty()) {
            fields.field(&form.caller_key, Value::text(caller));
        }
        if !form.message_key.is_empty() {
            fields.field(&form.message_key, Value::text(entry.message));
        }
        entry.fields.visit(&mut fields);
        out.push(b'}');
        out.extend_from_slice(form.line_ending.as_bytes());
    }
}

/// Writes fields as the inside of a JSON object.
pub(super) struct JsonFields<'a> {
    form: &'a Form,
    /// Whether there is a blank after `:` and `,`, as in the console format.
    spaced: bool,
    first: bool,
    out: &'a mut Vec<u8>,
}

impl<'a> JsonFields<'a> {
    /// Appends to `out`, where an opening brace was just written.
    pub(super) fn new(form: &'a Form, spaced: bool, out: &'a mut Vec<u8>) -> Self {
        Self { form, spaced, first: true, out }
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.comma();
        }
        self.first = false;
        string(key.as_bytes(), self.out);
        self.out.push(b':');
        if self.spaced {
            self.out.push(b' ');
        }
    }

    fn comma(&mut self) {
        self.out.push(b',');
        if self.spaced {
            self.out.push(b' ');
        }
    }

    fn scalar(&mut self, scalar: Scalar) {
        match scalar {
            Scalar::Float(number) => number::plain(number, self.out),
            // Writing to a `Vec` can't fail.
            Scalar::Int(number) => drop(write!(self.out, "{number}")),
            Scalar::Text(text) => string(&text, self.out),
        }
    }
}

impl Visitor for JsonFields<'_> {
    fn field(&mut self, key: &str, value: Value<'_>) {
        self.key(key);
        match value {
            Value::Text(text) => string(text, self.out),
            Value::Texts(texts) => {
                self.out.push(b'[');
                for (index, text) in texts.iter().enumerate() {
                    if index > 0 {
                        self.comma();
                    }
                    string(text, self.out);
                }
                self.out.push(b']');
            }
            Value::Int(number) => drop(write!(self.out, "{number}")),
            Value::Uint(number) => drop(write!(self.out, "{number}")),
            Value::Float(number) => number::plain(number, self.out),
            Value::Bool(truth) => self.out.extend_from_slice(if truth { b"true" } else { b"false" }),
            Value::Duration(span) => self.scalar(self.form.duration(span)),
            Value::Object(fields) => {
                self.out.push(b'{');
                fields.visit(&mut JsonFields::new(self.form, self.spaced, self.out));
                self.out.push(b'}');
            }
            // A JSON value in memory always serialises, and a `Vec` takes it.
            Value::Json(json) => drop(serde_json::to_writer(&mut *self.out, json)),
        }
    }
}

/// Appends `text` as a JSON string. Nothing that a client sends can end the string or the line:
/// quotes, backslashes and control characters are escaped, and what is not UTF-8 becomes `\ufffd`.
pub(super) fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        escape(chunk.valid(), out);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

fn escape(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            // Writing to a `Vec` can't fail.
            byte => drop(write!(out, "\\u{byte:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::log::{Fields, Level};

    fn encode(options: &EncoderOptions, fields: &dyn Fields) -> String {
        let entry = Entry {
            level: Level::Info,
            time: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_500_000_000),
            logger: "http.log",
            caller: None,
            message: "handled",
            fields,
        };
        let mut out = Vec::new();
        Json::new(options).encode(&entry, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fixed_fields_come_first() {
        assert_eq!(
            encode(&EncoderOptions::default(), &[("status", Value::Int(200))]),
            "{\"level\":\"info\",\"ts\":1700000000.5,\"logger\":\"http.log\",\"msg\":\"handled\",\"status\":200}\n"
        );
    }

    #[test]
    fn empty_keys_are_left_out() {
        let options: EncoderOptions = serde_json::from_str(
            r#"{"level_key":"","time_key":"","name_key":"","message_key":"m","line_ending":"|"}"#,
        )
        .unwrap();
        assert_eq!(encode(&options, &()), "{\"m\":\"handled\"}|");
        let hidden = EncoderOptions { level_format: "loud".into(), ..EncoderOptions::default() };
        assert!(!encode(&hidden, &()).contains("level"));
    }

    #[test]
    fn every_kind_of_value() {
        let json = serde_json::json!({"a": [1, "<>&"]});
        let inner = [("x", Value::Bool(true)), ("y", Value::Float(0.25))];
        let line = encode(
            &EncoderOptions { duration_format: "ms".into(), ..EncoderOptions::default() },
            &[
                ("texts", Value::Texts(&[b"a", b"\xff\"\\\n\x01"])),
                ("n", Value::Int(-1)),
                ("u", Value::Uint(u64::MAX)),
                ("d", Value::Duration(Duration::from_micros(1999))),
                ("o", Value::Object(&inner)),
                ("e", Value::Object(&())),
                ("j", Value::Json(&json)),
            ],
        );
        let tail = line.split_once("\"msg\":\"handled\",").unwrap().1;
        assert_eq!(
            tail,
            concat!(
                r#""texts":["a","\ufffd\"\\\n\u0001"],"n":-1,"u":18446744073709551615,"d":1,"#,
                r#""o":{"x":true,"y":0.25},"e":{},"j":{"a":[1,"<>&"]}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn times_in_every_form() {
        for (format, want) in [
            ("unix_milli_float", "1700000000500"),
            ("unix_nano", "1700000000500000000"),
            ("rfc3339", "\"2023-11-14T22:13:20Z\""),
            ("rfc3339_nano", "\"2023-11-14T22:13:20.5Z\""),
            ("wall", "\"2023/11/14 22:13:20\""),
            ("wall_milli", "\"2023/11/14 22:13:20.500\""),
            ("wall_nano", "\"2023/11/14 22:13:20.500000000\""),
            ("common_log", "\"14/Nov/2023:22:13:20 +0000\""),
            ("15h", "\"22h\""),
        ] {
            let line =
                encode(&EncoderOptions { time_format: format.into(), ..EncoderOptions::default() }, &());
            assert!(line.contains(&format!("\"ts\":{want},")), "{format}: {line}");
        }
    }
}
