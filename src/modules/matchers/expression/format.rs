//! `format` and `strings.quote` of cel-go's extension for texts.

use super::eval::EvalError;
use super::functions::{Function, Type, global, method};
use super::times::span_text;
use super::value::Value;

/// So many digits behind the point may be asked for.
const PRECISION_MAX: usize = 100;
/// The same if nothing is asked for.
const PRECISION: usize = 6;

pub(super) static FUNCTIONS: &[Function] = &[
    method("format", (1, 1), Type::Text, Type::Text, |args| match args {
        [Value::Text(layout), Value::List(items)] => Some(format(layout, items).map(Value::Text)),
        _ => None,
    }),
    global("strings.quote", (1, 1), Type::Text, |args| match args {
        [Value::Text(text)] => Some(Ok(Value::Text(quote(text)))),
        _ => None,
    }),
];

/// A value as `%s` shows it, and as `string()` does where it takes such a value.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => double(*number),
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => super::eval::text_of(bytes),
        Value::Time(time) => time.to_string(),
        Value::Span(span) => span_text(*span),
        Value::Zone(_) => String::new(),
        Value::Kind(name) => (*name).to_owned(),
        Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().map(|(key, value)| (shown(key), shown(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

fn double(number: f64) -> String {
    match number {
        number if number.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        number => number.to_string(),
    }
}

fn format(layout: &str, items: &[Value]) -> Result<String, EvalError> {
    let mut out = String::with_capacity(layout.len());
    let mut items = items.iter();
    let mut rest = layout;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (precision, after) = precision(after)?;
        let mut chars = after.chars();
        let verb = chars.next().ok_or_else(|| EvalError::new("unexpected end of string"))?;
        rest = chars.as_str();
        let item = items.next().ok_or_else(|| EvalError::new("not enough arguments for the format"))?;
        let wrong = || {
            EvalError::new(format!("error during formatting: %{verb} can't be used on {}", item.type_name()))
        };
        out.push_str(&by_verb(verb, precision, item).ok_or_else(wrong)?);
    }
    out.push_str(rest);
    Ok(out)
}

/// How many digits are asked for, and what comes behind.
fn precision(text: &str) -> Result<(usize, &str), EvalError> {
    let Some(digits) = text.strip_prefix('.') else { return Ok((PRECISION, text)) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    match digits[..end].parse() {
        Ok(precision @ 0..=PRECISION_MAX) => Ok((precision, &digits[end..])),
        _ => Err(EvalError::new("unable to convert precision specifier to integer")),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Uint(number) => Some(*number as f64),
        Value::Double(number) => Some(*number),
        _ => None,
    }
}

/// A value as this verb shows it; `None` if it can't.
fn by_verb(verb: char, precision: usize, value: &Value) -> Option<String> {
    match (verb, value) {
        ('s', value) => Some(shown(value)),
        ('d', Value::Int(_) | Value::Uint(_) | Value::Double(_)) => Some(shown(value)),
        ('f' | 'e', value) => {
            let number = as_double(value)?;
            Some(match verb {
                _ if !number.is_finite() => double(number),
                'f' => format!("{number:.precision$}"),
                _ => scientific(number, precision),
            })
        }
        ('b', Value::Bool(truth)) => Some(u8::from(*truth).to_string()),
        ('b' | 'o' | 'x' | 'X', Value::Int(number)) => {
            let sign = if *number < 0 { "-" } else { "" };
            Some(format!("{sign}{}", in_base(verb, number.unsigned_abs())))
        }
        ('b' | 'o' | 'x' | 'X', Value::Uint(number)) => Some(in_base(verb, *number)),
        ('x' | 'X', Value::Text(text)) => Some(hex(verb, text.as_bytes())),
        ('x' | 'X', Value::Bytes(bytes)) => Some(hex(verb, bytes)),
        _ => None,
    }
}

fn in_base(verb: char, number: u64) -> String {
    match verb {
        'b' => format!("{number:b}"),
        'o' => format!("{number:o}"),
        'x' => format!("{number:x}"),
        _ => format!("{number:X}"),
    }
}

fn hex(verb: char, bytes: &[u8]) -> String {
    let digits = |byte: &u8| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") };
    bytes.iter().map(digits).collect()
}

/// As Go writes it: at least two digits of an exponent, and its sign.
fn scientific(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
