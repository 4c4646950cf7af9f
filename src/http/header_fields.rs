//! Header fields as something that can be changed, whether in a map or laid over one.

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::header_value;

/// Header fields that can be changed. A map of them is one kind; a proxy may lay its changes over a
/// map that stays as it is.
pub trait Fields<'a> {
    /// All names that there are.
    fn names(&self) -> Vec<HeaderName>;
    /// All values of a field.
    fn values(&self, name: &HeaderName) -> Vec<Vec<u8>>;
    /// Takes the field away.
    fn remove(&mut self, name: &HeaderName);
    /// Gives the field this one value.
    fn set(&mut self, name: HeaderName, value: FieldValue<'a>);
    /// Adds a value behind those that the field has.
    fn append(&mut self, name: HeaderName, value: FieldValue<'a>);
}

/// The value that a change gives to a field.
#[derive(Debug, Clone)]
pub enum FieldValue<'a> {
    /// One that is the same for every request.
    Fixed(&'a HeaderValue),
    /// One for this request.
    Text(Cow<'a, [u8]>),
}

impl<'a> FieldValue<'a> {
    /// Its bytes. They may hold control characters if they came from a placeholder.
    pub fn into_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Self::Fixed(value) => Cow::Borrowed(value.as_bytes()),
            Self::Text(text) => text,
        }
    }

    /// The value, made fit for a header field, see [`header_value`].
    pub fn into_header_value(self) -> HeaderValue {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(text) => header_value(&text),
        }
    }
}

impl<'a> Fields<'a> for HeaderMap {
    fn names(&self) -> Vec<HeaderName> {
        self.keys().cloned().collect()
    }

    fn values(&self, name: &HeaderName) -> Vec<Vec<u8>> {
        self.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
    }

    fn remove(&mut self, name: &HeaderName) {
        HeaderMap::remove(self, name);
    }

    fn set(&mut self, name: HeaderName, value: FieldValue<'a>) {
        self.insert(name, value.into_header_value());
    }

    fn append(&mut self, name: HeaderName, value: FieldValue<'a>) {
        HeaderMap::append(self, name, value.into_header_value());
    }
}
