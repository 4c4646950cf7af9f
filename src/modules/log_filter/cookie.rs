//! `cookie`: replaces, hashes or deletes cookies of a `Cookie` header.
//!
//! ```caddyfile
//! :8080 {
//! 	log {
//! 		format filter {
//! 			request>headers>Cookie cookie {
//! 				replace session REDACTED
//! 				delete tracking
//! 			}
//! 		}
//! 	}
//! 	respond "Hello"
//! }
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::action::{self, Kind};
use super::{NAMESPACE, show_texts};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::is_default;
use crate::config::logging::FILTER_TAG;
use crate::config::schema::ModuleSchema;
use crate::log::{self, FieldFilter, FilterType, Visitor};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_filters: &[FilterType {
        id: NAME,
        provision: |json| Ok(Box::new(json.decode::<CookieFilter>(FILTER_TAG)?)),
    }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: NAME,
        syntax: "<field> cookie {\n\treplace <name> <value>\n\thash <name>\n\tdelete <name>\n}",
        parse,
    }],
    schemas: &[ModuleSchema::of::<CookieFilter>("caddy.logging.encoders.filter", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "cookie";

/// The JSON form (<https://caddyserver.com/docs/json/logging/logs/encoder/filter/fields/cookie/>).
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CookieFilter {
    /// What is done; the first action for a cookie decides.
    pub(super) actions: Option<Vec<CookieAction>>,
}

/// What is done to a cookie.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CookieAction {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    /// The cookie's name.
    pub(super) name: String,
    /// What takes the value's place.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) value: String,
}

pub(super) fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let actions = action::parse(&mut reader.cursor)?;
    let actions: Vec<_> = actions
        .into_iter()
        .map(|action| CookieAction { kind: action.kind, name: action.name, value: action.value })
        .collect();
    Ok(json!(CookieFilter { actions: Some(actions).filter(|actions| !actions.is_empty()) }))
}

impl CookieFilter {
    /// The action for a cookie.
    pub(super) fn action(&self, name: &[u8]) -> Option<&CookieAction> {
        self.actions.iter().flatten().find(|action| action.name.as_bytes() == name)
    }
}

impl FieldFilter for CookieFilter {
    /// All cookies come out in one header value, without those that were malformed.
    fn filter(&self, key: &str, value: log::Value<'_>, next: &mut dyn Visitor) {
        let log::Value::Texts(lines) = value else { return next.field(key, value) };
        let mut all = Vec::new();
        let parts = lines.iter().flat_map(|line| line.split(|byte| *byte == b';'));
        for (name, value, quoted) in parts.filter_map(cookie) {
            let changed = match self.action(name) {
                Some(action) => action.kind.apply(value, &action.value),
                None => Some(value.to_vec()),
            };
            let Some(mut value) = changed else { continue };
            value.retain(|byte| is_value_byte(*byte));
            if !all.is_empty() {
                all.extend_from_slice(b"; ");
            }
            all.extend_from_slice(name);
            all.push(b'=');
            let quote: &[u8] = match value.iter().any(|byte| b" ,".contains(byte)) || quoted {
                true if !value.is_empty() => b"\"",
                _ => b"",
            };
            all.extend_from_slice(&[quote, &value, quote].concat());
        }
        let lines = if all.is_empty() { Vec::new() } else { vec![all] };
        show_texts(key, &lines, next);
    }
}

/// The name and value of a cookie, and whether the value was in quotes; `None` if it is malformed.
pub(super) fn cookie(part: &[u8]) -> Option<(&[u8], &[u8], bool)> {
    let part = part.trim_ascii();
    let (name, value) = match memchr::memchr(b'=', part) {
        Some(at) => (part[..at].trim_ascii(), &part[at + 1..]),
        None => (part, &b""[..]),
    };
    let inside = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let (value, quoted) = (inside.unwrap_or(value), inside.is_some());
    (is_token(name) && value.iter().all(|byte| is_value_byte(*byte))).then_some((name, value, quoted))
}

/// Whether this may stand in a cookie's value, as Go is not as strict there as RFC 6265 is.
fn is_value_byte(byte: u8) -> bool {
    matches!(byte, 0x20..0x7f) && !b"\";\\".contains(&byte)
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::super::tests::filtered;
    use super::*;

    fn change(lines: &[&[u8]]) -> Value {
        let json = json!({"filter": "cookie", "actions": [
            {"type": "replace", "name": "session", "value": "x y"},
            {"type": "delete", "name": "track"},
            {"type": "hash", "name": "user"},
        ]});
        filtered(&MODULE, json, log::Value::Texts(lines))["f"].take()
    }

    #[test]
    fn cookies_are_changed() {
        assert_eq!(
            change(&[b"session=abc; track=1; user=ada", b"plain=2"]),
            json!(["session=\"x y\"; user=fdee430d; plain=2"])
        );
        assert_eq!(change(&[b"track=1"]), json!([]));
    }

    #[test]
    fn odd_cookies() {
        assert_eq!(
            change(&[b"b=\"q r\"; c=x y,z; bad name=1; d=\xff; empty=; none"]),
            json!(["b=\"q r\"; c=\"x y,z\"; empty=; none="])
        );
        assert_eq!(change(&[b"REDACTED"]), json!(["REDACTED="]));
    }
}
