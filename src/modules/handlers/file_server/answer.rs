//! The answer that a file makes.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, StatusCode};

use super::conditional::{Validators, Verdict, judge, useful};
use super::find::{Handle, Opened, SMALL_BYTES_MAX};
use super::ranges::{self, Range, RangeError};
use crate::http::files::{FileBody, Info, Modified, Piece, Wait, by_extension, keep, read_all};
use crate::http::{Body, Exchange, Response, Untyped, header_value};

/// A file on its way.
pub(super) struct Sent<'a> {
    /// The path of the file that was asked for, which tells the type.
    pub(super) path: &'a [u8],
    /// When it was changed.
    pub(super) modified: Modified,
    pub(super) etag: Option<HeaderValue>,
    /// What is sent.
    pub(super) opened: Opened,
}

/// The entity tag of a file without one: its time and its size.
pub(super) fn etag(info: &Info) -> Option<HeaderValue> {
    let Modified { seconds, nanos } = info.modified;
    if matches!(seconds, 0 | 1) {
        return None;
    }
    let nanos = seconds.wrapping_mul(1_000_000_000).wrapping_add(i64::from(nanos));
    let size = i64::try_from(info.bytes).unwrap_or(i64::MAX);
    let mut tag = Vec::with_capacity(32);
    tag.push(b'"');
    push_base36(&mut tag, nanos);
    tag.push(b'-');
    push_base36(&mut tag, size);
    tag.push(b'"');
    Some(header_value(&tag))
}

fn push_base36(text: &mut Vec<u8>, number: i64) {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    if number < 0 {
        text.push(b'-');
    }
    let start = text.len();
    let mut rest = number.unsigned_abs();
    while rest > 0 || text.len() == start {
        text.push(DIGITS[(rest % 36) as usize]);
        rest /= 36;
    }
    text[start..].reverse();
}

/// The answer with a file, with parts of one, or without one if the client has it.
pub(super) fn answer(x: &mut Exchange, sent: Sent<'_>) -> Response {
    let mut headers = std::mem::take(&mut x.response_headers);
    let is_untyped = !set_type(&mut headers, sent.path);
    if let Some(format) = sent.opened.format {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(format.name()));
    }
    if let Some(etag) = sent.etag {
        headers.insert(ETAG, etag);
    }
    let modified = useful(sent.modified);
    if let Some(modified) = modified {
        headers.insert(LAST_MODIFIED, date(modified));
    }
    let own = Validators { etag: headers.get(ETAG).map_or(b"", HeaderValue::as_bytes), modified };
    let mut response = match judge(&x.method, &x.headers, &own) {
        Verdict::NotModified => not_modified(&mut headers),
        Verdict::PreconditionFailed => bodiless(StatusCode::PRECONDITION_FAILED),
        Verdict::Send(range) => {
            let size = sent.opened.info.bytes;
            match range.map_or_else(|| Ok(Vec::new()), |range| ranges::parse(range, size)) {
                Ok(ranges) => content(&x.method, &mut headers, sent.opened, &ranges),
                Err(error) => range_failed(&mut headers, size, &error),
            }
        }
    };
    if is_untyped {
        response.extensions_mut().insert(Untyped);
    }
    *response.headers_mut() = headers;
    response
}

/// Sets the type that a file's name tells, unless there is one; false if there is none.
fn set_type(headers: &mut HeaderMap, path: &[u8]) -> bool {
    if headers.get(CONTENT_TYPE).is_some_and(|own| !own.is_empty()) {
        return true;
    }
    match by_extension(path) {
        Some(kind) => drop(headers.insert(CONTENT_TYPE, kind)),
        None => {
            headers.remove(CONTENT_TYPE);
            return false;
        }
    }
    true
}

fn date(time: SystemTime) -> HeaderValue {
    header_value(httpdate::fmt_http_date(time).as_bytes())
}

fn bodiless(status: StatusCode) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

fn not_modified(headers: &mut HeaderMap) -> Response {
    for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING] {
        headers.remove(name);
    }
    if headers.contains_key(ETAG) {
        headers.remove(LAST_MODIFIED);
    }
    bodiless(StatusCode::NOT_MODIFIED)
}

/// An answer to a range that there is not, without what tells of the file.
fn range_failed(headers: &mut HeaderMap, size: u64, error: &RangeError) -> Response {
    const OF_FILE: [HeaderName; 5] = [CACHE_CONTROL, CONTENT_ENCODING, ETAG, LAST_MODIFIED, CONTENT_LENGTH];
    OF_FILE.iter().for_each(|name| drop(headers.remove(name)));
    if *error == RangeError::NoOverlap {
        headers.insert(CONTENT_RANGE, header_value(format!("bytes */{size}").as_bytes()));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let mut response = bodiless(StatusCode::RANGE_NOT_SATISFIABLE);
    *response.body_mut() = Body::from(error.text());
    response
}

/// A file as a whole, or these parts of it.
fn content(method: &Method, headers: &mut HeaderMap, opened: Opened, ranges: &[Range]) -> Response {
    let size = opened.info.bytes;
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let pieces = match ranges {
        [] => vec![Piece::File(0, size)],
        [(from, to)] => {
            headers.insert(CONTENT_RANGE, header_value(ranges::content_range((*from, *to), size).as_bytes()));
            vec![Piece::File(*from, *to)]
        }
        several => {
            let boundary = ranges::boundary();
            let own = headers.get(CONTENT_TYPE).map(|own| String::from_utf8_lossy(own.as_bytes()));
            let pieces = ranges::multipart(several, size, &boundary, own.as_deref().unwrap_or_default());
            let kind = format!("multipart/byteranges; boundary={boundary}");
            headers.insert(CONTENT_TYPE, header_value(kind.as_bytes()));
            pieces
        }
    };
    let length = pieces.iter().map(Piece::bytes).sum::<u64>();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let mut response = bodiless(if ranges.is_empty() { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT });
    if *method != Method::HEAD {
        *response.body_mut() = body(opened, pieces);
    }
    response
}

/// A body of these pieces; in memory if it is all of a small file, and that is there already.
fn body(opened: Opened, pieces: Vec<Piece>) -> Body {
    let size = opened.info.bytes;
    let is_whole = matches!(*pieces, [Piece::File(0, to)] if to == size);
    let file = match opened.handle {
        Handle::Open(file) => file,
        Handle::Kept(content) if is_whole => return Body::from(content),
        Handle::Kept(content) => return Body::from(cut(&content, &pieces)),
    };
    if is_whole && size <= SMALL_BYTES_MAX {
        if let Some(content) = opened.content {
            return Body::from(content);
        }
        if let Ok(content) = read_all(&file, size as usize, Wait::Never) {
            let content = Bytes::from(content);
            keep(&opened.path, &file, &opened.info, &content);
            return Body::from(content);
        }
    }
    Body::stream(FileBody::new(file, pieces))
}

/// These pieces of what a small file contains.
fn cut(content: &Bytes, pieces: &[Piece]) -> Bytes {
    let part = |piece: &Piece| match piece {
        Piece::Bytes(bytes) => bytes.clone(),
        Piece::File(from, to) => {
            // The pieces were made for a file of this size, which a `usize` holds.
            let (from, to) = (*from as usize, *to as usize);
            content.get(from..to).map_or_else(Bytes::new, |part| content.slice_ref(part))
        }
    };
    match pieces {
        [piece] => part(piece),
        pieces => pieces.iter().map(part).collect::<Vec<_>>().concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::files::{Identity, Kind};

    fn tag(seconds: i64, nanos: u32, bytes: u64) -> Option<String> {
        let modified = Modified { seconds, nanos };
        let info = Info { kind: Kind::File, bytes, modified, identity: Identity::default() };
        etag(&info).map(|tag| tag.to_str().unwrap().to_owned())
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn tags_are_made_of_time_and_size() {
        assert_eq!(tag(1_700_000_000, 0, 20).unwrap(), "\"cwyvpelgpse8-k\"");
        assert_eq!(tag(2, 0, 0).unwrap(), "\"x2qxvk-0\"");
        assert_eq!(tag(-1, 0, 1).unwrap(), "\"-gjdgxs-1\"");
        assert_eq!((tag(0, 5, 1), tag(1, 0, 1)), (None, None));
    }
}
