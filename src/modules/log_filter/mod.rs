//! Field filters: what can stand behind a field's name in `format filter`.

mod action;
mod cookie;
mod delete;
mod hash;
mod ip_mask;
mod query;
mod regexp;
mod rename;
mod replace;
mod set_cookie;

use crate::log::{Value, Visitor};
use crate::module::Module;

pub(super) use regexp::merge as merge_regexps;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[
    &cookie::MODULE,
    &delete::MODULE,
    &hash::MODULE,
    &ip_mask::MODULE,
    &query::MODULE,
    &regexp::MODULE,
    &rename::MODULE,
    &replace::MODULE,
    &set_cookie::MODULE,
];

/// Caddy's namespace of these modules.
pub(super) const NAMESPACE: &str = "caddy.logging.encoders.filter";

/// Shows `next` a field whose texts went through `change`. What is no text stays as it is.
fn change_texts(key: &str, value: Value<'_>, next: &mut dyn Visitor, change: impl Fn(&[u8]) -> Vec<u8>) {
    match value {
        Value::Text(text) => next.field(key, Value::Text(&change(text))),
        Value::Texts(texts) => {
            let changed: Vec<Vec<u8>> = texts.iter().map(|text| change(text)).collect();
            show_texts(key, &changed, next);
        }
        other => next.field(key, other),
    }
}

/// Shows `next` a list of texts.
fn show_texts(key: &str, texts: &[Vec<u8>], next: &mut dyn Visitor) {
    let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    next.field(key, Value::Texts(&texts));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModuleJson;
    use crate::log::{Encoder as _, EncoderOptions, Entry, FieldFilter, Fields, Json, Level};

    struct Filtered<'a>(&'a dyn FieldFilter, Value<'a>);

    impl Fields for Filtered<'_> {
        fn visit(&self, visitor: &mut dyn Visitor) {
            self.0.filter("f", self.1, visitor);
        }
    }

    /// What a filter makes of the field `f`, as JSON.
    pub(super) fn filtered(module: &Module, json: serde_json::Value, value: Value<'_>) -> serde_json::Value {
        let json: ModuleJson = serde_json::from_value(json).unwrap();
        let name = json.name("filter").unwrap();
        let row = module.log_filters.iter().find(|row| row.id == name).unwrap();
        let filter = (row.provision)(&json).unwrap();
        let options = EncoderOptions {
            level_key: Some(String::new()),
            time_key: Some(String::new()),
            message_key: Some(String::new()),
            ..EncoderOptions::default()
        };
        let entry = Entry {
            level: Level::Info,
            time: std::time::SystemTime::UNIX_EPOCH,
            logger: "",
            caller: None,
            message: "",
            fields: &Filtered(filter.as_ref(), value),
        };
        let mut line = Vec::new();
        Json::new(&options).encode(&entry, &mut line);
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn simple_filters() {
        let text = Value::text("value");
        let texts = Value::Texts(&[b"a", b"b"]);
        let number = Value::Int(7);
        for (module, json, value, want) in [
            (&delete::MODULE, json!({"filter": "delete"}), text, json!({})),
            (&rename::MODULE, json!({"filter": "rename", "name": "g"}), number, json!({"g": 7})),
            (&replace::MODULE, json!({"filter": "replace", "value": "x"}), number, json!({"f": "x"})),
            (&replace::MODULE, json!({"filter": "replace"}), texts, json!({"f": ""})),
            (&hash::MODULE, json!({"filter": "hash"}), text, json!({"f": "cd42404d"})),
            (&hash::MODULE, json!({"filter": "hash"}), texts, json!({"f": ["ca978112", "3e23e816"]})),
            (&hash::MODULE, json!({"filter": "hash"}), number, json!({"f": 7})),
        ] {
            assert_eq!(filtered(module, json.clone(), value), want, "{json}");
        }
    }
}
