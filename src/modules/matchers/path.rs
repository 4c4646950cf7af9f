//! `path`: requests for these paths, whatever their case.
//!
//! A `*` at the end is for everything below, at the beginning for a suffix, at both for anything
//! that holds the text, and elsewhere for a part of a segment. Paths are cleaned before they are
//! compared; where a pattern has a `%`, the escaped form is.
//!
//! ```caddyfile
//! :8080 {
//! 	@api path /api/* /v1/*
//! 	respond @api "API"
//! }
//! ```

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::Value;

use super::{arguments, decode, list};
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::files::Glob;
use crate::http::{
    Exchange, HandlerError, Matcher, MatcherType, Need, Provision, ProvisionError, Template, Unknown, target,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax { name: NAME, syntax: "path <paths...>", parse }],
    schemas: &[ModuleSchema::of::<Option<Vec<String>>>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "path";

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    Ok(list(arguments(&mut reader.cursor, NAME, |_, _| true)?))
}

fn provision(json: &Value, _: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let patterns: Vec<String> = decode(NAME, json)?;
    if patterns.iter().any(|pattern| pattern == "*") {
        return Ok(Box::new(Paths::All));
    }
    Ok(Box::new(Paths::OneOf(patterns.iter().map(|pattern| Pattern::compile(pattern)).collect())))
}

/// Which paths match.
enum Paths {
    All,
    OneOf(Box<[Pattern]>),
}

enum Pattern {
    Fixed(PathPattern),
    /// With placeholders. Their values stand for themselves, so no wildcard can come in with them.
    Dynamic(Template),
}

struct PathPattern {
    kind: Kind,
    merge_slashes: bool,
}

enum Kind {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<[u8]>),
    Glob(Glob),
    /// It has a `%`: escaped forms are compared where it has escapes.
    Escaped(Box<[(u8, bool)]>),
    /// It is malformed.
    Nothing,
}

/// A request's path as patterns compare it, cleaned once for all of them.
struct Forms<'a> {
    /// Decoded, and in lower case.
    lower: &'a [u8],
    /// Clean, with one slash for several.
    merged: OnceCell<Cow<'a, [u8]>>,
    /// Clean, with all slashes.
    kept: OnceCell<Cow<'a, [u8]>>,
}

impl<'a> Forms<'a> {
    fn new(lower: &'a [u8]) -> Self {
        Self { lower, merged: OnceCell::new(), kept: OnceCell::new() }
    }

    fn clean(&self, merge_slashes: bool) -> &[u8] {
        let cell = if merge_slashes { &self.merged } else { &self.kept };
        cell.get_or_init(|| target::clean_path(self.lower, merge_slashes))
    }
}

impl Pattern {
    fn compile(text: &str) -> Self {
        // As in Caddy, all that is written is put in lower case, and values of placeholders are not.
        let lower = String::from_utf8_lossy(&target::lower_case(text.as_bytes())).into_owned();
        let template = Template::compile(&lower, Unknown::Empty);
        match template.constant_marked() {
            Some(marked) => Self::Fixed(PathPattern::new(&marked)),
            None => Self::Dynamic(template),
        }
    }
}

impl PathPattern {
    /// A pattern of bytes with their marks, see [`Template::render_marked`].
    fn new(marked: &[(u8, bool)]) -> Self {
        let bytes: Vec<u8> = marked.iter().map(|(byte, _)| *byte).collect();
        let is = |at: Option<&(u8, bool)>, byte: u8| at == Some(&(byte, true));
        let stars = marked.iter().filter(|at| is(Some(at), b'*')).count();
        let (first, last) = (is(marked.first(), b'*'), is(marked.last(), b'*'));
        let kind = if marked.iter().any(|at| is(Some(at), b'%')) {
            Kind::Escaped(marked.into())
        } else if stars == 2 && first && last {
            Kind::Contains(bytes[1..bytes.len() - 1].into())
        } else if stars == 1 && first {
            Kind::Suffix(bytes[1..].into())
        } else if stars == 1 && last {
            Kind::Prefix(bytes[..bytes.len() - 1].into())
        } else {
            glob(marked)
        };
        Self { kind, merge_slashes: memchr::memmem::find(&bytes, b"//").is_none() }
    }

    fn matches(&self, x: &Exchange, path: &Forms<'_>) -> bool {
        if let Kind::Escaped(pattern) = &self.kind {
            let escaped = target::canonical_path(x.uri.path().as_bytes());
            let cleaned = target::clean_path(&escaped, self.merge_slashes);
            return matches_escaped(&target::lower_case(&cleaned), pattern);
        }
        let path = path.clean(self.merge_slashes);
        match &self.kind {
            Kind::Exact(text) => *path == **text,
            Kind::Prefix(text) => path.starts_with(text),
            Kind::Suffix(text) => path.ends_with(text),
            Kind::Contains(text) => memchr::memmem::find(path, text).is_some(),
            Kind::Glob(glob) => glob.matches(&target::lossy(path)),
            Kind::Escaped(_) | Kind::Nothing => false,
        }
    }
}

fn glob(marked: &[(u8, bool)]) -> Kind {
    match Glob::compile(characters(marked)) {
        None => Kind::Nothing,
        Some(glob) => match glob.literal() {
            Some(text) => Kind::Exact(text.into_bytes().into()),
            None => Kind::Glob(glob),
        },
    }
}

/// Characters with the mark of their first byte.
fn characters(marked: &[(u8, bool)]) -> Vec<(char, bool)> {
    let bytes: Vec<u8> = marked.iter().map(|(byte, _)| *byte).collect();
    let mut at = 0;
    let mut characters = Vec::with_capacity(marked.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            characters.push((char, marked[at].1));
            at += char.len_utf8();
        }
        for _ in chunk.invalid() {
            characters.push((char::REPLACEMENT_CHARACTER, false));
            at += 1;
        }
    }
    characters
}

impl Matcher for Paths {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        let Self::OneOf(patterns) = self else { return Ok(true) };
        let decoded = x.path();
        let lower = target::lower_case(&decoded);
        let forms = Forms::new(&lower);
        Ok(patterns.iter().any(|pattern| match pattern {
            Pattern::Fixed(pattern) => pattern.matches(x, &forms),
            Pattern::Dynamic(template) => {
                let marked = template.render_marked(x);
                marked == [(b'*', true)] || PathPattern::new(&marked).matches(x, &forms)
            }
        }))
    }

    fn cost_ns(&self) -> u32 {
        10
    }

    fn need(&self) -> Option<Need> {
        let Self::OneOf(patterns) = self else { return None };
        let [Pattern::Fixed(only)] = &**patterns else { return None };
        let (text, is_all) = match &only.kind {
            Kind::Exact(text) => (text, true),
            Kind::Prefix(text) => (text, false),
            _ => return None,
        };
        Some(Need::Path { text: text.clone(), is_all })
    }
}

/// Matches a pattern that has a `%`.
///
/// Pattern and path are read side by side. An escape in the pattern, or `%*`, takes the path's
/// escapes as they are, all else takes them decoded. What comes of the path is then compared with
/// the pattern.
fn matches_escaped(path: &[u8], pattern: &[(u8, bool)]) -> bool {
    let Some(path) = half_decoded(path, pattern) else { return false };
    let mut globbed = Vec::with_capacity(pattern.len());
    for (at, byte) in pattern.iter().enumerate() {
        if *byte != (b'%', true) || pattern.get(at + 1) != Some(&(b'*', true)) {
            globbed.push(*byte);
        }
    }
    let glob = Glob::compile(characters(&globbed));
    glob.is_some_and(|glob| glob.matches(&target::lossy(&target::lower_case(&path))))
}

/// The path as [`matches_escaped`] compares it; `None` if it can't match.
fn half_decoded(path: &[u8], pattern: &[(u8, bool)]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let (mut at, mut rest) = (0, path);
    while at < pattern.len() && !rest.is_empty() {
        let (escaped, decoded) = match rest {
            [b'%', _, _, ..] => (&rest[..3], target::unescape(&rest[..3]).ok()?),
            _ => (&rest[..0], Cow::Borrowed(&rest[..1])),
        };
        // An escape counts as one character, of which its last byte is left to be taken.
        rest = &rest[escaped.len().saturating_sub(1)..];
        match pattern[at..] {
            [(b'%', true), (next, _), _, ..] if next != b'*' => {
                out.extend_from_slice(escaped);
                rest = &rest[1..];
                at += 2;
            }
            [(b'%', true), ..] => {
                at += 1;
                let span = span(rest, pattern.get(at + 1))?;
                out.extend_from_slice(&rest[..span]);
                rest = &rest[span..];
            }
            [(b'*', true), ..] => {
                let span = span(rest, pattern.get(at + 1))?;
                out.extend_from_slice(&target::unescape(&rest[..span]).ok()?);
                rest = &rest[span..];
            }
            _ => {
                out.extend_from_slice(&decoded);
                rest = &rest[1..];
            }
        }
        at += 1;
    }
    out.extend_from_slice(&target::unescape(rest).unwrap_or(Cow::Borrowed(rest)));
    Some(out)
}

/// How much a wildcard takes: up to what follows it in the pattern, or all.
fn span(rest: &[u8], next: Option<&(u8, bool)>) -> Option<usize> {
    match next {
        Some((next, _)) => memchr::memchr(*next, rest),
        None => Some(rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::modules::testing::matches;

    fn path(pattern: &str, target: &str) -> bool {
        matches(NAME, &json!([pattern]), &mut Exchange::get(target, &[("x-v", "a*")]))
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn patterns_match_as_in_caddy() {
        for (pattern, yes, no) in [
            (
                "/exact",
                vec!["/exact", "/EXACT", "/Exact?q", "//exact", "/./exact", "/x/../exact", "/%65xact"],
                vec!["/exact/", "/exactly", "/"],
            ),
            ("/two/*", vec!["/two/", "/two/x/y", "/two//x"], vec!["/two", "/twox"]),
            ("/three*", vec!["/three", "/threefold", "/three/x"], vec!["/thre"]),
            ("*.php", vec!["/index.php", "/x/y.PHP"], vec!["/index.php/"]),
            ("*secret*", vec!["/my/secret/file", "/SECRET"], vec!["/secre"]),
            ("/a/*/c", vec!["/a/b/c"], vec!["/a/b/d/c", "/a//c", "/a/c"]),
            ("/q?z", vec!["/qxz"], vec!["/q/z", "/qz"]),
            ("/s[0-9]", vec!["/s5"], vec!["/sx"]),
            (
                "/private/*",
                vec![
                    "//private/a",
                    "/private//a",
                    "/a/../private/b",
                    "/a/%2e%2e/private/b",
                    "/private%2Fa",
                    "/PRIVATE/x",
                ],
                vec!["/private/../public", "/private/."],
            ),
            ("/x//y", vec!["/x//y"], vec!["/x/y", "/x///y"]),
            ("/", vec!["/", "//", "/.", "/.."], vec!["/a"]),
            ("/café", vec!["/caf%C3%A9", "/CAF%C3%89"], vec!["/cafe"]),
            ("/with space", vec!["/with%20space"], vec!["/with+space"]),
            ("*", vec!["/", "/x"], vec![]),
            ("/s[", vec![], vec!["/s", "/s["]),
        ] {
            for target in yes {
                assert!(path(pattern, target), "{pattern} {target}");
            }
            for target in no {
                assert!(!path(pattern, target), "{pattern} {target}");
            }
        }
    }

    #[test]
    fn escapes_in_a_pattern_are_compared_as_escapes() {
        for (pattern, yes, no) in [
            ("/a%2Fb", vec!["/a%2Fb", "/a%2fb", "/%61%2Fb"], vec!["/a/b", "/a%252Fb", "/a%2Fb/", "/a%2Fbc"]),
            ("/%25", vec!["/%25"], vec!["/x"]),
            ("/bands/%*", vec!["/bands/AC%2FDC", "/bands/x"], vec!["/bands/AC/DC/T.N.T", "/other"]),
            ("/bands/%*/", vec!["/bands/AC%2fDC/"], vec!["/bands/AC%2fDC"]),
            ("/bands/*/%2f", vec!["/bands/a%20b/%2f"], vec!["/bands/a%2fb/%2f"]),
        ] {
            for target in yes {
                assert!(path(pattern, target), "{pattern} {target}");
            }
            for target in no {
                assert!(!path(pattern, target), "{pattern} {target}");
            }
        }
    }

    #[test]
    fn a_wildcard_from_a_placeholder_is_literal() {
        assert!(path("/{http.request.header.x-v}", "/a*"));
        assert!(!path("/{http.request.header.x-v}", "/ab"));
        assert!(path("/{http.request.header.x-v}/*", "/a*/x"));
        assert!(path("/a{literal.*}", "/a*") && !path("/a{literal.*}", "/ab"));
    }

    #[test]
    fn a_clean_path_needs_no_copy() {
        let x = Exchange::get("/api/generate", &[]);
        assert!(matches!(x.path(), Cow::Borrowed(_)));
        assert!(matches!(target::lower_case(&x.path()), Cow::Borrowed(_)));
    }
}
