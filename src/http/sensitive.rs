//! Where requests carry keys, so that logs can leave them out.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;

/// Header fields and query arguments that carry a key, because a matcher compares them with a value
/// of the environment. What clients send there is the key, or an attempt at it.
///
/// All servers of a configuration share one: a key that is meant for one server is no less a key when
/// it is sent to another, such as the one that redirects to HTTPS. So names may still come in after the
/// first server was built.
#[derive(Debug, Default)]
pub struct SensitiveNames(ArcSwap<Names>);

#[derive(Clone, Debug, Default)]
struct Names {
    headers: HashSet<HeaderName>,
    query: HashSet<Vec<u8>>,
}

impl SensitiveNames {
    /// Notes that a header field carries a key.
    pub fn add_header(&self, name: &HeaderName) {
        self.change(|names| names.headers.insert(name.clone()));
    }

    /// Notes that the query argument of this key carries one.
    pub fn add_query_key(&self, key: &str) {
        self.change(|names| names.query.insert(key.as_bytes().to_vec()));
    }

    fn change(&self, change: impl Fn(&mut Names) -> bool) {
        self.0.rcu(|names| {
            let mut names = Names::clone(names);
            change(&mut names);
            Arc::new(names)
        });
    }

    /// Whether the header field carries a key.
    pub fn is_header(&self, name: &HeaderName) -> bool {
        self.0.load().headers.contains(name)
    }

    /// Whether any argument of the query carries a key.
    pub fn has_query_keys(&self) -> bool {
        !self.0.load().query.is_empty()
    }

    /// Whether the query argument of this (decoded) key carries one.
    pub fn is_query_key(&self, key: &[u8]) -> bool {
        self.0.load().query.contains(key)
    }
}

/// A value of the environment this short is more likely a coincidence than a key.
const VALUE_BYTES_MIN: usize = 4;
/// A value of the environment this long is one wherever it stands in a text.
const VALUE_BYTES_TELLING: usize = 8;
/// Variables that every process has, and that are no secrets.
const PUBLIC: [&str; 12] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "LANG", "TERM", "HOSTNAME", "TZ", "SHLVL"];

/// Whether `text` is, or holds, the value of an environment variable.
///
/// `{$KEY}` is replaced before a Caddyfile is read, so that only the value itself tells where it came
/// from. The rule errs on the side of hiding too much.
pub fn is_environment_value(text: &[u8]) -> bool {
    is_value_of(text, std::env::vars_os())
}

fn is_value_of(text: &[u8], mut variables: impl Iterator<Item = (OsString, OsString)>) -> bool {
    variables.any(|(name, value)| {
        let value = value.as_bytes();
        value.len() >= VALUE_BYTES_MIN && !PUBLIC.iter().any(|public| name == *public) && holds(text, value)
    })
}

/// Whether `value` is `text`, one of its words, or so long that it is no coincidence within.
fn holds(text: &[u8], value: &[u8]) -> bool {
    text == value
        || text.split(|byte| b" :=,;".contains(byte)).any(|word| word == value)
        || (value.len() >= VALUE_BYTES_TELLING && memchr::memmem::find(text, value).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_as_words_or_if_they_are_long() {
        assert!(holds(b"key1", b"key1") && holds(b"Bearer key1", b"key1") && holds(b"user:key1", b"key1"));
        assert!(!holds(b"monkey1", b"key1") && !holds(b"websocket", b"sock"));
        assert!(holds(b"prefix-sk-abcdef-suffix", b"sk-abcdef"));
    }

    #[test]
    fn what_every_process_has_is_no_secret() {
        let is_value = |text: &str| {
            let variables = [("HOME", "/root"), ("KEY", "s3cret"), ("DEBUG", "1")];
            is_value_of(
                text.as_bytes(),
                variables.into_iter().map(|(name, value)| (name.into(), value.into())),
            )
        };
        assert!(is_value("s3cret") && is_value("Bearer s3cret"));
        assert!(!is_value("/root") && !is_value("1") && !is_value("another"));
    }

    #[test]
    fn names_may_come_in_later() {
        let names = SensitiveNames::default();
        assert!(!names.has_query_keys());
        names.add_query_key("key");
        names.add_header(&HeaderName::from_static("x-key"));
        assert!(names.is_query_key(b"key") && !names.is_query_key(b"KEY"));
        assert!(names.is_header(&HeaderName::from_static("x-key")));
    }
}
