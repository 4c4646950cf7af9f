//! The parts of a request's target: decoding, escaping and cleaning of paths, reading of queries.
//!
//! A request keeps its target as it came. Matchers look at the decoded and cleaned path, while
//! upstreams and `{uri}` get the escaped one, so each form is made here and nowhere else.

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// `%XX` that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid percent escape")]
pub struct BadEscape;

/// The text without its percent escapes. Borrows when there are none.
///
/// # Errors
/// [`BadEscape`] if a `%` is not followed by two hexadecimal digits.
pub fn unescape(raw: &[u8]) -> Result<Cow<'_, [u8]>, BadEscape> {
    match memchr(b'%', raw) {
        None => Ok(Cow::Borrowed(raw)),
        Some(at) => unescape_from(raw, at, false).map(Cow::Owned),
    }
}

/// A part of a query without its escapes; `+` is a space there.
///
/// # Errors
/// [`BadEscape`] if a `%` is not followed by two hexadecimal digits.
pub fn unescape_query(raw: &[u8]) -> Result<Cow<'_, [u8]>, BadEscape> {
    match raw.iter().position(|byte| matches!(byte, b'%' | b'+')) {
        None => Ok(Cow::Borrowed(raw)),
        Some(at) => unescape_from(raw, at, true).map(Cow::Owned),
    }
}

fn unescape_from(raw: &[u8], first: usize, query: bool) -> Result<Vec<u8>, BadEscape> {
    let mut out = Vec::with_capacity(raw.len());
    out.extend_from_slice(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else { return Err(BadEscape) };
                let (high, low) = (hex(*high).ok_or(BadEscape)?, hex(*low).ok_or(BadEscape)?);
                out.push(high << 4 | low);
                rest = after;
            }
            b'+' if query => out.push(b' '),
            _ => out.push(byte),
        }
    }
    Ok(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Escapes a decoded path in the way that Go's `net/url` does when it has to choose.
pub fn escape_path(decoded: &[u8]) -> Cow<'_, [u8]> {
    if decoded == b"*" {
        return Cow::Borrowed(decoded);
    }
    escape(decoded, |byte| {
        unreserved(byte) || matches!(byte, b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@')
    })
}

/// Escapes one segment of a path or a whole relative one: as [`escape_path`], but `;` and `,` too.
pub fn escape_segments(decoded: &[u8]) -> Cow<'_, [u8]> {
    escape(decoded, |byte| unreserved(byte) || matches!(byte, b'$' | b'&' | b'+' | b'/' | b':' | b'=' | b'@'))
}

/// Escapes a value for a query; a space becomes `+`.
pub fn escape_query(value: &[u8]) -> Cow<'_, [u8]> {
    let escaped = escape(value, |byte| unreserved(byte) || byte == b' ');
    if memchr(b' ', &escaped).is_none() {
        return escaped;
    }
    let mut escaped = escaped.into_owned();
    escaped.iter_mut().filter(|byte| **byte == b' ').for_each(|byte| *byte = b'+');
    Cow::Owned(escaped)
}

/// A query with what may not stand in one escaped; the rest is left as it is, and so is text that is
/// UTF-8, which clients send too.
pub fn escape_bad_query(query: &[u8]) -> Cow<'_, [u8]> {
    let is_text = std::str::from_utf8(query).is_ok();
    escape(query, |byte| match byte {
        b'"' | b'#' | b'<' | b'>' => false,
        0x80.. => is_text,
        _ => byte.is_ascii_graphic(),
    })
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

fn escape(text: &[u8], keep: impl Fn(u8) -> bool) -> Cow<'_, [u8]> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let Some(first) = text.iter().position(|byte| !keep(*byte)) else { return Cow::Borrowed(text) };
    let mut out = Vec::with_capacity(text.len() + 8);
    out.extend_from_slice(&text[..first]);
    for &byte in &text[first..] {
        if keep(byte) {
            out.push(byte);
        } else {
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
    Cow::Owned(out)
}

/// Whether every byte of an escaped path may stand there unescaped (RFC 3986 section 3.3, and
/// brackets, as Go takes them).
fn path_is_valid(raw: &[u8]) -> bool {
    raw.iter().all(|&byte| unreserved(byte) || b"!$&'()*+,;=:@[]%/".contains(&byte))
}

/// The escaped path as upstreams get it: `raw` itself, or escaped anew if something in it must not
/// stand there unescaped.
pub fn canonical_path(raw: &[u8]) -> Cow<'_, [u8]> {
    if path_is_valid(raw) {
        return Cow::Borrowed(raw);
    }
    let decoded = unescape(raw).unwrap_or(Cow::Borrowed(raw));
    Cow::Owned(escape_path(&decoded).into_owned())
}

/// The path with `.`, `..` and, if `merge_slashes`, repeated slashes resolved; a slash at its end
/// stays. Borrows when there is nothing to do.
pub fn clean_path(path: &[u8], merge_slashes: bool) -> Cow<'_, [u8]> {
    if is_clean(path, merge_slashes) {
        return Cow::Borrowed(path);
    }
    if merge_slashes {
        return Cow::Owned(clean(path));
    }
    // An impossible byte between two slashes makes a segment of the empty one while cleaning.
    const MARK: u8 = 0xff;
    let mut marked = Vec::with_capacity(path.len() + 8);
    for (at, &byte) in path.iter().enumerate() {
        if byte == b'/' && at > 0 && path[at - 1] == b'/' {
            marked.push(MARK);
        }
        marked.push(byte);
    }
    let mut cleaned = clean(&marked);
    cleaned.retain(|byte| *byte != MARK);
    Cow::Owned(cleaned)
}

fn is_clean(path: &[u8], merge_slashes: bool) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    let mut rest = path;
    while let Some(at) = memchr(b'/', rest) {
        rest = &rest[at + 1..];
        match rest {
            [b'/', ..] if merge_slashes => return false,
            [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..] => return false,
            _ => {}
        }
    }
    true
}

fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => match segments.last() {
                Some(last) if *last != b".." => {
                    segments.pop();
                }
                _ if rooted => {}
                _ => segments.push(segment),
            },
            _ => segments.push(segment),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    if rooted {
        out.push(b'/');
    }
    out.extend_from_slice(&segments.join(&b'/'));
    if out.is_empty() {
        out.push(b'.');
    }
    if out != b"/" && path.last() == Some(&b'/') {
        out.push(b'/');
    }
    out
}

/// The text in lower case, rune by rune as Go does it; what is not UTF-8 becomes U+FFFD.
pub fn lower_case(text: &[u8]) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return if text.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
    }
    let lossy = lossy(text);
    let lower: String = lossy.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect();
    Cow::Owned(lower.into_bytes())
}

/// The text as UTF-8; each byte that is none becomes U+FFFD, as Go sees it.
pub fn lossy(text: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(out)
}

/// The name behind the last slash, as Go's `path.Split`.
pub fn file(path: &[u8]) -> &[u8] {
    &path[dir(path).len()..]
}

/// Everything up to the last slash and with it, as Go's `path.Split`.
pub fn dir(path: &[u8]) -> &[u8] {
    &path[..memchr::memrchr(b'/', path).map_or(0, |at| at + 1)]
}

/// The last dot of the last segment and what follows; empty if there is none.
pub fn extension(path: &[u8]) -> &[u8] {
    let file = file(path);
    memchr::memrchr(b'.', file).map_or(b"", |at| &file[at..])
}

/// The last segment that is not empty, as Go's `path.Base`.
pub fn base(path: &[u8]) -> &[u8] {
    if path.is_empty() {
        return b".";
    }
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    if end == 0 { b"/" } else { file(&path[..end]) }
}

/// The `n`th segment of a path, counted from 0; a leading slash does not count.
pub fn segment(path: &[u8], n: usize) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/').nth(n).unwrap_or(b"")
}

/// A key and its value in a query.
pub type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The pairs of a query, one after the other.
///
/// A pair with a bad escape or a `;` is an error, but reading can go on behind it (Go's `Query`
/// leaves such pairs out, its `ParseQuery` refuses the query).
pub fn query_pairs(query: &str) -> impl Iterator<Item = Result<Pair<'_>, BadEscape>> {
    query.as_bytes().split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        if memchr(b';', pair).is_some() {
            return Err(BadEscape);
        }
        let (key, value) = match memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        Ok((unescape_query(key)?, unescape_query(value)?))
    })
}

/// All values of one key of a query.
pub fn query_values<'a>(query: &'a str, key: &'a [u8]) -> impl Iterator<Item = Cow<'a, [u8]>> {
    query_pairs(query).flatten().filter(move |(name, _)| **name == *key).map(|(_, value)| value)
}

/// `text` with up to `limit` of its `from` replaced by `to`.
pub fn replace<'a>(text: &'a [u8], from: &[u8], to: &[u8], limit: usize) -> Cow<'a, [u8]> {
    if from.is_empty() {
        return replace_between(text, to, limit);
    }
    let mut places = memmem::find_iter(text, from).take(limit).peekable();
    if places.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut done = 0;
    for at in places {
        out.extend_from_slice(&text[done..at]);
        out.extend_from_slice(to);
        done = at + from.len();
    }
    out.extend_from_slice(&text[done..]);
    Cow::Owned(out)
}

/// Replacing nothing puts `to` before each character and at the end, as in Go.
fn replace_between<'a>(text: &'a [u8], to: &[u8], limit: usize) -> Cow<'a, [u8]> {
    let mut out = Vec::with_capacity(text.len());
    let mut left = limit;
    for char in lossy(text).chars() {
        if left > 0 {
            out.extend_from_slice(to);
            left -= 1;
        }
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    if left > 0 {
        out.extend_from_slice(to);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (path, merged) in [
            ("/", "/"),
            ("", "."),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("//a", "/a"),
            ("/a//b/", "/a/b/"),
            ("/./a", "/a"),
            ("/a/.", "/a"),
            ("/a/./", "/a/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/..", "/"),
            ("/../a", "/a"),
            ("/a/../../b", "/b"),
            ("a/..", "."),
            ("../a", "../a"),
            ("/.a/..b/c.", "/.a/..b/c."),
            ("*", "*"),
        ] {
            assert_eq!(text(&clean_path(path.as_bytes(), true)), merged, "{path}");
        }
        assert_eq!(text(&clean_path(b"/x//y/./z", false)), "/x//y/z");
        assert_eq!(text(&clean_path(b"/x///y/..//", false)), "/x////");
        assert!(matches!(clean_path(b"/a/b.c/..d/", true), Cow::Borrowed(_)));
    }

    #[test]
    fn escapes_come_off_and_go_on() {
        assert_eq!(unescape(b"/a%2Fb%20").unwrap(), &b"/a/b "[..]);
        assert_eq!(unescape(b"/a%2"), Err(BadEscape));
        assert_eq!(unescape(b"/%zz"), Err(BadEscape));
        assert_eq!(unescape_query(b"a+b%2B").unwrap(), &b"a b+"[..]);
        assert_eq!(text(&escape_path(b"/a b!(c)*$&+,:;=@~")), "/a%20b%21%28c%29%2A$&+,:;=@~");
        assert_eq!(text(&escape_query(b"a b/&=\xff")), "a+b%2F%26%3D%FF");
    }

    #[test]
    fn a_path_that_may_stand_is_left_alone() {
        assert_eq!(text(&canonical_path(b"/a%2fb(c)!")), "/a%2fb(c)!");
        assert_eq!(text(&canonical_path(b"/..%2f%2e./b.c^|\"")), "/../../b.c%5E%7C%22");
    }

    #[test]
    fn names_are_taken_apart_as_go_does() {
        assert_eq!(base(b"/p.a/.b.c/"), b".b.c");
        assert_eq!(base(b"//"), b"/");
        assert_eq!(extension(b"/p.a/.b.c/"), b"");
        assert_eq!(extension(b"/a.tar.gz"), b".gz");
        assert_eq!((dir(b"/a/b"), file(b"/a/b")), (&b"/a/"[..], &b"b"[..]));
        assert_eq!(
            (segment(b"/a//c", 0), segment(b"/a//c", 1), segment(b"/a", 4)),
            (&b"a"[..], &b""[..], &b""[..])
        );
    }

    #[test]
    fn queries_are_read_pair_by_pair() {
        let pairs: Vec<_> = query_pairs("a=1&&b&c=%zz&d=1;2&e=x+y").collect();
        assert_eq!(pairs.len(), 5);
        assert_eq!(pairs.iter().filter(|pair| pair.is_err()).count(), 2);
        assert_eq!(query_values("x=%zz&x=1;2&x=3", b"x").collect::<Vec<_>>(), [&b"3"[..]]);
    }

    #[test]
    fn replacing_is_bounded() {
        assert_eq!(text(&replace(b"aXbXc", b"X", b"--", usize::MAX)), "a--b--c");
        assert_eq!(text(&replace(b"aXbXc", b"X", b"", 1)), "abXc");
        assert_eq!(text(&replace(b"ab", b"", b".", usize::MAX)), ".a.b.");
        assert!(matches!(replace(b"ab", b"c", b"d", 9), Cow::Borrowed(_)));
    }
}
