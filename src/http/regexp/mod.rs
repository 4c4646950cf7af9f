//! Regular expressions with Go's syntax and meaning, in linear time.

mod syntax;

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::template::{Part, Template, Unknown};
use super::{Exchange, Placeholder, target};

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub struct Regexp {
    regex: regex::Regex,
    groups: Arc<[Option<Box<str>>]>,
}

/// A pattern that is no regular expression.
#[derive(Debug, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct RegexpError(String);

/// What a regular expression found: the placeholders `{http.regexp.*}` of one match.
#[derive(Debug, Clone)]
pub struct Captures {
    /// The name that the configuration gave to the expression; may be empty.
    name: Arc<str>,
    groups: Arc<[Option<Box<str>>]>,
    text: Box<[u8]>,
    spans: SmallVec<[Option<(usize, usize)>; 4]>,
}

/// Which group of a match: by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey {
    /// By number; 0 is the whole match.
    Index(usize),
    /// By the name in `(?P<name>...)`.
    Name(Box<str>),
}

impl GroupKey {
    /// `1` is a number, all else a name.
    pub fn parse(key: &str) -> Self {
        match key.parse() {
            Ok(index) if key == "0" || !key.starts_with(['0', '+']) => Self::Index(index),
            _ => Self::Name(key.into()),
        }
    }
}

impl Captures {
    /// The name that the configuration gave to the expression; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a group, empty if it took no part in the match; `None` if there is no such group.
    pub fn get(&self, key: &GroupKey) -> Option<&[u8]> {
        let index = match key {
            GroupKey::Index(index) => *index,
            GroupKey::Name(name) => {
                self.groups.iter().rposition(|group| group.as_deref() == Some(&**name))?
            }
        };
        let span = self.spans.get(index)?;
        Some(span.map_or(b"", |(start, end)| &self.text[start..end]))
    }
}

/// Text as the engine wants it, with the way back to the bytes that it came from.
struct Haystack<'a> {
    raw: &'a [u8],
    text: Cow<'a, str>,
}

impl<'a> Haystack<'a> {
    fn new(raw: &'a [u8]) -> Self {
        Self { raw, text: target::lossy(raw) }
    }

    /// The place in the raw bytes of a place in the text.
    fn raw_at(&self, at: usize) -> usize {
        if matches!(self.text, Cow::Borrowed(_)) {
            return at;
        }
        // Only text that is not UTF-8 comes here. Each bad byte became a character of three.
        let (mut raw, mut text) = (0, 0);
        for chunk in self.raw.utf8_chunks() {
            let valid = chunk.valid().len();
            if at <= text + valid {
                return raw + (at - text);
            }
            (raw, text) = (raw + valid, text + valid);
            for _ in chunk.invalid() {
                if at <= text {
                    return raw;
                }
                (raw, text) = (raw + 1, text + char::REPLACEMENT_CHARACTER.len_utf8());
            }
        }
        raw
    }
}

impl Regexp {
    /// The expression itself, for whoever has text and no request.
    pub fn into_inner(self) -> regex::Regex {
        self.regex
    }

    /// Compiles a pattern of Go's syntax.
    ///
    /// # Errors
    /// The pattern is malformed, or too large to be compiled within bounds.
    pub fn new(pattern: &str) -> Result<Self, RegexpError> {
        let translated = syntax::translate(pattern).map_err(|error| RegexpError(error.to_string()))?;
        let regex = regex::Regex::new(&translated).map_err(|error| {
            // The last line says what is wrong; those before point into the translated pattern.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            RegexpError(format!("{}: `{pattern}`", reason.trim_start_matches("error: ")))
        })?;
        let groups = regex.capture_names().map(|name| name.map(Into::into)).collect();
        Ok(Self { regex, groups })
    }

    /// Whether it matches somewhere in `text`.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(&target::lossy(text))
    }

    /// The first match in `text` with its groups, to be known by `name`.
    pub fn captures(&self, text: &[u8], name: &Arc<str>) -> Option<Captures> {
        let haystack = Haystack::new(text);
        let found = self.regex.captures(&haystack.text)?;
        let spans = found
            .iter()
            .map(|group| group.map(|group| (haystack.raw_at(group.start()), haystack.raw_at(group.end()))))
            .collect();
        Some(Captures { name: name.clone(), groups: self.groups.clone(), text: text.into(), spans })
    }

    /// `text` with each match replaced. Borrows if there is none.
    pub fn replace_all<'a>(&self, text: &'a [u8], with: &Replacement, x: &Exchange) -> Cow<'a, [u8]> {
        self.replace(text, || with.pieces(x))
    }

    /// `text` with each match replaced, where there is no request for placeholders to look at: they
    /// are empty.
    pub fn replace_all_plainly<'a>(&self, text: &'a [u8], with: &Replacement) -> Cow<'a, [u8]> {
        self.replace(text, || with.plain_pieces())
    }

    fn replace<'a, 'p>(
        &self,
        text: &'a [u8],
        pieces: impl FnOnce() -> SmallVec<[RenderedPiece<'p>; 4]>,
    ) -> Cow<'a, [u8]> {
        let haystack = Haystack::new(text);
        let mut matches = self.regex.captures_iter(&haystack.text).peekable();
        if matches.peek().is_none() {
            return Cow::Borrowed(text);
        }
        let pieces = pieces();
        let mut out = Vec::with_capacity(text.len());
        let mut done = 0;
        for found in matches {
            let whole = found.get_match();
            out.extend_from_slice(&text[done..haystack.raw_at(whole.start())]);
            done = haystack.raw_at(whole.end());
            self.expand(&pieces, &found, &haystack, &mut out);
        }
        out.extend_from_slice(&text[done..]);
        Cow::Owned(out)
    }

    /// What `with` makes of the first match in `text`; `None` if there is none.
    pub fn expand_first(&self, text: &[u8], with: &Replacement, x: &Exchange) -> Option<Vec<u8>> {
        let haystack = Haystack::new(text);
        let found = self.regex.captures(&haystack.text)?;
        let mut out = Vec::new();
        self.expand(&with.pieces(x), &found, &haystack, &mut out);
        Some(out)
    }

    fn expand(
        &self,
        pieces: &[RenderedPiece<'_>],
        found: &regex::Captures<'_>,
        text: &Haystack<'_>,
        out: &mut Vec<u8>,
    ) {
        for piece in pieces {
            match piece {
                RenderedPiece::Text(text) => out.extend_from_slice(text),
                RenderedPiece::Group(key) => {
                    let group = match key {
                        GroupKey::Index(index) => found.get(*index),
                        GroupKey::Name(name) => found.name(name),
                    };
                    if let Some(group) = group {
                        out.extend_from_slice(
                            &text.raw[text.raw_at(group.start())..text.raw_at(group.end())],
                        );
                    }
                }
            }
        }
    }
}

/// What takes the place of a match: text with `$1`, `${name}` and placeholders.
///
/// A `$` counts only in the configuration's own text, never in the value of a placeholder.
#[derive(Clone, Debug)]
pub struct Replacement(Box<[Piece]>);

#[derive(Clone, Debug)]
enum Piece {
    Text(Box<str>),
    Group(GroupKey),
    Value(Template),
}

enum RenderedPiece<'a> {
    Text(Cow<'a, [u8]>),
    Group(&'a GroupKey),
}

impl Replacement {
    /// Compiles `text`; unknown placeholders become what `unknown` says.
    pub fn compile(text: &str, unknown: Unknown) -> Self {
        let template = Template::compile(text, unknown);
        let mut pieces = Vec::new();
        let mut literal = String::new();
        for part in template.parts() {
            match part {
                Part::Literal(text) => literal.push_str(text),
                // `${1}` looks like a placeholder, but there is none of that name. Where unknown ones
                // vanish, so does this.
                Part::Dynamic(Placeholder::Named(_), written)
                    if literal.ends_with('$') && is_word(&written[1..written.len() - 1]) =>
                {
                    if unknown == Unknown::Keep {
                        literal.push_str(written);
                    }
                }
                part => {
                    groups(&std::mem::take(&mut literal), &mut pieces);
                    pieces.push(Piece::Value(Template::from_parts(vec![part.clone()], unknown)));
                }
            }
        }
        groups(&literal, &mut pieces);
        Self(pieces.into())
    }

    /// Compiles `text` without placeholders.
    pub fn literal(text: &str) -> Self {
        let mut pieces = Vec::new();
        groups(text, &mut pieces);
        Self(pieces.into())
    }

    fn plain_pieces(&self) -> SmallVec<[RenderedPiece<'_>; 4]> {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => RenderedPiece::Text(Cow::Borrowed(text.as_bytes())),
                Piece::Group(key) => RenderedPiece::Group(key),
                Piece::Value(template) => RenderedPiece::Text(template.constant().unwrap_or_default()),
            })
            .collect()
    }

    fn pieces<'a>(&'a self, x: &'a Exchange) -> SmallVec<[RenderedPiece<'a>; 4]> {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => RenderedPiece::Text(Cow::Borrowed(text.as_bytes())),
                Piece::Group(key) => RenderedPiece::Group(key),
                Piece::Value(template) => RenderedPiece::Text(template.render(x)),
            })
            .collect()
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_alphanumeric() || char == '_')
}

/// Takes `$1`, `$name`, `${name}` and `$$` out of literal text, as Go's `Regexp.Expand` does.
fn groups(text: &str, pieces: &mut Vec<Piece>) {
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            literal.push('$');
            rest = after;
            continue;
        }
        let braced = rest.strip_prefix('{');
        let body = braced.unwrap_or(rest);
        let end = body.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(body.len());
        let (name, after) = body.split_at(end);
        let after = if braced.is_some() { after.strip_prefix('}') } else { Some(after) };
        match after {
            Some(after) if !name.is_empty() => {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
                }
                pieces.push(Piece::Group(GroupKey::parse(name)));
                rest = after;
            }
            _ => literal.push('$'),
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, text: &[u8], with: &str, unknown: Unknown) -> Vec<u8> {
        let x = Exchange::get("/", &[]);
        let with = Replacement::compile(with, unknown);
        Regexp::new(pattern).unwrap().replace_all(text, &with, &x).into_owned()
    }

    #[test]
    fn groups_are_filled_in() {
        assert_eq!(replaced("(a+)(b+)", b"xaabby", "$2-$1", Unknown::Keep), b"xbb-aay");
        assert_eq!(replaced("b+", b"abbc", "[$0]", Unknown::Keep), b"a[bb]c");
        assert_eq!(replaced("(?P<n>b)", b"abc", "${n}${1}x$n", Unknown::Keep), b"abbxbc");
        // The longest name counts, and one that does not exist is empty.
        assert_eq!(replaced("(b)", b"abc", "$1x|", Unknown::Keep), b"a|c");
        assert_eq!(replaced("b", b"abc", "$$1 $ ${-}", Unknown::Keep), b"a$1 $ ${-}c");
    }

    #[test]
    fn braces_vanish_where_unknown_placeholders_do() {
        assert_eq!(replaced("/g/(.)", b"/g/a", "/h/$1x${1}y$$", Unknown::Empty), b"/h/$");
    }

    #[test]
    fn bytes_that_are_not_utf8_survive() {
        assert_eq!(replaced("b", b"\xe9abc\xff", "-", Unknown::Keep), b"\xe9a-c\xff");
        let name: Arc<str> = "n".into();
        let found = Regexp::new("(.)b(.)").unwrap().captures(b"a\xe9b\xe9\xe9", &name).unwrap();
        assert_eq!(found.get(&GroupKey::Index(0)), Some(&b"\xe9b\xe9"[..]));
        assert_eq!(found.get(&GroupKey::Index(1)), Some(&b"\xe9"[..]));
        assert_eq!(found.get(&GroupKey::Index(3)), None);
    }

    #[test]
    fn a_group_that_took_no_part_is_empty() {
        let name: Arc<str> = "".into();
        let found = Regexp::new("^a(b)?(?P<last>c)?$").unwrap().captures(b"ac", &name).unwrap();
        assert_eq!(found.get(&GroupKey::parse("1")), Some(&b""[..]));
        assert_eq!(found.get(&GroupKey::parse("last")), Some(&b"c"[..]));
        assert_eq!(found.get(&GroupKey::parse("01")), None);
    }

    #[test]
    fn errors_name_the_pattern() {
        let error = Regexp::new("(a").unwrap_err().to_string();
        assert!(error.starts_with("error parsing regexp: ") && error.contains("(a"), "{error}");
    }
}
