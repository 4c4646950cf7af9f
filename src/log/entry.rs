//! Entries and their fields. Fields are not gathered but visited, so that an entry is encoded without
//! a copy of what it says, and a filter only stands in between.

use std::time::{Duration, SystemTime};

use super::Level;

/// One entry on its way to an encoder.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// How grave it is.
    pub level: Level,
    /// When it happened.
    pub time: SystemTime,
    /// The name of the logger; empty for the process's own messages that belong nowhere else.
    pub logger: &'a str,
    /// Where in the program it comes from, as `file:line`, if that is known.
    pub caller: Option<&'a str>,
    /// What happened.
    pub message: &'a str,
    /// All else.
    pub fields: &'a dyn Fields,
}

/// A list of fields.
pub trait Fields {
    /// Shows each field to `visitor`, in order.
    fn visit(&self, visitor: &mut dyn Visitor);
}

/// Someone who looks at fields: an encoder, or a filter before one.
pub trait Visitor {
    /// Takes one field.
    fn field(&mut self, key: &str, value: Value<'_>);
}

/// The value of a field.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// Text. What is not UTF-8 in it is encoded as U+FFFD.
    Text(&'a [u8]),
    /// A list of texts, such as the values of a header.
    Texts(&'a [&'a [u8]]),
    /// A whole number.
    Int(i64),
    /// A whole number that is not negative.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A span of time, in the encoder's `duration_format`.
    Duration(Duration),
    /// Fields of its own.
    Object(&'a dyn Fields),
    /// Anything that was written as JSON in the configuration.
    Json(&'a serde_json::Value),
}

impl<'a> Value<'a> {
    /// A text.
    pub fn text(text: &'a str) -> Self {
        Self::Text(text.as_bytes())
    }
}

/// No fields.
impl Fields for () {
    fn visit(&self, _: &mut dyn Visitor) {}
}

/// Fields made on the spot: `&[("file", Value::text(path))]`.
impl Fields for [(&str, Value<'_>)] {
    fn visit(&self, visitor: &mut dyn Visitor) {
        for (key, value) in self {
            visitor.field(key, *value);
        }
    }
}

impl<const N: usize> Fields for [(&str, Value<'_>); N] {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.as_slice().visit(visitor);
    }
}

/// An entry that outlives the call that made it: one that waits until it is known where it goes.
#[derive(Debug)]
pub struct OwnedEntry {
    /// See [`Entry::level`].
    pub level: Level,
    /// See [`Entry::time`].
    pub time: SystemTime,
    /// See [`Entry::logger`].
    pub logger: String,
    /// See [`Entry::caller`].
    pub caller: Option<String>,
    /// See [`Entry::message`].
    pub message: String,
    /// See [`Entry::fields`].
    pub fields: Vec<(&'static str, OwnedValue)>,
}

/// A [`Value`] of an [`OwnedEntry`].
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A whole number that is not negative.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

impl OwnedEntry {
    /// The entry as encoders take it.
    pub fn as_entry(&self) -> Entry<'_> {
        Entry {
            level: self.level,
            time: self.time,
            logger: &self.logger,
            caller: self.caller.as_deref(),
            message: &self.message,
            fields: &self.fields,
        }
    }
}

impl Fields for Vec<(&'static str, OwnedValue)> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        for (key, value) in self {
            visitor.field(
                key,
                match value {
                    OwnedValue::Text(text) => Value::text(text),
                    OwnedValue::Int(number) => Value::Int(*number),
                    OwnedValue::Uint(number) => Value::Uint(*number),
                    OwnedValue::Float(number) => Value::Float(*number),
                    OwnedValue::Bool(truth) => Value::Bool(*truth),
                },
            );
        }
    }
}
