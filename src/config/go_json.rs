//! JSON text as Go writes it.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// JSON on one line, byte for byte as Go writes it: `<`, `>` and `&` are escaped in strings.
///
/// # Errors
/// The value can't be JSON.
pub fn to_go_json(value: &impl Serialize) -> serde_json::Result<String> {
    write(value, CompactFormatter)
}

/// The same, indented with tabs.
///
/// # Errors
/// The value can't be JSON.
pub fn to_go_json_pretty(value: &impl Serialize) -> serde_json::Result<String> {
    write(value, PrettyFormatter::with_indent(b"\t"))
}

fn write(value: &impl Serialize, layout: impl Formatter) -> serde_json::Result<String> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, Escaping(layout)))?;
    String::from_utf8(out).map_err(serde::ser::Error::custom)
}

/// A number as Go writes it: whole ones without a fraction, and very large and very small ones with an exponent.
fn go_float(value: f64) -> String {
    let shortest = format!("{value:e}");
    let Some((digits, exponent)) = shortest.split_once('e') else { return shortest };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    if value != 0.0 && !(-6..21).contains(&exponent) {
        return format!("{sign}{digits}e{exponent:+}");
    }
    let digits = digits.replace('.', "");
    match usize::try_from(exponent) {
        Ok(whole) if whole + 1 >= digits.len() => format!("{sign}{digits:0<width$}", width = whole + 1),
        Ok(whole) => format!("{sign}{}.{}", &digits[..=whole], &digits[whole + 1..]),
        Err(_) => format!("{sign}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
    }
}

/// A layout with Go's escapes and numbers.
struct Escaping<F>(F);

impl<F: Formatter> Formatter for Escaping<F> {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(go_float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let ch = rest[at..].chars().next().unwrap_or_default();
            write!(writer, "{}\\u{:04x}", &rest[..at], u32::from(ch))?;
            rest = &rest[at + ch.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_does() {
        for (number, text) in [
            (1000.0, "1000"),
            (1.0, "1"),
            (-0.0, "-0"),
            (0.5, "0.5"),
            (-12.25, "-12.25"),
            (123_456.789e3, "123456789"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (9_223_372_036_854_775_808.0, "9223372036854776000"),
            (0.000_001, "0.000001"),
            (1e-7, "1e-7"),
            (-2.5e-10, "-2.5e-10"),
        ] {
            assert_eq!(to_go_json(&number).unwrap(), text);
        }
    }

    #[test]
    fn markup_is_escaped_and_the_layout_is_gos() {
        let json = serde_json::json!({"<a>": ["&", 1, {}], "b": "x\u{2028}\"y"});
        assert_eq!(to_go_json(&json).unwrap(), r#"{"\u003ca\u003e":["\u0026",1,{}],"b":"x\u2028\"y"}"#);
        let pretty = "{\n\t\"\\u003ca\\u003e\": [\n\t\t\"\\u0026\",\n\t\t1,\n\t\t{}\n\t],\n\t\"b\": \"x\\u2028\\\"y\"\n}";
        assert_eq!(to_go_json_pretty(&json).unwrap(), pretty);
        let back: serde_json::Value = serde_json::from_str(pretty).unwrap();
        assert_eq!(back, json);
    }
}
