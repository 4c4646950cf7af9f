//! The functions that templates have in Go without anybody's doing.

use std::cmp::Ordering;

use super::{Error, Value, format};

const NAMES: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print",
    "printf", "println", "slice", "urlquery",
];

/// Whether there is such a function.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether a function looks at all that is within its arguments.
pub(super) fn looks_through(name: &str) -> bool {
    matches!(name, "print" | "printf" | "println" | "html" | "js" | "urlquery" | "eq" | "ne" | "call")
}

/// Calls one of them; `and` and `or` are carried out elsewhere, for they leave arguments alone.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, Error> {
    Ok(match (name, arguments) {
        ("not", [value]) => Value::Bool(!value.is_true()),
        ("len", [value]) => {
            let length = value.length();
            let length = length.ok_or_else(|| Error::new(format!("len of type {}", value.type_name())))?;
            Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
        }
        ("print", values) => Value::bytes(format::print(values)),
        ("println", values) => Value::bytes(format::print_line(values)),
        ("printf", [form, values @ ..]) => Value::bytes(format::print_formatted(&form.text(), values)?),
        ("html", values) => Value::from(escape_html(&joined(values))),
        ("js", values) => Value::from(escape_script(&joined(values))),
        ("urlquery", values) => Value::from(escape_query(joined(values).as_bytes())),
        ("index", [value, keys @ ..]) => {
            keys.iter().try_fold(value.clone(), |value, key| index(&value, key))?
        }
        ("slice", [value, bounds @ ..]) if bounds.len() <= 3 => slice(value, bounds)?,
        ("eq", [one, others @ ..]) if !others.is_empty() => {
            let mut equal = false;
            for other in others {
                equal = equal || are_equal(one, other)?;
            }
            Value::Bool(equal)
        }
        ("ne", [one, other]) => Value::Bool(!are_equal(one, other)?),
        ("lt", [one, other]) => Value::Bool(compare(one, other)? == Ordering::Less),
        ("le", [one, other]) => Value::Bool(compare(one, other)? != Ordering::Greater),
        ("gt", [one, other]) => Value::Bool(compare(one, other)? == Ordering::Greater),
        ("ge", [one, other]) => Value::Bool(compare(one, other)? != Ordering::Less),
        ("call", _) => return Err(Error::new("non-function value")),
        (name, arguments) => {
            let count = arguments.len();
            return Err(Error::new(format!("wrong number of args for {name}: got {count}")));
        }
    })
}

fn joined(values: &[Value]) -> String {
    String::from_utf8_lossy(&format::print(values)).into_owned()
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push(char::REPLACEMENT_CHARACTER),
            other => out.push(other),
        }
    }
    out
}

fn escape_script(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(character))),
            character if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04X}", u32::from(character)));
            }
            other => out.push(other),
        }
    }
    out
}

fn escape_query(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b' ' => out.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte))
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// An index or bound within `length`.
fn within(key: &Value, length: usize) -> Result<usize, Error> {
    let Value::Int(index) = key else {
        return Err(Error::new(format!("cannot index slice/array with type {}", key.type_name())));
    };
    let found = usize::try_from(*index).ok().filter(|index| *index <= length);
    found.ok_or_else(|| Error::new(format!("index out of range: {index}")))
}

/// One item of a list, a map or a text.
pub(super) fn index(value: &Value, key: &Value) -> Result<Value, Error> {
    let out_of_range = || Error::new(format!("index out of range: {}", key.text()));
    match value {
        Value::Nil => Err(Error::new("index of untyped nil")),
        Value::List(items) => items.get(within(key, items.len())?).cloned().ok_or_else(out_of_range),
        Value::Str(text) => {
            let byte = text.get(within(key, text.len())?).ok_or_else(out_of_range)?;
            Ok(Value::Int(i64::from(*byte)))
        }
        Value::Map(map) => match key {
            Value::Str(key) => {
                let key = String::from_utf8_lossy(key);
                Ok(map.borrow().get(&*key).cloned().unwrap_or_default())
            }
            key => Err(Error::new(format!("value has type {}; should be string", key.type_name()))),
        },
        Value::Object(object) => match object.as_plain() {
            Some(plain) => index(&plain, key),
            None => Err(Error::new(format!("can't index item of type {}", object.type_name()))),
        },
        other => Err(Error::new(format!("can't index item of type {}", other.type_name()))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, Error> {
    let length = match value {
        Value::Str(text) => text.len(),
        Value::List(items) => items.len(),
        other => return Err(Error::new(format!("can't slice item of type {}", other.type_name()))),
    };
    let start = bounds.first().map_or(Ok(0), |bound| within(bound, length))?;
    let end = bounds.get(1).map_or(Ok(length), |bound| within(bound, length))?;
    if start > end {
        return Err(Error::new(format!("invalid slice index: {start} > {end}")));
    }
    Ok(match value {
        Value::Str(text) => Value::bytes(&text[start..end]),
        Value::List(items) => Value::from(items[start..end].to_vec()),
        _ => Value::Nil,
    })
}

fn are_equal(one: &Value, other: &Value) -> Result<bool, Error> {
    match (one, other) {
        (Value::Nil, _) | (_, Value::Nil) => Ok(one.same(other)),
        (Value::Bool(_), Value::Bool(_))
        | (Value::Int(_), Value::Int(_))
        | (Value::Float(_), Value::Float(_))
        | (Value::Str(_), Value::Str(_)) => Ok(one.same(other)),
        (Value::List(_) | Value::Map(_), _) | (_, Value::List(_) | Value::Map(_)) => {
            Err(Error::new("non-comparable type"))
        }
        _ => Err(Error::new("incompatible types for comparison")),
    }
}

fn compare(one: &Value, other: &Value) -> Result<Ordering, Error> {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => Ok(one.cmp(other)),
        (Value::Float(one), Value::Float(other)) => {
            one.partial_cmp(other).ok_or_else(|| Error::new("invalid type for comparison"))
        }
        (Value::Str(one), Value::Str(other)) => Ok(one.cmp(other)),
        (
            Value::Int(_) | Value::Float(_) | Value::Str(_),
            Value::Int(_) | Value::Float(_) | Value::Str(_),
        ) => Err(Error::new("incompatible types for comparison")),
        _ => Err(Error::new("invalid type for comparison")),
    }
}
