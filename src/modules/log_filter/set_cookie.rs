//! `set_cookie`: replaces, hashes or deletes cookies in `Set-Cookie` headers; their attributes stay.
//!
//! ```caddyfile
//! :8080 {
//! 	log {
//! 		format filter {
//! 			resp_headers>Set-Cookie set_cookie {
//! 				hash session
//! 			}
//! 		}
//! 	}
//! 	respond "Hello"
//! }
//! ```

use super::cookie::{self, CookieFilter};
use super::{NAMESPACE, show_texts};
use crate::adapt::SubmoduleSyntax;
use crate::config::logging::FILTER_TAG;
use crate::config::schema::ModuleSchema;
use crate::log::{FieldFilter, FilterType, Value, Visitor};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_filters: &[FilterType {
        id: NAME,
        provision: |json| Ok(Box::new(SetCookieFilter(json.decode(FILTER_TAG)?))),
    }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: NAME,
        syntax: "<field> set_cookie {\n\treplace <name> <value>\n\thash <name>\n\tdelete <name>\n}",
        parse: cookie::parse,
    }],
    schemas: &[ModuleSchema::of::<super::cookie::CookieFilter>("caddy.logging.encoders.filter", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "set_cookie";

struct SetCookieFilter(CookieFilter);

impl FieldFilter for SetCookieFilter {
    fn filter(&self, key: &str, value: Value<'_>, next: &mut dyn Visitor) {
        let Value::Texts(lines) = value else { return next.field(key, value) };
        let changed: Vec<_> = lines.iter().filter_map(|line| self.change(line)).collect();
        show_texts(key, &changed, next);
    }
}

impl SetCookieFilter {
    /// A header value with its cookie changed; `None` if it is to vanish.
    fn change(&self, line: &[u8]) -> Option<Vec<u8>> {
        let end = memchr::memchr(b';', line).unwrap_or(line.len());
        let (pair, attributes) = line.split_at(end);
        let well_formed = memchr::memchr(b'=', pair).and_then(|at| Some((at, cookie::cookie(pair)?)));
        let Some((at, (name, value, quoted))) = well_formed else { return Some(line.to_vec()) };
        let Some(action) = self.0.action(name) else { return Some(line.to_vec()) };
        let new = action.kind.apply(value, &action.value)?;
        let (before, raw) = pair.split_at(at + 1);
        let leading = raw.len() - raw.trim_ascii_start().len();
        let trailing = raw.trim_ascii_end().len().max(leading);
        let quote: &[u8] = if quoted { b"\"" } else { b"" };
        Some([before, &raw[..leading], quote, &new, quote, &raw[trailing..], attributes].concat())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::filtered;
    use super::*;

    #[test]
    fn values_are_changed_and_attributes_stay() {
        let json = json!({"filter": "set_cookie", "actions": [
            {"type": "replace", "name": "s", "value": "R"},
            {"type": "delete", "name": "track"},
            {"type": "hash", "name": "user"},
        ]});
        let lines: [&[u8]; 6] = [
            b"s=\"a\"; Path=/; HttpOnly",
            b"s= a ; Secure",
            b"track=1",
            b"user=ada; Secure",
            b"other=1",
            b"malformed",
        ];
        assert_eq!(
            filtered(&MODULE, json, Value::Texts(&lines)),
            json!({"f": ["s=\"R\"; Path=/; HttpOnly", "s= R ; Secure", "user=fdee430d; Secure", "other=1", "malformed"]})
        );
    }
}
