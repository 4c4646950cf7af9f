//! Passing over routes that a request can't go into, without asking each of them.
//!
//! A file with a thousand sites is a list of a thousand routes, each for one host. What such routes need
//! is known when they are built, so a request finds the few that its host is for in a table, and tells
//! from the first bytes of its path which of those need another one.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Route;
use crate::http::{Exchange, Need};

/// Fewer routes are asked one by one.
const ROUTES_MIN: usize = 8;
/// Of a longer path nothing is known: looking through it again and again would cost more than asking.
const PATH_BYTES_MAX: usize = 256;
/// So many bytes of a path are compared.
const START_BYTES: usize = size_of::<u128>();

/// What the routes of a list need. Where it knows nothing of a route, or of a request, the route is asked.
pub(super) struct Index {
    /// The routes that are for one host, each list in order.
    of_host: HashMap<Box<str>, Vec<u32>, RandomState>,
    /// Those that are for any, in order; empty if all are.
    of_any_host: Vec<u32>,
    starts: Box<[Start]>,
}

/// What the first bytes of a path have to be, as numbers: bytes that the mask has must be the value's.
#[derive(Clone, Copy, Default)]
struct Start {
    mask: u128,
    value: u128,
}

impl Index {
    /// The index of a list that is long enough, and has routes of which something is known.
    pub(super) fn new(routes: &[Route]) -> Option<Box<Self>> {
        if routes.len() < ROUTES_MIN {
            return None;
        }
        let mut of_host: HashMap<Box<str>, Vec<u32>, RandomState> = HashMap::default();
        let mut of_any_host = Vec::new();
        let mut starts = vec![Start::default(); routes.len()];
        for ((number, route), start) in (0..).zip(routes).zip(&mut starts) {
            let mut is_for_any = true;
            for need in route.matchers.needs() {
                match need {
                    Need::Host(hosts) => {
                        is_for_any = false;
                        for host in hosts {
                            let routes = of_host.entry(host).or_default();
                            if routes.last() != Some(&number) {
                                routes.push(number);
                            }
                        }
                    }
                    Need::Path { text, is_all } => *start = Start::new(&text, is_all),
                }
            }
            if is_for_any {
                of_any_host.push(number);
            }
        }
        if of_host.is_empty() {
            of_any_host.clear();
            starts.iter().find(|start| start.mask != 0)?;
        }
        Some(Box::new(Self { of_host, of_any_host, starts: starts.into() }))
    }

    /// The first route from `from` on that the request may go into; the end of the list if there is none.
    pub(super) fn next(&self, from: usize, x: &Exchange) -> usize {
        let path = plain_start(x.uri.path().as_bytes());
        let fits = |start: &Start| path.is_none_or(|path| path & start.mask == start.value);
        if self.of_host.is_empty() {
            let rest = self.starts.get(from..).unwrap_or_default();
            return from + rest.iter().position(fits).unwrap_or(rest.len());
        }
        let of_host = self.of_host(x.bare_hostname());
        let candidates = [of_host, &self.of_any_host];
        let first = candidates.into_iter().filter_map(|routes| {
            let rest = &routes[routes.partition_point(|number| (*number as usize) < from)..];
            rest.iter().map(|number| *number as usize).find(|number| fits(&self.starts[*number]))
        });
        first.min().unwrap_or(self.starts.len())
    }

    fn of_host(&self, host: &str) -> &[u32] {
        let found = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.of_host.get(&*host.to_ascii_lowercase())
        } else {
            self.of_host.get(host)
        };
        found.map_or(&[], Vec::as_slice)
    }
}

impl Start {
    fn new(text: &[u8], is_all: bool) -> Self {
        // Behind all of a path there is a zero, which no path has in it.
        let masked = text.len() + usize::from(is_all);
        let mask = if masked >= START_BYTES { u128::MAX } else { (1 << (8 * masked)) - 1 };
        Self { mask, value: start(text) }
    }
}

/// The first bytes as a number, with zeroes behind a text that is shorter.
fn start(text: &[u8]) -> u128 {
    let mut bytes = [0; START_BYTES];
    let length = text.len().min(START_BYTES);
    bytes[..length].copy_from_slice(&text[..length]);
    u128::from_le_bytes(bytes)
}

/// The start of a path that is as matchers compare it: with nothing to decode, to clean or to put in lower
/// case. Of any other nothing is known.
fn plain_start(path: &[u8]) -> Option<u128> {
    if path.len() > PATH_BYTES_MAX {
        return None;
    }
    let mut before = 0;
    for byte in path {
        let is_plain = match byte {
            b'/' | b'.' => before != b'/',
            b'%' | b'A'..=b'Z' => false,
            byte => (b'!'..=b'~').contains(byte),
        };
        if !is_plain {
            return None;
        }
        before = *byte;
    }
    (path.first() == Some(&b'/')).then(|| start(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_known() {
        for path in ["/", "/a", "/a/b.c", "/api/~x!", "/a/"] {
            assert_eq!(plain_start(path.as_bytes()), Some(start(path.as_bytes())), "{path}");
        }
        for path in
            ["", "*", "a", "//", "/a//b", "/.", "/a/../b", "/.hidden", "/A", "/%61", "/\u{e9}", "/a b"]
        {
            assert_eq!(plain_start(path.as_bytes()), None, "{path}");
        }
        assert_eq!(plain_start(&[b'/'; PATH_BYTES_MAX + 1]), None);
    }

    #[test]
    fn starts_fit_what_begins_so() {
        let fits = |need: &str, is_all, path: &str| {
            let need = Start::new(need.as_bytes(), is_all);
            start(path.as_bytes()) & need.mask == need.value
        };
        for (need, path) in
            [("/a/", "/a/b"), ("/", "/x"), ("/a", "/a"), ("/0123456789abcdefg", "/0123456789abcde/else")]
        {
            assert!(fits(need, false, path), "{need} {path}");
        }
        for (need, path) in [("/a/", "/a"), ("/b", "/a"), ("/0123456789abcde", "/0123456789abcd")] {
            assert!(!fits(need, false, path), "{need} {path}");
        }
        assert!(fits("/a", true, "/a") && !fits("/a", true, "/ab") && !fits("/", true, "/x"));
        assert!(fits("/0123456789abcde", true, "/0123456789abcde"));
    }
}
