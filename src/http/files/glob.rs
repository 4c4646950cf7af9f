//! Patterns for paths, as Go's `path.Match`: `*` and `?` stay within a segment, `[a-z]` is a class,
//! `\` makes what follows literal.

use std::borrow::Cow;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use super::{as_path, clean};
use crate::http::target;

/// A compiled pattern.
#[derive(Debug, PartialEq, Eq)]
pub struct Glob(Box<[Token]>);

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// `[...]`, and whether it is turned round.
    Class(Box<[(char, char)]>, bool),
}

impl Glob {
    /// Compiles a pattern of characters, each with a mark whether it may mean something else than
    /// itself; `None` if it is malformed, which matches nothing.
    pub fn compile(pattern: impl IntoIterator<Item = (char, bool)>) -> Option<Self> {
        let mut rest = pattern.into_iter().peekable();
        let mut tokens = Vec::new();
        while let Some((char, special)) = rest.next() {
            tokens.push(match char {
                '*' if special => Token::Many,
                '?' if special => Token::One,
                '[' if special => class(&mut rest)?,
                '\\' if special => Token::Char(rest.next()?.0),
                _ => Token::Char(char),
            });
        }
        Some(Self(tokens.into()))
    }

    /// Compiles a pattern in which everything that can be special is.
    pub fn written(pattern: &[u8]) -> Option<Self> {
        Self::compile(target::lossy(pattern).chars().map(|char| (char, true)))
    }

    /// The text that alone it matches, if nothing in it is special.
    pub fn literal(&self) -> Option<String> {
        self.0
            .iter()
            .map(|token| match token {
                Token::Char(char) => Some(*char),
                _ => None,
            })
            .collect()
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        // If it fails, the last `*` takes one character more; an earlier one could not help.
        let mut retry: Option<(&[Token], &str)> = None;
        let (mut tokens, mut rest) = (&*self.0, text);
        loop {
            let mut chars = rest.chars();
            let matched = match (tokens.split_first(), chars.next()) {
                (Some((Token::Many, after)), _) => {
                    retry = Some((after, rest));
                    tokens = after;
                    continue;
                }
                (None, None) => return true,
                (Some((token, after)), Some(char)) if token.accepts(char) => Some((after, chars.as_str())),
                _ => None,
            };
            match (matched, retry) {
                (Some(matched), _) => (tokens, rest) = matched,
                (None, Some((after, from))) => {
                    let mut chars = from.chars();
                    match chars.next() {
                        Some(char) if char != '/' => {
                            retry = Some((after, chars.as_str()));
                            (tokens, rest) = (after, chars.as_str());
                        }
                        _ => return false,
                    }
                }
                (None, None) => return false,
            }
        }
    }
}

impl Token {
    fn accepts(&self, char: char) -> bool {
        match self {
            Self::Char(own) => *own == char,
            Self::One => char != '/',
            Self::Many => false,
            Self::Class(ranges, negated) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&char)) != *negated
            }
        }
    }
}

fn class(rest: &mut std::iter::Peekable<impl Iterator<Item = (char, bool)>>) -> Option<Token> {
    let negated = rest.next_if(|(char, _)| *char == '^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.next_if(|(char, _)| *char == ']').is_some() {
            return Some(Token::Class(ranges.into(), negated));
        }
        let low = class_char(rest)?;
        let high = match rest.next_if(|(char, _)| *char == '-') {
            Some(_) => class_char(rest)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

fn class_char(rest: &mut impl Iterator<Item = (char, bool)>) -> Option<char> {
    match rest.next()?.0 {
        '-' | ']' => None,
        '\\' => Some(rest.next()?.0),
        char => Some(char),
    }
}

/// The paths that a pattern stands for, as Go's `filepath.Glob`: those that are there. It reads folders,
/// and is for the blocking pool.
pub fn expand(pattern: &[u8]) -> Vec<Vec<u8>> {
    // A pattern that is malformed anywhere stands for nothing.
    if Glob::written(pattern).is_none() {
        return Vec::new();
    }
    if !is_pattern(pattern) {
        let exists = fs::symlink_metadata(as_path(pattern)).is_ok();
        return exists.then(|| pattern.to_vec()).into_iter().collect();
    }
    let (folder, name) = (target::dir(pattern), target::file(pattern));
    let folder = match folder {
        b"" => b".".as_slice(),
        b"/" => folder,
        [folder @ .., _] => folder,
    };
    let Some(name) = Glob::written(name) else { return Vec::new() };
    // Each round has one segment less, and none is left without a folder.
    let folders = if is_pattern(folder) { expand(folder) } else { vec![folder.to_vec()] };
    folders.iter().flat_map(|folder| members(folder, &name)).collect()
}

/// The text with what is special in patterns made to mean itself.
pub fn escape(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let special = |byte: &u8| b"*[?\\".contains(byte);
    if !text.iter().any(special) {
        return text;
    }
    let mut escaped = Vec::with_capacity(text.len() + 4);
    for byte in text.iter() {
        if special(byte) {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    Cow::Owned(escaped)
}

fn is_pattern(path: &[u8]) -> bool {
    path.iter().any(|byte| b"*?[\\".contains(byte))
}

/// The members of a folder whose names match, in order.
fn members(folder: &[u8], name: &Glob) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(as_path(folder)) else { return Vec::new() };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    let mut names: Vec<_> = names.filter(|found| name.matches(&target::lossy(found.as_bytes()))).collect();
    names.sort_unstable();
    let path = |name: std::ffi::OsString| clean(&[folder, b"/", name.as_bytes()].concat()).into_owned();
    names.into_iter().map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::compile(pattern.chars().map(|char| (char, true))).is_some_and(|glob| glob.matches(text))
    }

    // After the table of Go's own test for path.Match.
    #[test]
    fn matches_as_go_does() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a?b", "a/b", false),
            ("[a-ζ]*", "α", true),
            ("[\\-x]", "x", true),
            ("[\\-x]", "z", false),
            ("[]a]", "]", false),
            ("[-]", "-", false),
            ("[x-]", "x", false),
            ("[a", "a", false),
            ("a\\", "a", false),
            ("*x", "xxx", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_not_written_is_literal() {
        let glob = Glob::compile([('/', true), ('*', false), ('?', false), ('[', false)]).unwrap();
        assert_eq!(glob.literal().as_deref(), Some("/*?["));
        assert!(glob.matches("/*?["));
    }
}
