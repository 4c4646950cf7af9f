//! Changes to the path: prefix, suffix, texts, regular expressions.

use std::borrow::Cow;

use super::super::regexp::{Regexp, Replacement};
use super::super::target::{canonical_path, clean_path, escape_path, lower_case, replace, unescape};
use super::super::template::{Template, Unknown};
use super::super::{Exchange, HandlerError, ProvisionError};
use crate::config::rewrite as config;

/// A change to the path.
#[derive(Debug)]
pub(super) enum PathChange {
    StripPrefix(Template),
    StripSuffix(Template),
    /// In the query as well.
    Substring {
        find: Template,
        replace: Template,
        limit: usize,
        merge_slashes: bool,
    },
    Regexp(Regexp, Replacement),
}

impl PathChange {
    pub(super) fn substring(config: &config::UriSubstring) -> Option<Self> {
        (!config.find.is_empty()).then(|| Self::Substring {
            find: Template::compile(&config.find, Unknown::Empty),
            replace: Template::compile(&config.replace, Unknown::Empty),
            limit: usize::try_from(config.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX),
            merge_slashes: !config.find.contains("//"),
        })
    }

    pub(super) fn regexp(config: &config::PathReplacement, index: usize) -> Result<Self, ProvisionError> {
        if config.find.is_empty() {
            return Err(ProvisionError::invalid("path_regexp find cannot be empty"));
        }
        let regexp = Regexp::new(&config.find).map_err(|error| {
            ProvisionError::invalid(format!("compiling regular expression {index}: {error}"))
        })?;
        Ok(Self::Regexp(regexp, Replacement::compile(&config.replace, Unknown::Empty)))
    }

    pub(super) fn apply(&self, x: &mut Exchange) -> Result<(), HandlerError> {
        let mut query = None;
        let path = match self {
            Self::StripPrefix(prefix) => {
                let mut prefix = prefix.render(x).into_owned();
                if !prefix.starts_with(b"/") {
                    prefix.insert(0, b'/');
                }
                stripped(x, |path| without_prefix(path, &prefix), &prefix)
            }
            Self::StripSuffix(suffix) => {
                let suffix = suffix.render(x).into_owned();
                stripped(x, |path| without_suffix(path, &suffix), &suffix)
            }
            Self::Substring { find, replace: with, limit, merge_slashes } => {
                let (find, with) = (find.render(x), with.render(x));
                query =
                    x.uri.query().map(|query| replace(query.as_bytes(), &find, &with, *limit).into_owned());
                changed(x, |path| {
                    replace(&clean_path(path, *merge_slashes), &find, &with, *limit).into_owned()
                })
            }
            Self::Regexp(regexp, with) => changed(x, |path| regexp.replace_all(path, with, x).into_owned()),
        };
        let query = query.or_else(|| x.uri.query().map(|query| query.as_bytes().to_vec()));
        x.set_target(&path, query.as_deref())
    }
}

/// The escaped path after a change to its escaped form, or to the decoded one if the change leaves no
/// valid escaped path.
fn changed(x: &Exchange, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let raw = change(&canonical_path(x.uri.path().as_bytes()));
    match unescape(&raw) {
        Ok(decoded) if !decoded.is_empty() => canonical_path(&raw).into_owned(),
        _ => escape_path(&change(&x.path())).into_owned(),
    }
}

/// The path without a prefix or suffix; it still begins with a slash.
fn stripped(x: &Exchange, strip: impl Fn(&[u8]) -> &[u8], what: &[u8]) -> Vec<u8> {
    let merge_slashes = memchr::memmem::find(what, b"//").is_none();
    let escaped = canonical_path(x.uri.path().as_bytes());
    let cleaned = clean_path(&escaped, merge_slashes);
    let rest = strip(&cleaned);
    if rest.starts_with(b"/") {
        return rest.to_vec();
    }
    let decoded = unescape(rest).unwrap_or(Cow::Borrowed(rest));
    // A slash that was escaped may now be the first one, and takes that place.
    if decoded.starts_with(b"/") {
        return escape_path(&decoded).into_owned();
    }
    [b"/", rest].concat()
}

/// `path` without `prefix`, which is compared decoded and whatever the case, but escape by escape where
/// it has escapes itself.
fn without_prefix<'p>(path: &'p [u8], prefix: &[u8]) -> &'p [u8] {
    let mut rest = path;
    for &expected in prefix {
        let Some((char, after)) = next_char(rest, expected) else { return path };
        if !same(char, expected) {
            return path;
        }
        rest = after;
    }
    rest
}

/// The next byte, decoded unless an escape is expected, and what follows.
fn next_char(path: &[u8], expected: u8) -> Option<(u8, &[u8])> {
    if expected != b'%'
        && let [b'%', _, _, after @ ..] = path
    {
        return Some((*unescape(&path[..3]).ok()?.first()?, after));
    }
    path.split_first().map(|(byte, after)| (*byte, after))
}

/// The same from the path's end.
fn without_suffix<'p>(path: &'p [u8], suffix: &[u8]) -> &'p [u8] {
    let mut rest = path;
    for (at, &expected) in suffix.iter().enumerate().rev() {
        // Within an escape of the suffix, the path must have that escape.
        let in_escape = suffix[..at].iter().rev().take(2).any(|byte| *byte == b'%');
        let (char, before) = match rest {
            [before @ .., b'%', _, _] if !in_escape => match unescape(&rest[before.len()..]) {
                Ok(decoded) => (decoded[0], before),
                Err(_) => return path,
            },
            [before @ .., byte] => (*byte, before),
            [] => return path,
        };
        if !same(char, expected) {
            return path;
        }
        rest = before;
    }
    rest
}

fn same(a: u8, b: u8) -> bool {
    a == b || *lower_case(&[a]) == *lower_case(&[b])
}
