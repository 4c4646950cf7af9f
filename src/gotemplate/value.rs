//! What templates reckon with.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Error, format};

/// Keys with their values, in the order of the keys.
pub type Map = BTreeMap<String, Value>;

/// What a map takes before it has many entries: room for eleven.
const MAP_BYTES: usize = 12 * size_of::<(String, Value)>();

/// A value.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Nothing: Go's nil, and what a map does not have.
    #[default]
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text, which need not be UTF-8.
    Str(Rc<[u8]>),
    /// Several values.
    List(Rc<Vec<Value>>),
    /// Keys and values; a function may change it.
    Map(Rc<RefCell<Map>>),
    /// Something of the host's.
    Object(Rc<dyn Object>),
}

/// Something that only the host knows, with fields and methods.
pub trait Object: std::fmt::Debug {
    /// Its type, as Go calls it.
    fn type_name(&self) -> &'static str;

    /// The value of a field, or of a method with these arguments; `None` if there is none of that name.
    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>>;

    /// The list or map that it can be used as.
    fn as_plain(&self) -> Option<Value> {
        None
    }

    /// The value of the template's that it holds.
    fn holds(&self) -> Option<&Value> {
        None
    }

    /// How it is printed.
    fn text(&self) -> String {
        match self.as_plain() {
            Some(value) => value.text().into_owned(),
            None => String::new(),
        }
    }

    /// Itself, for functions of the host that know what it is.
    fn as_any(&self) -> &dyn std::any::Any;
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.as_bytes().into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text.into_bytes().into())
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::List(Rc::new(items))
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(Rc::new(RefCell::new(map)))
    }
}

impl Value {
    /// Text of these bytes.
    pub fn bytes(bytes: impl Into<Rc<[u8]>>) -> Self {
        Self::Str(bytes.into())
    }

    /// How Go prints it (`%v`).
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Str(bytes) => String::from_utf8_lossy(bytes),
            other => Cow::Owned(String::from_utf8_lossy(&format::plain(other)).into_owned()),
        }
    }

    /// Whether it counts as true.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(truth) => *truth,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.borrow().is_empty(),
            Self::Object(object) => object.as_plain().is_none_or(|plain| plain.is_true()),
        }
    }

    /// The name of its type, as Go calls it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Object(object) => object.type_name(),
        }
    }

    /// How many items, keys or bytes it has.
    pub fn length(&self) -> Option<usize> {
        match self {
            Self::Str(text) => Some(text.len()),
            Self::List(items) => Some(items.len()),
            Self::Map(map) => Some(map.borrow().len()),
            Self::Object(object) => object.as_plain()?.length(),
            _ => None,
        }
    }

    /// The bytes that it takes by itself.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Str(text) => text.len(),
            Self::List(items) => items.len() * size_of::<Value>(),
            Self::Map(map) => {
                let entry = |key: &String| key.len() + size_of::<(String, Value)>();
                MAP_BYTES + map.borrow().keys().map(entry).sum::<usize>()
            }
            _ => 0,
        }
    }

    /// Whether both are the same all through.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nil, Self::Nil) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Int(one), Self::Int(other)) => one == other,
            (Self::Float(one), Self::Float(other)) => one == other,
            (Self::Str(one), Self::Str(other)) => one == other,
            (Self::List(one), Self::List(other)) => {
                one.len() == other.len() && one.iter().zip(other.iter()).all(|(one, other)| one.same(other))
            }
            (Self::Map(one), Self::Map(other)) => {
                let (one, other) = (one.borrow(), other.borrow());
                let equal =
                    |((key, value), (other_key, other_value)): ((&String, &Value), (&String, &Value))| {
                        key == other_key && value.same(other_value)
                    };
                one.len() == other.len() && one.iter().zip(other.iter()).all(equal)
            }
            _ => false,
        }
    }
}
