//! Values as text: what Go's `fmt` does with them.

use super::{Error, TEXT_MAX, Value};

/// No field of `printf` is wider, and no number has more digits.
const WIDTH_MAX: usize = 10_000;

/// `%v`
pub(super) fn plain(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_plain(&mut out, value);
    out
}

/// Nothing that holds itself or is nested too deeply gets here: the budget admits no such value.
fn write_plain(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Nil => out.extend_from_slice(b"<nil>"),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Float(number) => out.extend_from_slice(float_text(*number).as_bytes()),
        Value::Str(text) => out.extend_from_slice(text),
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                write_plain(out, item);
            }
            out.push(b']');
        }
        Value::Map(map) => {
            out.extend_from_slice(b"map[");
            for (index, (key, item)) in map.borrow().iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                out.extend_from_slice(key.as_bytes());
                out.push(b':');
                write_plain(out, item);
            }
            out.push(b']');
        }
        Value::Object(object) => out.extend_from_slice(object.text().as_bytes()),
    }
}

/// A float as Go prints it: the shortest digits that mean the same, with an exponent for what is large or small.
pub fn float_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let scientific = format!("{number:e}");
    let exponent: i32 =
        scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if number == 0.0 || (-4..6).contains(&exponent) { number.to_string() } else { go_exponent(&scientific) }
}

/// `1.5e7` as `1.5e+07`.
fn go_exponent(scientific: &str) -> String {
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific.to_owned() };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Text in quotes, with Go's escapes.
pub fn quote(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{b}' => out.push_str("\\v"),
                '\u{c}' => out.push_str("\\f"),
                character if u32::from(character) < 0x20 || character == '\u{7f}' => {
                    out.push_str(&format!("\\x{:02x}", u32::from(character)));
                }
                character if character.is_control() => {
                    out.push_str(&format!("\\u{:04x}", u32::from(character)));
                }
                character => out.push(character),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// Several values as `print` has them: with spaces between those that are no text.
pub(super) fn print(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Str(_));
        if index > 0 && !is_text(value) && !is_text(&values[index - 1]) {
            out.push(b' ');
        }
        out.extend_from_slice(&plain(value));
    }
    out
}

/// As `println`: with spaces between all.
pub(super) fn print_line(values: &[Value]) -> Vec<u8> {
    let mut out = values.iter().map(plain).collect::<Vec<_>>().join(&b' ');
    out.push(b'\n');
    out
}

/// How one value is to be shown: what stands between `%` and the verb.
#[derive(Default)]
struct Directive {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// As `printf`.
pub(super) fn print_formatted(format: &str, values: &[Value]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let mut next = 0;
    let mut characters = format.chars().peekable();
    let mut reordered = false;
    while let Some(character) = characters.next() {
        if character != '%' {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let mut directive = Directive::default();
        while let Some(flag) = characters.next_if(|flag| "-+# 0".contains(*flag)) {
            match flag {
                '-' => directive.minus = true,
                '+' => directive.plus = true,
                '#' => directive.sharp = true,
                ' ' => directive.space = true,
                _ => directive.zero = true,
            }
        }
        reordered |= take_index(&mut characters, &mut next);
        directive.width = take_number(&mut characters, values, &mut next)?;
        if characters.next_if_eq(&'.').is_some() {
            reordered |= take_index(&mut characters, &mut next);
            directive.precision = Some(take_number(&mut characters, values, &mut next)?.unwrap_or(0));
        }
        reordered |= take_index(&mut characters, &mut next);
        match characters.next() {
            None => out.extend_from_slice(b"%!(NOVERB)"),
            Some('%') => out.push(b'%'),
            Some(verb) => match values.get(next) {
                None => out.extend_from_slice(format!("%!{verb}(MISSING)").as_bytes()),
                Some(value) => {
                    next += 1;
                    let shown = directive.show(verb, value)?;
                    directive.pad(
                        &mut out,
                        &shown,
                        !matches!(verb, 's' | 'q' | 'v' | 't' | 'T') || is_number(value),
                    );
                    check_length(out.len())?;
                }
            },
        }
    }
    if next < values.len() && !reordered {
        out.extend_from_slice(b"%!(EXTRA ");
        for (index, value) in values[next..].iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(value.type_name().as_bytes());
            out.push(b'=');
            out.extend_from_slice(&plain(value));
        }
        out.push(b')');
    }
    Ok(out)
}

fn check_length(length: usize) -> Result<(), Error> {
    match length {
        0..=TEXT_MAX => Ok(()),
        _ => Err(Error::new("printf: the result would be too long")),
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_))
}

type Characters<'f> = std::iter::Peekable<std::str::Chars<'f>>;

/// `[n]`: the argument that counts next.
fn take_index(characters: &mut Characters<'_>, next: &mut usize) -> bool {
    if characters.next_if_eq(&'[').is_none() {
        return false;
    }
    let mut number = 0_usize;
    while let Some(digit) = characters.next_if(char::is_ascii_digit) {
        number = number.saturating_mul(10).saturating_add(digit.to_digit(10).unwrap_or(0) as usize);
    }
    characters.next_if_eq(&']');
    *next = number.saturating_sub(1);
    true
}

/// A width or precision: digits, or `*` for an argument.
fn take_number(
    characters: &mut Characters<'_>,
    values: &[Value],
    next: &mut usize,
) -> Result<Option<usize>, Error> {
    let mut number = None;
    if characters.next_if_eq(&'*').is_some() {
        if let Some(Value::Int(width)) = values.get(*next) {
            number = usize::try_from(*width).ok();
        }
        *next += 1;
    }
    while let Some(digit) = characters.next_if(char::is_ascii_digit) {
        let digit = digit.to_digit(10).unwrap_or(0) as usize;
        number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
    }
    match number {
        Some(number) if number > WIDTH_MAX => Err(Error::new("printf: the width is too large")),
        number => Ok(number),
    }
}

impl Directive {
    fn show(&self, verb: char, value: &Value) -> Result<Vec<u8>, Error> {
        let shown = match (verb, value) {
            ('v', _) if self.sharp => go_syntax(value),
            ('v', _) => return Ok(plain(value)),
            ('T', _) => value.type_name().to_owned(),
            ('t', Value::Bool(truth)) => truth.to_string(),
            ('s', Value::Str(text)) => return Ok(self.cut(text)),
            ('s', Value::List(_) | Value::Map(_) | Value::Object(_)) => return Ok(plain(value)),
            ('q', Value::Str(text)) => quote(&self.cut(text)),
            ('q' | 'c' | 'U', Value::Int(number)) => return Ok(character(verb, *number)),
            ('x' | 'X', Value::Str(text)) => hex(&self.cut(text), verb == 'X'),
            ('d' | 'b' | 'o' | 'O' | 'x' | 'X', Value::Int(number)) => self.integer(verb, *number),
            ('e' | 'E' | 'f' | 'F' | 'g' | 'G', Value::Float(number)) => self.float(verb, *number),
            ('d' | 'x' | 'q' | 'f', Value::List(items)) => {
                let mut out = vec![b'['];
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b' ');
                    }
                    out.extend(self.show(verb, item)?);
                    check_length(out.len())?;
                }
                out.push(b']');
                return Ok(out);
            }
            (verb, Value::Nil) => format!("%!{verb}(<nil>)"),
            (verb, value) => format!("%!{verb}({}={})", value.type_name(), value.text()),
        };
        Ok(shown.into_bytes())
    }

    /// As many characters as the precision says.
    fn cut(&self, text: &[u8]) -> Vec<u8> {
        match self.precision {
            None => text.to_vec(),
            Some(count) => String::from_utf8_lossy(text).chars().take(count).collect::<String>().into_bytes(),
        }
    }

    fn signed(&self, negative: bool, digits: String) -> String {
        let sign = match (negative, self.plus, self.space) {
            (true, _, _) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        format!("{sign}{digits}")
    }

    fn integer(&self, verb: char, number: i64) -> String {
        let size = number.unsigned_abs();
        let (prefix, digits) = match verb {
            'b' => ("0b", format!("{size:b}")),
            'o' => ("0", format!("{size:o}")),
            'O' => return self.signed(number < 0, format!("0o{size:o}")),
            'x' => ("0x", format!("{size:x}")),
            'X' => ("0X", format!("{size:X}")),
            _ => ("", size.to_string()),
        };
        let digits = format!("{digits:0>width$}", width = self.precision.unwrap_or(0));
        self.signed(number < 0, if self.sharp { format!("{prefix}{digits}") } else { digits })
    }

    fn float(&self, verb: char, number: f64) -> String {
        let size = number.abs();
        let digits = match (verb.to_ascii_lowercase(), self.precision) {
            _ if !number.is_finite() => float_text(size),
            ('f', precision) => format!("{size:.*}", precision.unwrap_or(6)),
            ('e', precision) => go_exponent(&format!("{size:.*e}", precision.unwrap_or(6))),
            (_, None) => float_text(size),
            (_, Some(precision)) => general(size, precision.max(1)),
        };
        let shown = self.signed(number.is_sign_negative(), digits);
        if verb.is_ascii_uppercase() { shown.to_uppercase() } else { shown }
    }

    fn pad(&self, out: &mut Vec<u8>, shown: &[u8], is_numeric: bool) {
        let length = String::from_utf8_lossy(shown).chars().count();
        let missing = self.width.unwrap_or(0).saturating_sub(length);
        if self.minus {
            out.extend_from_slice(shown);
            out.resize(out.len() + missing, b' ');
        } else if self.zero && is_numeric {
            let sign = usize::from(matches!(shown.first(), Some(b'-' | b'+' | b' ')));
            out.extend_from_slice(&shown[..sign]);
            out.resize(out.len() + missing, b'0');
            out.extend_from_slice(&shown[sign..]);
        } else {
            out.resize(out.len() + missing, b' ');
            out.extend_from_slice(shown);
        }
    }
}

/// `%.Ng`: so many digits in all.
fn general(size: f64, digits: usize) -> String {
    let scientific = format!("{size:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= i32::try_from(digits).unwrap_or(i32::MAX) {
        return go_exponent(&format!("{}e{exponent}", trimmed(mantissa)));
    }
    let decimals = usize::try_from(i32::try_from(digits).unwrap_or(0) - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{size:.decimals$}"))
}

fn character(verb: char, number: i64) -> Vec<u8> {
    let character =
        u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    match verb {
        'c' => character.to_string(),
        'U' => format!("U+{number:04X}"),
        _ => format!("'{}'", quote(character.to_string().as_bytes()).trim_matches('"')),
    }
    .into_bytes()
}

fn hex(text: &[u8], upper: bool) -> String {
    text.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect()
}

/// `%#v`
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Str(text) => quote(text),
        Value::List(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Map(map) => {
            let map = map.borrow();
            let entries =
                map.iter().map(|(key, item)| format!("{}:{}", quote(key.as_bytes()), go_syntax(item)));
            format!("map[string]interface {{}}{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.text().into_owned(),
    }
}
