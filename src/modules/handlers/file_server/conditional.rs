//! Whether a client's copy of a file is still good, or what it asks for is gone (RFC 9110 section 13).

use std::time::{Duration, SystemTime};

use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, Method};

use crate::http::files::Modified;

/// What a file's validators are.
pub(super) struct Validators<'a> {
    /// Its entity tag, empty if it has none.
    pub etag: &'a [u8],
    /// When it was changed, in whole seconds, if that tells anything.
    pub modified: Option<SystemTime>,
}

/// What a request's conditions come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// The answer is what was asked for; with the ranges if some of it is.
    Send(Option<&'a [u8]>),
    /// The client has it already.
    NotModified,
    /// It is not what the client means.
    PreconditionFailed,
}

/// A time as an HTTP date can tell it; none if it can't, or if it is one that says nothing: archives and
/// images that were made to be the same every time set all times to these.
pub(super) fn useful(modified: Modified) -> Option<SystemTime> {
    /// The end of the year 9999, which is as far as the form of dates goes.
    const SECONDS_MAX: u64 = 253_402_300_799;
    let seconds =
        u64::try_from(modified.seconds).ok().filter(|seconds| (2..=SECONDS_MAX).contains(seconds))?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Judges a request's conditions, in the order of RFC 9110 section 13.2.2.
pub(super) fn judge<'a>(method: &Method, headers: &'a HeaderMap, own: &Validators<'_>) -> Verdict<'a> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let holds = match field(headers, &IF_MATCH) {
        Some(tags) => lists(tags, |tag| is_strong(tag) && tag == own.etag),
        None => is_unchanged(headers, &IF_UNMODIFIED_SINCE, own).unwrap_or(true),
    };
    if !holds {
        return Verdict::PreconditionFailed;
    }
    match field(headers, &IF_NONE_MATCH) {
        Some(tags) if lists(tags, |tag| opaque(tag) == opaque(own.etag)) => {
            return if is_read { Verdict::NotModified } else { Verdict::PreconditionFailed };
        }
        Some(_) => {}
        None if is_read && is_unchanged(headers, &IF_MODIFIED_SINCE, own) == Some(true) => {
            return Verdict::NotModified;
        }
        None => {}
    }
    let range = field(headers, &RANGE);
    let is_for_this = !is_read || field(headers, &IF_RANGE).is_none_or(|of| is_of_this(of, own));
    Verdict::Send(range.filter(|_| is_for_this))
}

/// A field's first value, if it is not empty.
fn field<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(http::HeaderValue::as_bytes).filter(|value| !value.is_empty())
}

/// Whether a list of entity tags has one that fits, or is `*`. Behind what is no tag nothing counts.
fn lists(mut tags: &[u8], fits: impl Fn(&[u8]) -> bool) -> bool {
    loop {
        tags = trim(tags);
        match tags.first() {
            None => return false,
            Some(b',') => tags = &tags[1..],
            Some(b'*') => return true,
            Some(_) => match split_tag(tags) {
                None => return false,
                Some((tag, _)) if fits(tag) => return true,
                Some((_, rest)) => tags = rest,
            },
        }
    }
}

/// The entity tag at the start of a text, and what follows it.
fn split_tag(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = trim(text);
    let start = if text.starts_with(b"W/") { 2 } else { 0 };
    let inside = text.get(start..)?.strip_prefix(b"\"")?;
    let end = inside.iter().position(|byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
    (inside[end] == b'"').then(|| text.split_at(start + end + 2))
}

fn is_strong(tag: &[u8]) -> bool {
    tag.starts_with(b"\"")
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether a file has not been changed since a field's date; `None` if the field or the file has none.
fn is_unchanged(headers: &HeaderMap, name: &HeaderName, own: &Validators<'_>) -> Option<bool> {
    let since = date(field(headers, name)?)?;
    Some(own.modified? <= since)
}

/// Whether `If-Range` means this very file.
fn is_of_this(of: &[u8], own: &Validators<'_>) -> bool {
    match split_tag(of) {
        Some((tag, _)) => is_strong(tag) && tag == own.etag,
        None => own.modified.is_some() && own.modified == date(of),
    }
}

fn date(text: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";

    fn judged(method: Method, fields: &[(&'static str, &str)]) -> String {
        let fields = fields.iter().map(|(name, value)| {
            (HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
        });
        let modified = useful(Modified { seconds: 1_700_000_000, nanos: 5 });
        match judge(&method, &fields.collect(), &Validators { etag: b"\"tag\"", modified }) {
            Verdict::Send(None) => "all".into(),
            Verdict::Send(Some(range)) => String::from_utf8(range.to_vec()).unwrap(),
            Verdict::NotModified => "not modified".into(),
            Verdict::PreconditionFailed => "failed".into(),
        }
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn conditions_are_judged_as_go_judges_them() {
        for (fields, expected) in [
            (&[][..], "all"),
            (&[("if-none-match", "\"tag\"")], "not modified"),
            (&[("if-none-match", "W/\"tag\"")], "not modified"),
            (&[("if-none-match", " , \"x\" ,\"tag\"")], "not modified"),
            (&[("if-none-match", "*")], "not modified"),
            (&[("if-none-match", "\"x\", junk, \"tag\"")], "all"),
            (&[("if-none-match", "tag")], "all"),
            (&[("if-none-match", "\"x\""), ("if-modified-since", DATE)], "all"),
            (&[("if-modified-since", DATE)], "not modified"),
            (&[("if-modified-since", BEFORE)], "all"),
            (&[("if-modified-since", "junk")], "all"),
            (&[("if-modified-since", "Tuesday, 14-Nov-23 22:13:20 GMT")], "not modified"),
            (&[("if-match", "\"tag\"")], "all"),
            (&[("if-match", "W/\"tag\"")], "failed"),
            (&[("if-match", "\"x\"")], "failed"),
            (&[("if-match", "*"), ("if-unmodified-since", BEFORE)], "all"),
            (&[("if-unmodified-since", BEFORE)], "failed"),
            (&[("if-unmodified-since", DATE)], "all"),
            (&[("range", "r")], "r"),
            (&[("range", "r"), ("if-range", "\"tag\"")], "r"),
            (&[("range", "r"), ("if-range", "W/\"tag\"")], "all"),
            (&[("range", "r"), ("if-range", DATE)], "r"),
            (&[("range", "r"), ("if-range", BEFORE)], "all"),
            (&[("range", "r"), ("if-range", "junk")], "all"),
        ] {
            assert_eq!(judged(Method::GET, fields), expected, "{fields:?}");
        }
        assert_eq!(judged(Method::POST, &[("if-none-match", "*")]), "failed");
        assert_eq!(judged(Method::POST, &[("if-modified-since", DATE)]), "all");
    }

    #[test]
    fn times_that_say_nothing_are_none() {
        for seconds in [-5, 0, 1, i64::MAX] {
            assert_eq!(useful(Modified { seconds, nanos: 0 }), None, "{seconds}");
        }
        assert!(useful(Modified { seconds: 2, nanos: 0 }).is_some());
    }
}
