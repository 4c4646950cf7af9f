//! `query`: replaces, hashes or deletes arguments of a URL's query.
//!
//! ```caddyfile
//! :8080 {
//! 	log {
//! 		format filter {
//! 			request>uri query {
//! 				replace token REDACTED
//! 				delete session
//! 			}
//! 		}
//! 	}
//! 	respond "Hello"
//! }
//! ```

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::action::{self, Kind};
use super::{NAMESPACE, change_texts};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::is_default;
use crate::config::logging::FILTER_TAG;
use crate::config::schema::ModuleSchema;
use crate::log::{self, FieldFilter, FilterType, Visitor};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_filters: &[FilterType {
        id: NAME,
        provision: |json| Ok(Box::new(json.decode::<QueryFilter>(FILTER_TAG)?)),
    }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: NAME,
        syntax: "<field> query {\n\treplace <key> <value>\n\thash <key>\n\tdelete <key>\n}",
        parse,
    }],
    schemas: &[ModuleSchema::of::<QueryFilter>("caddy.logging.encoders.filter", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "query";

/// The JSON form (<https://caddyserver.com/docs/json/logging/logs/encoder/filter/fields/query/>).
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct QueryFilter {
    /// What is done, in order. An argument may be dealt with several times.
    actions: Option<Vec<QueryAction>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct QueryAction {
    #[serde(rename = "type")]
    kind: Kind,
    /// The argument's key.
    parameter: String,
    /// What takes the value's place.
    #[serde(default, skip_serializing_if = "is_default")]
    value: String,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let actions = action::parse(&mut reader.cursor)?;
    let actions: Vec<_> = actions
        .into_iter()
        .map(|action| QueryAction { kind: action.kind, parameter: action.name, value: action.value })
        .collect();
    Ok(json!(QueryFilter { actions: Some(actions).filter(|actions| !actions.is_empty()) }))
}

impl FieldFilter for QueryFilter {
    fn filter(&self, key: &str, value: log::Value<'_>, next: &mut dyn Visitor) {
        change_texts(key, value, next, |text| self.change(text));
    }
}

impl QueryFilter {
    /// A URL with its query changed. As in Caddy the arguments come out sorted by key, escaped anew,
    /// and without those that were malformed.
    fn change(&self, url: &[u8]) -> Vec<u8> {
        let (url, fragment) = split(url, b'#');
        let (path, Some(query)) = split(url, b'?') else { return [url, &fragment_text(fragment)].concat() };
        let mut arguments = arguments(query);
        for action in self.actions.iter().flatten() {
            arguments.retain_mut(|(key, value)| {
                if *key != action.parameter.as_bytes() {
                    return true;
                }
                match action.kind.apply(value, &action.value) {
                    Some(changed) => *value = Cow::Owned(changed),
                    None => return false,
                }
                true
            });
        }
        arguments.sort_by(|(key, _), (other, _)| key.cmp(other));
        let mut changed = path.to_vec();
        // A question mark with nothing behind it was written on purpose.
        let mut mark = if query.is_empty() { "?" } else { "" };
        for (index, (key, value)) in arguments.iter().enumerate() {
            mark = if index == 0 { "?" } else { "&" };
            changed.extend_from_slice(mark.as_bytes());
            escape(key, &mut changed);
            changed.push(b'=');
            escape(value, &mut changed);
        }
        if arguments.is_empty() {
            changed.extend_from_slice(mark.as_bytes());
        }
        changed.extend_from_slice(&fragment_text(fragment));
        changed
    }
}

type Argument<'q> = (Cow<'q, [u8]>, Cow<'q, [u8]>);

/// The arguments of a query that are well-formed.
fn arguments(query: &[u8]) -> Vec<Argument<'_>> {
    let pairs = query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty() && !pair.contains(&b';'));
    let argument = |pair| {
        let (key, value) = split(pair, b'=');
        Some((unescape(key)?, unescape(value.unwrap_or_default())?))
    };
    pairs.filter_map(argument).collect()
}

fn split(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, text) {
        Some(index) => (&text[..index], Some(&text[index + 1..])),
        None => (text, None),
    }
}

fn fragment_text(fragment: Option<&[u8]>) -> Vec<u8> {
    fragment.map(|fragment| [b"#", fragment].concat()).unwrap_or_default()
}

/// `None` if there is a `%` without two hexadecimal digits behind it.
fn unescape(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut rest = text;
    while let (_, Some(after)) = split(rest, b'%') {
        let [high, low, ..] = after else { return None };
        if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
            return None;
        }
        rest = after;
    }
    if !text.contains(&b'+') {
        return Some(Cow::from(percent_decode(text)));
    }
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Some(Cow::Owned(percent_decode(&spaced).collect()))
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    for (index, word) in text.split(|byte| *byte == b' ').enumerate() {
        if index > 0 {
            out.push(b'+');
        }
        percent_encode(word, ESCAPED).for_each(|piece| out.extend_from_slice(piece.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::filtered;
    use super::*;

    fn change(url: &str) -> String {
        let json = json!({"filter": "query", "actions": [
            {"type": "replace", "parameter": "token", "value": "RED ACTED"},
            {"type": "delete", "parameter": "secret"},
            {"type": "hash", "parameter": "email"},
        ]});
        let field = filtered(&MODULE, json, log::Value::text(url));
        field["f"].as_str().unwrap().to_owned()
    }

    #[test]
    fn arguments_are_changed() {
        assert_eq!(
            change("/p?token=abc&keep=1&secret=x&email=a@example.com"),
            "/p?email=08168cd8&keep=1&token=RED+ACTED"
        );
        assert_eq!(change("/p?secret=1"), "/p");
        assert_eq!(change("/p?%74oken=abc"), "/p?token=RED+ACTED");
        assert_eq!(change("/p?token=1&token=2#top"), "/p?token=RED+ACTED&token=RED+ACTED#top");
    }

    #[test]
    fn urls_without_anything_to_change() {
        for url in ["", "/p", "/p?", "/a%22b#c", "/p?a=1&a=0"] {
            assert_eq!(change(url), url);
        }
        assert_eq!(change("/p?b&a=2;3&c=%zz&d=+%20&%C3%A4=%2F"), "/p?b=&d=++&%C3%A4=%2F");
    }

    #[test]
    fn an_unknown_action_is_refused() {
        let json = json!({"actions": [{"type": "shout", "parameter": "a"}]});
        assert!(serde_json::from_value::<QueryFilter>(json).is_err());
    }
}
