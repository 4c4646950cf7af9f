//! A module's configuration before its module is known.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::decode::{Misfit, decode};

/// One module's JSON object, with its inline tag (such as `"handler": "static_response"`) still
/// among the fields and the order of the fields kept.
///
/// `config` knows no module, so the object stays as it was written until provisioning decodes it
/// strictly into the module's own type, see [`ModuleJson::decode`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModuleJson(pub Map<String, Value>);

/// Why a module's JSON was refused.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The tag that names the module is absent or no string.
    #[error("module name not specified with key '{tag}'")]
    Untagged {
        /// The tag's key, `handler` for instance.
        tag: &'static str,
    },
    /// The object does not fit the module's type: an unknown field or a wrong value.
    #[error("decoding module config: {module}: {source}")]
    Decode {
        /// The module's name.
        module: String,
        /// What does not fit, and where in the object.
        source: Misfit,
    },
}

impl ModuleJson {
    /// The object of `value`'s fields with `tag: name` among them, keys in order as Caddy prints them.
    ///
    /// # Panics
    /// Never for module types: a module's own type serialises to an object with string keys.
    pub fn new(tag: &'static str, name: &str, value: &impl Serialize) -> Self {
        let mut map = Map::new();
        map.insert(tag.to_owned(), Value::String(name.to_owned()));
        match serde_json::to_value(value) {
            Ok(Value::Object(fields)) => map.extend(fields),
            Ok(Value::Null) => {}
            other => unreachable!("invariant: a module's type serialises to an object, not {other:?}"),
        }
        match super::sort_keys(Value::Object(map)) {
            Value::Object(sorted) => Self(sorted),
            _ => unreachable!("invariant: sorting keeps an object an object"),
        }
    }

    /// The module's name, which stands under `tag`.
    ///
    /// # Errors
    /// [`ModuleError::Untagged`] if there is none.
    pub fn name(&self, tag: &'static str) -> Result<&str, ModuleError> {
        self.0.get(tag).and_then(Value::as_str).ok_or(ModuleError::Untagged { tag })
    }

    /// Decodes all fields but `tag` into the module's own type, which should deny unknown fields.
    ///
    /// # Errors
    /// [`ModuleError`] that names the module and the path of the field that does not fit.
    pub fn decode<T: DeserializeOwned>(&self, tag: &'static str) -> Result<T, ModuleError> {
        let module = self.name(tag)?.to_owned();
        let mut fields = self.0.clone();
        fields.shift_remove(tag);
        decode_value(&module, Value::Object(fields))
    }
}

/// Decodes `value` for `module`, with the path of what does not fit in the error.
pub(crate) fn decode_value<T: DeserializeOwned>(module: &str, value: Value) -> Result<T, ModuleError> {
    decode(value).map_err(|source| ModuleError::Decode { module: module.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        body: String,
    }

    #[test]
    fn keys_are_sorted_and_decode_back() {
        let json = ModuleJson::new("handler", "example", &Example { body: "b".into() });
        assert_eq!(serde_json::to_string(&json).unwrap(), r#"{"body":"b","handler":"example"}"#);
        assert_eq!(json.name("handler").unwrap(), "example");
        assert_eq!(json.decode::<Example>("handler").unwrap(), Example { body: "b".into() });
    }

    #[test]
    fn unknown_field_is_named() {
        let json: ModuleJson =
            serde_json::from_str(r#"{"handler":"example","body":"b","colour":1}"#).unwrap();
        let error = json.decode::<Example>("handler").unwrap_err().to_string();
        assert!(error.contains("example") && error.contains("colour"), "{error}");
    }

    #[test]
    fn missing_tag_is_an_error() {
        let error = ModuleJson::default().name("handler").unwrap_err().to_string();
        assert_eq!(error, "module name not specified with key 'handler'");
    }
}
