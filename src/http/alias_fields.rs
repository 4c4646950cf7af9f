//! Header names that other servers could take for another one.
//!
//! Behind CGI-like interfaces `Remote_User`, `Remote.User` and `Remote-User` are one variable, so a
//! client could slip in a field that only a proxy may set. Names with an underscore or a dot are
//! dropped unless the server expects them; then their hyphenated twins are.

use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::ProvisionError;
use crate::config;

/// Which alias names a server lets through.
#[derive(Default)]
pub(super) struct AliasFields {
    rules: Vec<Rule>,
}

/// An expected name, or all names that begin so.
struct Rule {
    separator: u8,
    name: String,
    hyphenated: String,
    is_prefix: bool,
}

impl AliasFields {
    /// What a server expects.
    pub(super) fn provision(config: &config::http::Server) -> Result<Self, ProvisionError> {
        let underscores = config.expected_underscore_headers.iter().map(|entry| (b'_', entry));
        let dots = config.expected_dot_headers.iter().map(|entry| (b'.', entry));
        let rules = underscores.chain(dots).map(|(separator, entry)| Rule::parse(separator, entry));
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// Drops what is not expected.
    pub(super) fn filter(&self, headers: &mut HeaderMap) {
        let doubtful: SmallVec<[HeaderName; 4]> =
            headers.keys().filter(|name| !self.keeps(name, headers)).cloned().collect();
        for name in doubtful {
            headers.remove(name);
        }
    }

    fn keeps(&self, name: &HeaderName, headers: &HeaderMap) -> bool {
        let bytes = name.as_str().as_bytes();
        // Names are so short that one plain loop is faster than two searches.
        let (mut underscore, mut dot) = (false, false);
        for byte in bytes {
            underscore |= *byte == b'_';
            dot |= *byte == b'.';
        }
        let is_single = || headers.get_all(name).iter().nth(1).is_none();
        match (underscore, dot) {
            (false, false) => !self.rules.iter().any(|rule| rule.shadows(bytes)),
            // What begins as expected may still hide the other separator, so only a whole name counts.
            // Twice the same field would be joined differently by different servers.
            (true, true) => {
                self.rules.iter().any(|rule| !rule.is_prefix && rule.allows(bytes)) && is_single()
            }
            (underscore, _) => {
                let separator = if underscore { b'_' } else { b'.' };
                let mut rules = self.rules.iter();
                rules.any(|rule| rule.separator == separator && rule.allows(bytes)) && is_single()
            }
        }
    }
}

impl Rule {
    fn parse(separator: u8, entry: &str) -> Result<Self, ProvisionError> {
        let option = if separator == b'_' { "expected_underscore_headers" } else { "expected_dot_headers" };
        let refuse =
            |problem: &str| Err(ProvisionError::invalid(format!("{option}: entry \"{entry}\" {problem}")));
        let (name, is_prefix) = entry.strip_suffix('*').map_or((entry, false), |name| (name, true));
        if !entry.is_ascii() {
            return refuse("contains non-ASCII characters");
        }
        if name.contains('*') {
            return refuse("has '*' in an invalid position (only a trailing '*' is allowed)");
        }
        if !name.contains(char::from(separator)) {
            return refuse(&format!("does not contain a '{}'", char::from(separator)));
        }
        let name = name.to_ascii_lowercase();
        let hyphenated = name.replace(char::from(separator), "-");
        Ok(Self { separator, name, hyphenated, is_prefix })
    }

    fn allows(&self, name: &[u8]) -> bool {
        if self.is_prefix { name.starts_with(self.name.as_bytes()) } else { name == self.name.as_bytes() }
    }

    /// Whether `name` is the hyphenated twin of an expected one.
    fn shadows(&self, name: &[u8]) -> bool {
        if self.is_prefix {
            name.starts_with(self.hyphenated.as_bytes())
        } else {
            name == self.hyphenated.as_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that are left of `names`.
    fn left(underscores: &[&str], dots: &[&str], names: &[&str]) -> Vec<String> {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let config = config::http::Server {
            expected_underscore_headers: owned(underscores),
            expected_dot_headers: owned(dots),
            ..Default::default()
        };
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(name.parse::<HeaderName>().unwrap(), "x".parse().unwrap());
        }
        AliasFields::provision(&config).unwrap().filter(&mut headers);
        headers.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn aliases_are_dropped_unless_expected() {
        let names = ["remote-user", "remote_user", "remote.user", "a_b.c"];
        assert_eq!(left(&[], &[], &names), ["remote-user"]);
        assert_eq!(left(&["Remote_User"], &[], &names), ["remote_user"]);
        assert_eq!(left(&[], &["remote.user"], &names), ["remote.user"]);
        assert_eq!(left(&["a_*"], &[], &["a_b", "a-b", "a_b.c", "c_a"]), ["a_b"]);
        assert_eq!(left(&["a_b.c"], &[], &names), ["remote-user", "a_b.c"]);
    }

    #[test]
    fn an_expected_alias_may_come_only_once() {
        assert!(left(&["a_b"], &[], &["a_b", "a_b"]).is_empty());
    }

    #[test]
    fn entries_that_can_never_match_are_refused() {
        for entry in ["ab", "a_*b", "a_é"] {
            let config = config::http::Server {
                expected_underscore_headers: vec![entry.to_owned()],
                ..Default::default()
            };
            assert!(AliasFields::provision(&config).is_err(), "{entry}");
        }
    }
}
