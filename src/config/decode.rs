//! Decoding JSON as Go does it where Caddy's users rely on that, and strictly everywhere else.
//!
//! An array is no object, though serde would take it for one. `null` leaves a field as it is. The names of fields
//! count without their case. What does not fit is told in the words of Go's `encoding/json`.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Value};

/// Why a value does not fit its type.
#[derive(Debug)]
pub struct Misfit {
    path: String,
    error: Error,
}

impl Misfit {
    /// Where in the document, in dotted form; empty if it is the whole.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl std::error::Error for Misfit {}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&in_words_of_go(&self.error.to_string()))
    }
}

/// Decodes a value.
///
/// # Errors
/// The first thing that does not fit, with its path.
pub fn decode<T: DeserializeOwned>(value: Value) -> Result<T, Misfit> {
    serde_path_to_error::deserialize(Strict(value)).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        // An unknown field is told of by the object that it is in.
        let path = match unknown_field(&error.to_string()) {
            Some((field, _)) if path == field => String::new(),
            Some((field, _)) => path.strip_suffix(&format!(".{field}")).unwrap_or(&path).to_owned(),
            None => path,
        };
        Misfit { path: if path == "." { String::new() } else { path }, error }
    })
}

/// The unknown field that a message of serde is about, and the names that it could be.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let (field, rest) = message.strip_prefix("unknown field `")?.split_once('`')?;
    Some((field, rest.split('`').skip(1).step_by(2).collect()))
}

/// serde's message as Go would put it.
fn in_words_of_go(message: &str) -> String {
    if let Some((field, names)) = unknown_field(message) {
        let near = tollgate_grammar::nearest(field, names);
        let near = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
        return format!("json: unknown field \"{field}\"{near}");
    }
    let misfit = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    if let Some((found, wanted)) = misfit.and_then(|rest| rest.rsplit_once(", expected ")) {
        let wanted = match wanted {
            "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
            "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
            "f32" | "f64" => "a number",
            "a sequence" => "an array",
            "a map" => "an object",
            wanted if wanted.starts_with("struct ") => "an object",
            wanted => wanted,
        };
        let found = match found.split(' ').next() {
            Some("integer" | "floating") => {
                found.replacen("integer", "number", 1).replacen("floating point", "number", 1)
            }
            Some("sequence") => "array".to_owned(),
            Some("map") => "object".to_owned(),
            Some("boolean") => found.replacen("boolean", "bool", 1),
            _ => found.to_owned(),
        };
        return format!("json: cannot unmarshal {} into {wanted}", found.replace('`', ""));
    }
    message.to_owned()
}

/// A value that is read strictly, with all that is in it.
struct Strict(Value);

impl<'de> IntoDeserializer<'de, Error> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn unfit<'de, V: Visitor<'de>>(found: Unexpected<'_>, visitor: &V) -> Error {
    serde::de::Error::invalid_type(found, visitor)
}

fn visit_object<'de, V: Visitor<'de>>(object: Map<String, Value>, visitor: V) -> Result<V::Value, Error> {
    let fields = object.into_iter().map(|(name, value)| (name, Strict(value)));
    let mut map = MapDeserializer::new(fields);
    let value = visitor.visit_map(&mut map)?;
    map.end()?;
    Ok(value)
}

fn visit_array<'de, V: Visitor<'de>>(array: Vec<Value>, visitor: V) -> Result<V::Value, Error> {
    let mut items = SeqDeserializer::new(array.into_iter().map(Strict));
    let value = visitor.visit_seq(&mut items)?;
    items.end()?;
    Ok(value)
}

/// Numbers, texts and the like: `null` is their zero value.
macro_rules! zero_if_null {
    ($($method:ident $visit:ident $zero:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            if self.0.is_null() { visitor.$visit($zero) } else { self.0.$method(visitor) }
        }
    )*};
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(array) => visit_array(array, visitor),
            Value::Object(object) => visit_object(object, visitor),
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Value::Object(object) = self.0 else { return self.deserialize_map(visitor) };
        let named = |name: String| match fields.iter().find(|field| field.eq_ignore_ascii_case(&name)) {
            Some(field) if !fields.contains(&name.as_str()) => (*field).to_owned(),
            _ => name,
        };
        visit_object(object.into_iter().map(|(name, value)| (named(name), value)).collect(), visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(object) => visit_object(object, visitor),
            Value::Null => visit_object(Map::new(), visitor),
            Value::Array(_) => Err(unfit(Unexpected::Seq, &visitor)),
            scalar => scalar.deserialize_map(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(array) => visit_array(array, visitor),
            Value::Null => visit_array(Vec::new(), visitor),
            other => other.deserialize_seq(visitor),
        }
    }

    zero_if_null! {
        deserialize_bool visit_bool false;
        deserialize_i8 visit_i8 0;
        deserialize_i16 visit_i16 0;
        deserialize_i32 visit_i32 0;
        deserialize_i64 visit_i64 0;
        deserialize_u8 visit_u8 0;
        deserialize_u16 visit_u16 0;
        deserialize_u32 visit_u32 0;
        deserialize_u64 visit_u64 0;
        deserialize_f32 visit_f32 0.0;
        deserialize_f64 visit_f64 0.0;
        deserialize_str visit_str "";
        deserialize_string visit_str "";
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Outer {
        inner: Inner,
        list: Vec<Inner>,
        maybe: Option<Inner>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        count: u16,
        text: String,
        on: bool,
    }

    fn refused(value: Value) -> String {
        decode::<Outer>(value).unwrap_err().to_string()
    }

    #[test]
    fn unknown_fields_are_named_with_their_path_and_the_nearest_name() {
        assert_eq!(
            refused(json!({"inner": {"cuont": 1}})),
            "inner: json: unknown field \"cuont\"; did you mean \"count\"?"
        );
        assert_eq!(refused(json!({"list": [{}, {"zzzzz": 1}]})), "list[1]: json: unknown field \"zzzzz\"");
        assert_eq!(refused(json!({"innner": {}})), "json: unknown field \"innner\"; did you mean \"inner\"?");
    }

    #[test]
    fn wrong_types_are_named_with_their_path() {
        for (value, error) in [
            (
                json!({"inner": {"count": "1"}}),
                "inner.count: json: cannot unmarshal string \"1\" into a whole number that is not negative",
            ),
            (
                json!({"inner": {"count": -1}}),
                "inner.count: json: cannot unmarshal number -1 into a whole number that is not negative",
            ),
            (
                json!({"inner": {"count": 1.5}}),
                "inner.count: json: cannot unmarshal number 1.5 into a whole number that is not negative",
            ),
            (json!({"inner": []}), "inner: json: cannot unmarshal array into an object"),
            (json!({"inner": [1, "x", true]}), "inner: json: cannot unmarshal array into an object"),
            (json!({"list": {}}), "list: json: cannot unmarshal object into an array"),
            (json!({"inner": {"on": 1}}), "inner.on: json: cannot unmarshal number 1 into a boolean"),
            (json!([]), "json: cannot unmarshal array into an object"),
            (json!("x"), "json: cannot unmarshal string \"x\" into an object"),
        ] {
            assert_eq!(refused(value), error);
        }
    }

    #[test]
    fn null_leaves_a_field_as_it_is() {
        let value = json!({"inner": {"count": null, "text": null, "on": null}, "list": null, "maybe": null});
        assert_eq!(decode::<Outer>(value).unwrap(), Outer::default());
        assert_eq!(decode::<Outer>(Value::Null).unwrap(), Outer::default());
    }

    #[test]
    fn the_case_of_a_field_does_not_count() {
        let outer: Outer = decode(json!({"Inner": {"COUNT": 3}})).unwrap();
        assert_eq!(outer.inner.count, 3);
    }
}
