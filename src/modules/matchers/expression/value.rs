//! Values of expressions, and what can be done with them.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::eval::EvalError;
use super::times;
use crate::config::Duration;
use crate::http;

/// No text or list that is put together is longer.
const LENGTH_MAX: usize = 1 << 24;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Time(Timestamp),
    Span(Duration),
    /// A time zone, which only stands where one is asked for.
    Zone(TimeZone),
    /// A type, by its name.
    Kind(&'static str),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl From<Option<http::Value>> for Value {
    fn from(value: Option<http::Value>) -> Self {
        match value {
            None => Self::Null,
            Some(http::Value::Text(text)) => Self::Text(http::target::lossy(&text).into_owned()),
            Some(http::Value::Int(number)) => Self::Int(number),
            Some(http::Value::Float(number)) => Self::Double(number),
            Some(http::Value::Bool(truth)) => Self::Bool(truth),
            Some(http::Value::List(items)) => {
                Self::List(items.iter().map(|item| Self::from(Some(item.clone()))).collect())
            }
        }
    }
}

impl Value {
    /// The type's name, as errors show it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Time(_) => "google.protobuf.Timestamp",
            Self::Span(_) => "google.protobuf.Duration",
            Self::Zone(_) => "zone",
            Self::Kind(_) => "type",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// Whether both are the same. Numbers are compared by what they count, whatever their types; values
    /// of other types that differ are not the same.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b)),
            (Self::Map(a), Self::Map(b)) => {
                let same =
                    |(key, value): &(Self, Self)| other.get(key).is_some_and(|other| value.equals(other));
                a.len() == b.len() && a.iter().all(same)
            }
            // One of them may be a key.
            (Self::Text(a), Self::Text(b)) => http::constant_time::equal(a.as_bytes(), b.as_bytes()),
            (Self::Bytes(a), Self::Bytes(b)) => http::constant_time::equal(a, b),
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Null, Self::Null) => true,
            (Self::Kind(a), Self::Kind(b)) => a == b,
            (Self::Time(a), Self::Time(b)) => a == b,
            (Self::Span(a), Self::Span(b)) => a == b,
            _ => self.compare_numbers(other) == Some(Ordering::Equal),
        }
    }

    /// The entry of a map.
    pub(super) fn get(&self, key: &Self) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name.equals(key)).map(|(_, value)| value)
    }

    /// Which comes first, if that can be said.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Span(a), Self::Span(b)) => Some(a.cmp(b)),
            _ => self.compare_numbers(other),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a double is compared with the nearest double, as in cel-go"
    )]
    fn compare_numbers(&self, other: &Self) -> Option<Ordering> {
        let whole = |value: &Self| match value {
            Self::Int(number) => Some(i128::from(*number)),
            Self::Uint(number) => Some(i128::from(*number)),
            _ => None,
        };
        if let (Some(a), Some(b)) = (whole(self), whole(other)) {
            return Some(a.cmp(&b));
        }
        let double = |value: &Self| match value {
            Self::Double(number) => Some(*number),
            other => whole(other).map(|number| number as f64),
        };
        double(self)?.partial_cmp(&double(other)?)
    }

    /// How long a text or list is.
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(items) => items.len(),
            _ => 0,
        }
    }

    /// What an arithmetic operator makes of both.
    pub(super) fn arithmetic(&self, operator: &str, other: &Self) -> Result<Self, EvalError> {
        let overflow = || EvalError::new("integer overflow");
        if let Some(moved) = times::arithmetic(operator, self, other) {
            return moved;
        }
        if self.len().saturating_add(other.len()) > LENGTH_MAX {
            return Err(EvalError::new("the result is too long"));
        }
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => {
                let result = match operator {
                    "+" => a.checked_add(*b),
                    "-" => a.checked_sub(*b),
                    "*" => a.checked_mul(*b),
                    "/" | "%" if *b == 0 => return Err(EvalError::new("division by zero")),
                    "/" => a.checked_div(*b),
                    _ => a.checked_rem(*b),
                };
                result.map(Self::Int).ok_or_else(overflow)
            }
            (Self::Uint(a), Self::Uint(b)) => {
                let result = match operator {
                    "+" => a.checked_add(*b),
                    "-" => a.checked_sub(*b),
                    "*" => a.checked_mul(*b),
                    "/" | "%" if *b == 0 => return Err(EvalError::new("division by zero")),
                    "/" => a.checked_div(*b),
                    _ => a.checked_rem(*b),
                };
                result.map(Self::Uint).ok_or_else(overflow)
            }
            (Self::Double(a), Self::Double(b)) if operator != "%" => Ok(Self::Double(match operator {
                "+" => a + b,
                "-" => a - b,
                "*" => a * b,
                _ => a / b,
            })),
            (Self::Text(a), Self::Text(b)) if operator == "+" => Ok(Self::Text(format!("{a}{b}"))),
            (Self::Bytes(a), Self::Bytes(b)) if operator == "+" => Ok(Self::Bytes([&**a, &**b].concat())),
            (Self::List(a), Self::List(b)) if operator == "+" => Ok(Self::List([&**a, &**b].concat())),
            _ => Err(EvalError::new("no such overload")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_by_what_they_count() {
        assert!(Value::Int(1).equals(&Value::Double(1.0)));
        assert!(Value::Uint(1).equals(&Value::Int(1)));
        assert!(!Value::Int(1).equals(&Value::Text("1".into())));
        assert!(!Value::Double(f64::NAN).equals(&Value::Double(f64::NAN)));
        assert_eq!(Value::Int(-1).compare(&Value::Uint(u64::MAX)), Some(Ordering::Less));
        assert_eq!(Value::Int(1).compare(&Value::Text("1".into())), None);
    }

    #[test]
    fn arithmetic_has_its_limits() {
        let error = |value: Result<Value, EvalError>| value.unwrap_err().to_string();
        assert_eq!(error(Value::Int(i64::MAX).arithmetic("+", &Value::Int(1))), "integer overflow");
        assert_eq!(error(Value::Int(1).arithmetic("%", &Value::Int(0))), "division by zero");
        assert_eq!(error(Value::Int(1).arithmetic("+", &Value::Text("1".into()))), "no such overload");
        assert_eq!(Value::Int(-7).arithmetic("%", &Value::Int(3)).unwrap(), Value::Int(-1));
    }
}
