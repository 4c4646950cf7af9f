//! Functions of expressions: the standard ones, and cel-go's extensions for strings, lists and numbers.

use super::eval::EvalError;
use super::value::Value;
use super::{format, lists, math, times};

/// The type of a value, as far as it is known before there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Known only when there is a value.
    Any,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Time,
    Span,
    Kind,
    List,
    Map,
}

impl Type {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Int(_) => Self::Int,
            Value::Uint(_) => Self::Uint,
            Value::Double(_) => Self::Double,
            Value::Text(_) => Self::Text,
            Value::Bytes(_) => Self::Bytes,
            Value::Time(_) => Self::Time,
            Value::Span(_) => Self::Span,
            Value::Zone(_) => Self::Any,
            Value::Kind(_) => Self::Kind,
            Value::List(_) => Self::List,
            Value::Map(_) => Self::Map,
        }
    }

    /// As errors show it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any => "dyn",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Time => "google.protobuf.Timestamp",
            Self::Span => "google.protobuf.Duration",
            Self::Kind => "type",
            Self::List => "list",
            Self::Map => "map",
        }
    }

    /// Whether a value of this type may be one of that type.
    pub(super) fn may_be(self, other: Self) -> bool {
        self == other || self == Self::Any || other == Self::Any
    }
}

/// What a function makes of its arguments; `None` if it doesn't take such values.
pub(super) type Applied = Option<Result<Value, EvalError>>;

type Apply = fn(&[Value]) -> Applied;

/// A function. Of a method, what it is called on is the first argument.
#[derive(Clone, Copy)]
pub(super) struct Function {
    name: &'static str,
    /// How many arguments it may have.
    args: (usize, usize),
    is_method: bool,
    /// What it is called on must be of this type.
    on: Type,
    pub(super) result: Type,
    apply: Apply,
}

impl Function {
    /// The function of this name for so many arguments, called as a method or not.
    pub(super) fn find(name: &str, is_method: bool, args: usize) -> Option<Self> {
        let fits = |function: &&Self| {
            function.name == name
                && function.is_method == is_method
                && (function.args.0..=function.args.1).contains(&args)
        };
        let tables = [FUNCTIONS, times::FUNCTIONS, math::FUNCTIONS, lists::FUNCTIONS, format::FUNCTIONS];
        tables.into_iter().flatten().find(fits).copied()
    }

    /// Whether its first argument may be of this type.
    pub(super) fn takes(&self, first: Type) -> bool {
        first.may_be(self.on)
    }

    /// Whether it is called while the expression is compiled, if all that it is called with is constant.
    pub(super) fn is_folded(&self) -> bool {
        const FOLDED: [&str; 9] =
            ["bool", "bytes", "double", "duration", "format", "int", "string", "timestamp", "uint"];
        FOLDED.contains(&self.name)
    }

    /// Whether its second argument is the name of a time zone.
    pub(super) fn takes_zone(&self) -> bool {
        self.is_method && self.name.starts_with("get")
    }

    pub(super) fn call(&self, args: &[Value]) -> Result<Value, EvalError> {
        (self.apply)(args).unwrap_or_else(|| Err(EvalError::new("no such overload")))
    }
}

pub(super) const fn method(
    name: &'static str,
    args: (usize, usize),
    on: Type,
    result: Type,
    apply: Apply,
) -> Function {
    Function { name, args: (args.0 + 1, args.1 + 1), is_method: true, on, result, apply }
}

/// The same for what takes doubles only.
pub(super) const fn of_double(name: &'static str, result: Type, apply: Apply) -> Function {
    Function { name, args: (1, 1), is_method: false, on: Type::Double, result, apply }
}

pub(super) const fn global(name: &'static str, args: (usize, usize), result: Type, apply: Apply) -> Function {
    Function { name, args, is_method: false, on: Type::Any, result, apply }
}

static FUNCTIONS: &[Function] = &[
    global("size", (1, 1), Type::Int, size),
    method("size", (0, 0), Type::Any, Type::Int, size),
    global("int", (1, 1), Type::Int, to_int),
    global("uint", (1, 1), Type::Uint, to_uint),
    global("double", (1, 1), Type::Double, to_double),
    global("string", (1, 1), Type::Text, to_text),
    global("bool", (1, 1), Type::Bool, to_bool),
    global("bytes", (1, 1), Type::Bytes, to_bytes),
    global("dyn", (1, 1), Type::Any, |args| Some(Ok(args[0].clone()))),
    global("type", (1, 1), Type::Kind, |args| Some(Ok(Value::Kind(args[0].type_name())))),
    method("startsWith", (1, 1), Type::Text, Type::Bool, |args| texts(args, |a, b| a.starts_with(b))),
    method("endsWith", (1, 1), Type::Text, Type::Bool, |args| texts(args, |a, b| a.ends_with(b))),
    method("contains", (1, 1), Type::Text, Type::Bool, |args| texts(args, |a, b| a.contains(b))),
    method("lowerAscii", (0, 0), Type::Text, Type::Text, |args| text(args, |text| text.to_ascii_lowercase())),
    method("upperAscii", (0, 0), Type::Text, Type::Text, |args| text(args, |text| text.to_ascii_uppercase())),
    method("trim", (0, 0), Type::Text, Type::Text, |args| text(args, |text| text.trim().to_owned())),
    method("reverse", (0, 0), Type::Any, Type::Any, reverse),
    method("charAt", (1, 1), Type::Text, Type::Text, char_at),
    method("indexOf", (1, 2), Type::Text, Type::Int, |args| index_of(args, false)),
    method("lastIndexOf", (1, 2), Type::Text, Type::Int, |args| index_of(args, true)),
    method("substring", (1, 2), Type::Text, Type::Text, substring),
    method("replace", (2, 3), Type::Text, Type::Text, replace),
    method("split", (1, 2), Type::Text, Type::List, split),
    method("join", (0, 1), Type::List, Type::Text, join),
    method("slice", (2, 2), Type::List, Type::List, slice),
];

fn size(args: &[Value]) -> Applied {
    let size = match &args[0] {
        Value::Text(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        _ => return None,
    };
    Some(Ok(int(size)))
}

fn int(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn conversion(to: &str) -> EvalError {
    EvalError::new(format!("type conversion error to '{to}'"))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked, and the fraction is to be cut off"
)]
fn to_int(args: &[Value]) -> Applied {
    let number = match &args[0] {
        Value::Int(number) => Some(*number),
        Value::Uint(number) => i64::try_from(*number).ok(),
        // 2^63 is the first double beyond the range.
        Value::Double(number) if number.abs() < 9_223_372_036_854_775_808.0 => Some(*number as i64),
        Value::Double(_) => None,
        Value::Text(text) => text.parse().ok(),
        Value::Time(time) => Some(time.as_second()),
        Value::Span(span) => Some(span.as_nanos()),
        _ => return None,
    };
    Some(number.map(Value::Int).ok_or_else(|| conversion("int")))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked, and the fraction is to be cut off"
)]
fn to_uint(args: &[Value]) -> Applied {
    let number = match &args[0] {
        Value::Uint(number) => Some(*number),
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Double(number) if (0.0..18_446_744_073_709_551_616.0).contains(number) => Some(*number as u64),
        Value::Double(_) => None,
        Value::Text(text) => text.parse().ok(),
        _ => return None,
    };
    Some(number.map(Value::Uint).ok_or_else(|| conversion("uint")))
}

#[expect(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
fn to_double(args: &[Value]) -> Applied {
    let number = match &args[0] {
        Value::Double(number) => Some(*number),
        Value::Int(number) => Some(*number as f64),
        Value::Uint(number) => Some(*number as f64),
        Value::Text(text) => text.parse().ok(),
        _ => return None,
    };
    Some(number.map(Value::Double).ok_or_else(|| conversion("double")))
}

fn to_text(args: &[Value]) -> Applied {
    match &args[0] {
        Value::Null | Value::List(_) | Value::Map(_) | Value::Zone(_) | Value::Kind(_) => None,
        value => Some(Ok(Value::Text(format::shown(value)))),
    }
}

fn to_bool(args: &[Value]) -> Applied {
    let truth = match &args[0] {
        Value::Bool(truth) => Some(*truth),
        Value::Text(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        },
        _ => return None,
    };
    Some(truth.map(Value::Bool).ok_or_else(|| conversion("bool")))
}

fn to_bytes(args: &[Value]) -> Applied {
    Some(Ok(Value::Bytes(match &args[0] {
        Value::Bytes(bytes) => bytes.clone(),
        Value::Text(text) => text.clone().into_bytes(),
        _ => return None,
    })))
}

fn text(args: &[Value], f: impl Fn(&str) -> String) -> Applied {
    match args {
        [Value::Text(text)] => Some(Ok(Value::Text(f(text)))),
        _ => None,
    }
}

fn texts(args: &[Value], f: impl Fn(&str, &str) -> bool) -> Applied {
    match args {
        [Value::Text(a), Value::Text(b)] => Some(Ok(Value::Bool(f(a, b)))),
        _ => None,
    }
}

fn reverse(args: &[Value]) -> Applied {
    match args {
        [Value::Text(text)] => Some(Ok(Value::Text(text.chars().rev().collect()))),
        [Value::List(items)] => Some(Ok(Value::List(items.iter().rev().cloned().collect()))),
        _ => None,
    }
}

fn out_of_range(index: i64) -> EvalError {
    EvalError::new(format!("index out of range: {index}"))
}

/// An index up to a length, or an error.
fn index(index: i64, len: usize) -> Result<usize, EvalError> {
    usize::try_from(index).ok().filter(|at| *at <= len).ok_or_else(|| out_of_range(index))
}

fn char_at(args: &[Value]) -> Applied {
    let [Value::Text(text), Value::Int(at)] = args else { return None };
    let chars: Vec<char> = text.chars().collect();
    // Just behind the end there is an empty text.
    Some(
        index(*at, chars.len()).map(|at| Value::Text(chars.get(at).map(char::to_string).unwrap_or_default())),
    )
}

fn index_of(args: &[Value], last: bool) -> Applied {
    let (text, part, from) = match args {
        [Value::Text(text), Value::Text(part)] => (text, part, None),
        [Value::Text(text), Value::Text(part), Value::Int(from)] => (text, part, Some(*from)),
        _ => return None,
    };
    let (text, part): (Vec<char>, Vec<char>) = (text.chars().collect(), part.chars().collect());
    let from = match from.map(|from| index(from, text.len())).transpose() {
        Ok(from) => from,
        Err(error) => return Some(Err(error)),
    };
    let starts = |at: &usize| text[*at..].starts_with(&part);
    let found = match (last, from) {
        (false, from) => (from.unwrap_or(0)..=text.len()).find(starts),
        (true, from) => (0..=from.unwrap_or(text.len())).rev().find(starts),
    };
    Some(Ok(found.map_or(Value::Int(-1), int)))
}

fn substring(args: &[Value]) -> Applied {
    let (text, start, end) = match args {
        [Value::Text(text), Value::Int(start)] => (text, *start, None),
        [Value::Text(text), Value::Int(start), Value::Int(end)] => (text, *start, Some(*end)),
        _ => return None,
    };
    let chars: Vec<char> = text.chars().collect();
    let range = || {
        let start_at = index(start, chars.len())?;
        let end_at = end.map_or(Ok(chars.len()), |end| index(end, chars.len()))?;
        chars.get(start_at..end_at).ok_or_else(|| out_of_range(start))
    };
    Some(range().map(|part| Value::Text(part.iter().collect())))
}

fn replace(args: &[Value]) -> Applied {
    let (text, from, to, limit) = match args {
        [Value::Text(text), Value::Text(from), Value::Text(to)] => (text, from, to, -1),
        [Value::Text(text), Value::Text(from), Value::Text(to), Value::Int(limit)] => {
            (text, from, to, *limit)
        }
        _ => return None,
    };
    // A negative limit is none.
    Some(Ok(Value::Text(match usize::try_from(limit) {
        Ok(limit) => text.replacen(from.as_str(), to, limit),
        Err(_) => text.replace(from.as_str(), to),
    })))
}

fn split(args: &[Value]) -> Applied {
    let (text, separator, limit) = match args {
        [Value::Text(text), Value::Text(separator)] => (text, separator, -1),
        [Value::Text(text), Value::Text(separator), Value::Int(limit)] => (text, separator, *limit),
        _ => return None,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let parts: Vec<String> = if separator.is_empty() {
        text.chars().map(String::from).collect()
    } else {
        text.splitn(limit, separator.as_str()).map(str::to_owned).collect()
    };
    Some(Ok(Value::List(parts.into_iter().take(limit).map(Value::Text).collect())))
}

fn join(args: &[Value]) -> Applied {
    let (items, separator) = match args {
        [Value::List(items)] => (items, ""),
        [Value::List(items), Value::Text(separator)] => (items, separator.as_str()),
        _ => return None,
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        let Value::Text(text) = item else { return None };
        texts.push(text.as_str());
    }
    Some(Ok(Value::Text(texts.join(separator))))
}

fn slice(args: &[Value]) -> Applied {
    let [Value::List(items), Value::Int(start), Value::Int(end)] = args else { return None };
    let range = || {
        let (start_at, end_at) = (index(*start, items.len())?, index(*end, items.len())?);
        items.get(start_at..end_at).ok_or_else(|| out_of_range(*start))
    };
    Some(range().map(|part| Value::List(part.to_vec())))
}
