//! What is allowed, but surely not meant: matchers that never match, and sites that others stand before.

use std::collections::HashMap;

use serde_json::Value;

use super::helper::Session;
use super::site::SiteAt;
use super::{Segment, Token};
use crate::config::http::MatcherSet;

/// Matchers whose values may be keys.
const COMPARING: [&str; 3] = ["header", "query", "vars"];
/// What `protocol` may be asked for.
const PROTOCOLS: [&str; 11] = [
    "grpc",
    "http",
    "https",
    "http/1.0",
    "http/1.0+",
    "http/1.1",
    "http/1.1+",
    "http/2",
    "http/2+",
    "http/3",
    "http/3+",
];

/// Warns of a definition that never matches.
pub(super) fn of_matcher(tokens: &Segment, set: &MatcherSet, session: &Session<'_>) {
    let warn = |text: &str, message: String| {
        if let Some(token) = tokens.iter().find(|token| &*token.text == text).or(tokens.first()) {
            session.warn(token, &message);
        }
    };
    for path in texts(set.get("path")).filter(|path| never_a_path(path)) {
        warn(path, format!("no path matches '{path}', since every path begins with '/'"));
    }
    for host in texts(set.get("host")).filter(|host| never_a_host(host)) {
        warn(host, format!("no host matches '{host}': it is compared without scheme, port and path"));
    }
    for name in ["path", "host", "method"].into_iter().filter(|name| set.get(*name) == Some(&Value::Null)) {
        warn(name, format!("without a value, '{name}' matches nothing"));
    }
    if let Some(Value::String(protocol)) = set.get("protocol")
        && !PROTOCOLS.contains(&protocol.to_lowercase().as_str())
    {
        warn(protocol, format!("no request has the protocol '{protocol}'"));
    }
    if COMPARING.iter().any(|name| set.contains_key(*name)) {
        of_unset_variables(tokens, session);
    }
}

/// Warns of values that come from variables that hold nothing: such a matcher never matches.
fn of_unset_variables(tokens: &[Token], session: &Session<'_>) {
    for token in tokens {
        let pasted =
            token.env().iter().filter(|piece| piece.range.is_empty()).map(|piece| piece.name.to_string());
        let placeholders = token.text.split("{env.").skip(1).filter_map(|rest| rest.split_once('}'));
        let unset = placeholders
            .map(|(name, _)| name.to_owned())
            .filter(|name| session.env.var(name).is_none_or(|value| value.is_empty()));
        for name in pasted.chain(unset) {
            session.warn(
                token,
                &format!("the environment variable {name} is empty or not set, so that this matches nothing"),
            );
        }
    }
}

/// Warns of sites that never answer, because one that stands before them has the same host and path.
pub(super) fn of_shadowed_sites(sites: &[SiteAt], session: &Session<'_>) {
    let mut firsts: HashMap<(String, &str), (usize, &Token)> = HashMap::new();
    for (index, site) in sites.iter().enumerate() {
        for (key, address) in site.key_tokens.iter().zip(&site.addresses) {
            let place = (address.host.to_lowercase(), address.path.as_str());
            let (home, first) = *firsts.entry(place).or_insert((index, key));
            if home != index {
                let message = format!(
                    "the site '{}' never answers here: '{}' at {}:{} stands before it",
                    key.shown(),
                    first.shown(),
                    first.origin.file.name,
                    first.line
                );
                session.warn(key, &message);
            }
        }
    }
}

fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn never_a_path(path: &str) -> bool {
    !path.starts_with(['/', '*', '{', '%', '?', '['])
}

fn never_a_host(host: &str) -> bool {
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(name, port)| !name.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()));
    !host.contains('{') && (host.contains('/') || has_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_never_matches_is_odd() {
        for path in ["api/*", "x", ""] {
            assert!(never_a_path(path), "{path}");
        }
        for path in ["/x", "*", "*.php", "{path}", "%2F"] {
            assert!(!never_a_path(path), "{path}");
        }
        for host in ["http://a", "a:80", "a/x"] {
            assert!(never_a_host(host), "{host}");
        }
        for host in ["a", "*.a", "::1", "2001:db8::1", "{env.HOST}:80", ""] {
            assert!(!never_a_host(host), "{host}");
        }
    }
}
