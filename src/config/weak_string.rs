//! Text that is a number or a boolean in JSON where it looks like one.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Text that stands in JSON as an integer or a boolean if it looks like one, such as a status that may also hold a
/// placeholder. Read from any JSON value; `null` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeakString(pub String);

impl WeakString {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for WeakString {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for WeakString {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Serialize for WeakString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_str() {
            "true" => serializer.serialize_bool(true),
            "false" => serializer.serialize_bool(false),
            text => match text.parse::<i64>() {
                Ok(number) => serializer.serialize_i64(number),
                Err(_) => serializer.serialize_str(text),
            },
        }
    }
}

impl<'de> Deserialize<'de> for WeakString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        }))
    }
}

impl JsonSchema for WeakString {
    fn schema_name() -> Cow<'static, str> {
        "WeakString".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"type": ["string", "number", "boolean"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_booleans_stand_for_themselves() {
        let json = |text: &str| serde_json::to_string(&WeakString::from(text)).unwrap();
        assert_eq!(json("404"), "404");
        assert_eq!(json("007"), "7");
        assert_eq!(json("true"), "true");
        assert_eq!(json("{http.error.status_code}"), "\"{http.error.status_code}\"");
    }

    #[test]
    fn any_value_is_text() {
        let text = |json: &str| serde_json::from_str::<WeakString>(json).unwrap().0;
        assert_eq!(text("404"), "404");
        assert_eq!(text("\"404\""), "404");
        assert_eq!(text("false"), "false");
        assert_eq!(text("null"), "");
    }
}
