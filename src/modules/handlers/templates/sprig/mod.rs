//! The functions of sprig (<https://masterminds.github.io/sprig/>) that templates may use, as Caddy
//! has them.

mod dates;
mod dicts;
mod encodings;
mod keys;
mod lists;
mod logic;
mod numbers;
mod patterns;
mod secrets;
mod strings;
mod urls;
mod versions;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

pub(super) use dates::Time;
pub(super) use encodings::from_json;
pub(super) use logic::environment;

use crate::gotemplate::{Error, Map, TEXT_MAX, Value};

/// A function that needs nothing but its arguments.
pub(super) type Function = fn(&[Value]) -> Result<Value, Error>;

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let tables = [
        strings::TABLE,
        patterns::TABLE,
        numbers::TABLE,
        lists::TABLE,
        dicts::TABLE,
        logic::TABLE,
        encodings::TABLE,
        dates::TABLE,
        keys::TABLE,
        secrets::TABLE,
        urls::TABLE,
        versions::TABLE,
    ];
    tables.into_iter().flatten().copied().collect()
});

/// No text is taken apart into more pieces.
const PARTS_MAX: usize = 1_000_000;

/// The function of this name.
pub(super) fn find(name: &str) -> Option<Function> {
    FUNCTIONS.get(name).copied()
}

/// An argument.
fn value(arguments: &[Value], index: usize) -> Result<&Value, Error> {
    arguments.get(index).ok_or_else(|| Error::new(format!("wrong number of args: got {}", arguments.len())))
}

/// An argument that must be text.
pub(super) fn text(arguments: &[Value], index: usize) -> Result<Cow<'_, str>, Error> {
    match value(arguments, index)? {
        Value::Str(text) => Ok(String::from_utf8_lossy(text)),
        other => Err(Error::new(format!("wrong type for value; expected string; got {}", other.type_name()))),
    }
}

/// An argument as a whole number, whatever it is.
fn int(arguments: &[Value], index: usize) -> Result<i64, Error> {
    value(arguments, index).map(to_int)
}

/// An argument as a number, whatever it is.
fn float(arguments: &[Value], index: usize) -> Result<f64, Error> {
    value(arguments, index).map(to_float)
}

#[expect(clippy::cast_possible_truncation, reason = "as Go's conversion")]
fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        Value::Float(number) => *number as i64,
        Value::Bool(truth) => i64::from(*truth),
        Value::Str(text) => {
            let text = String::from_utf8_lossy(text);
            text.parse().unwrap_or_else(|_| text.parse::<f64>().map_or(0, |number| number as i64))
        }
        _ => 0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "as Go's conversion")]
fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Bool(truth) => f64::from(*truth),
        Value::Str(text) => String::from_utf8_lossy(text).parse().unwrap_or(0.0),
        _ => 0.0,
    }
}

/// An argument that must be a list.
fn list(arguments: &[Value], index: usize) -> Result<Vec<Value>, Error> {
    let value = value(arguments, index)?;
    let plain = match value {
        Value::Object(object) => object.as_plain(),
        _ => None,
    };
    match plain.as_ref().unwrap_or(value) {
        Value::List(items) => Ok(items.to_vec()),
        other => Err(Error::new(format!("list should be type of slice or array but {}", other.type_name()))),
    }
}

/// An argument that must be a map.
fn map(arguments: &[Value], index: usize) -> Result<std::rc::Rc<std::cell::RefCell<Map>>, Error> {
    match value(arguments, index)? {
        Value::Map(map) => Ok(map.clone()),
        other => Err(Error::new(format!("wrong type for value; expected map; got {}", other.type_name()))),
    }
}

/// A length that a function may make.
fn bounded(length: usize) -> Result<usize, Error> {
    match length {
        0..=TEXT_MAX => Ok(length),
        _ => Err(Error::new("the result would be too long")),
    }
}

/// Parts of a text as values, if they are not too many.
fn parts<'p>(parts: impl Iterator<Item = &'p str>) -> Result<Vec<Value>, Error> {
    let parts: Vec<_> = parts.take(PARTS_MAX + 1).map(Value::from).collect();
    match parts.len() {
        0..=PARTS_MAX => Ok(parts),
        _ => Err(Error::new("the text has too many parts")),
    }
}

fn texts(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item.text().into_owned()).collect()
}

#[cfg(test)]
mod tests;
