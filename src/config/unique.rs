//! Reading JSON in which each name of an object stands once.
//!
//! How deep it is nested is looked at before it is read, since what is read, decoded, provisioned and dropped goes down
//! by recursion. Of a name that stands twice, readers take one or the other. What a reviewer reads must be what runs.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Number, Value};

/// How deep a configuration's JSON may be nested. A Caddyfile's 100 blocks inside one another make some 600.
pub const DEPTH_MAX: usize = 1000;

/// Reads a JSON text.
///
/// # Errors
/// It is no JSON, is nested too deeply, has a number that is too large, or names something twice.
pub fn parse_json(text: &[u8]) -> Result<Value, Error> {
    if let Some(at) = too_deep(text) {
        let line = text[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = text[..at].iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        let place = format!("line {line} column {column}");
        return Err(Error::custom(format!(
            "more than {DEPTH_MAX} objects and arrays inside one another at {place}"
        )));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    deserializer.disable_recursion_limit();
    let value = Unique.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Where a text is nested deeper than may be. In what is no JSON brackets are counted as far as they go.
fn too_deep(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Some(at);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some((_, inside)) = bytes.next() {
                    match inside {
                        b'"' => break,
                        b'\\' => _ = bytes.next(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    None
}

/// Reads any value, and refuses names that stand twice.
#[derive(Clone, Copy)]
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format!("the name {name:?} stands twice in an object")));
            }
            let value = entries.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse_json(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_read_is_what_stands_there() {
        let text = r#"{"b":[1,-2,3.5,"x",true,null,{}],"a":{"b":18446744073709551615}}"#;
        assert_eq!(parse_json(text.as_bytes()).unwrap().to_string(), text);
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_with_its_place() {
        assert_eq!(
            refused(r#"{"a":{"b":1,"b":2}}"#),
            "the name \"b\" stands twice in an object at line 1 column 15"
        );
        assert!(parse_json(br#"[{"a":1},{"a":2}]"#).is_ok());
    }

    #[test]
    fn deep_nesting_and_huge_numbers_are_refused() {
        let deep = |count: usize| format!("{}{}", "[".repeat(count), "]".repeat(count));
        // Whoever reads has a stack that is large enough, see `cli`.
        let read = move || parse_json(deep(DEPTH_MAX).as_bytes()).is_ok();
        let thread = std::thread::Builder::new().stack_size(16 << 20).spawn(read);
        assert!(thread.unwrap().join().unwrap());
        let error = "more than 1000 objects and arrays inside one another at line 1 column 1001";
        assert_eq!(refused(&deep(DEPTH_MAX + 1)), error);
        assert_eq!(refused(&"[".repeat(1_000_000)), error);
        assert!(refused(&r#"{"a":"#.repeat(2000)).starts_with("more than 1000 "));
        // Brackets in texts are none, nor does a text end at a quote that is escaped.
        let text = format!(r#"["\\\"{}"]"#, "[".repeat(2000));
        assert!(parse_json(text.as_bytes()).is_ok());
        assert!(refused("1e999").contains("number out of range"));
        assert!(refused(&"9".repeat(5000)).contains("number out of range"));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["{} x", "{}{}", "{ // x\n}", " ", "\u{feff}{}", r#"{"a":"\ud800"}"#, "{\"a\":1,}", "nul"]
        {
            assert!(parse_json(text.as_bytes()).is_err(), "{text}");
        }
    }
}
