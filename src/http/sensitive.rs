//! Where requests carry keys, so that logs can leave them out.

use std::collections::HashSet;
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
