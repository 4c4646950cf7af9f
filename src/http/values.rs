//! What handlers leave in an exchange for placeholders: named values.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Exchange;

/// A value of a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text; bytes, because header values need not be UTF-8.
    Text(Cow<'static, [u8]>),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Several values.
    List(Arc<[Value]>),
}

impl Value {
    /// The value as placeholders print it.
    pub fn to_text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Int(number) => Cow::Owned(number.to_string().into_bytes()),
            Self::Float(number) => Cow::Owned(number.to_string().into_bytes()),
            Self::Bool(truth) => Cow::Borrowed(if *truth { b"true" } else { b"false" }),
            // As Go prints a slice.
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::to_text).collect();
                Cow::Owned([b"[", &*items.join(&b" "[..]), b"]"].concat())
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Cow::Owned(text.as_bytes().to_vec()))
    }
}

/// A request's named values. Few are set per request, so a scanned list beats a hash map.
#[derive(Debug, Default)]
pub struct Vars(SmallVec<[(Cow<'static, str>, Value); 2]>);

impl Vars {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Sets `name`, whether or not it had a value.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: Value) {
        let name = name.into();
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Forgets `name`.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }
}

/// Placeholders whose values are worked out when they are used (`map`).
pub trait NamedSource: Send + Sync {
    /// The value of `name`; `None` if it is none of this source's.
    fn value<'a>(&'a self, name: &str, x: &'a Exchange) -> Option<Cow<'a, [u8]>>;
}
