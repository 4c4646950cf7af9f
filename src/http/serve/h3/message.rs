//! From field sections to requests, and from answers to field sections (RFC 9114 sections 4.2 and 4.3).

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    self, CONNECTION, CONTENT_LENGTH, COOKIE, DATE, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};

use super::qpack::{self, Field};

/// A request that is none: its stream ends with `H3_MESSAGE_ERROR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(&'static str);

/// What a request's pseudo-header fields say.
#[derive(Default)]
struct Pseudo {
    method: Option<Cow<'static, [u8]>>,
    scheme: Option<Cow<'static, [u8]>>,
    authority: Option<Cow<'static, [u8]>>,
    path: Option<Cow<'static, [u8]>>,
}

/// A request's head, and how long its body is if that is said.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) request: http::Request<()>,
    pub(super) length: Option<u64>,
}

/// The head of a request.
///
/// # Errors
/// It breaks a rule of RFC 9114 section 4.
pub(super) fn head(fields: Vec<Field>) -> Result<Head, Malformed> {
    let mut pseudo = Pseudo::default();
    let mut headers = HeaderMap::with_capacity(fields.len());
    let mut cookies = Vec::new();
    for Field { name, value } in fields {
        if let Some(name) = name.strip_prefix(b":") {
            if !headers.is_empty() || !cookies.is_empty() {
                return Err(Malformed("a pseudo-header field behind others"));
            }
            pseudo.put(name, value)?;
            continue;
        }
        let (name, value) = field(&name, value)?;
        if name == COOKIE {
            // They were only taken apart to compress better (RFC 9114 section 4.2.1).
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value.as_bytes());
        } else {
            headers.append(name, value);
        }
    }
    if !cookies.is_empty() {
        headers.insert(COOKIE, HeaderValue::from_bytes(&cookies).map_err(|_| Malformed("a cookie"))?);
    }
    let length = length(&headers)?;
    let (method, uri) = pseudo.target(&headers)?;
    let mut request = http::Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_3;
    *request.headers_mut() = headers;
    Ok(Head { request, length })
}

impl Pseudo {
    fn put(&mut self, name: &[u8], value: Cow<'static, [u8]>) -> Result<(), Malformed> {
        let place = match name {
            b"method" => &mut self.method,
            b"scheme" => &mut self.scheme,
            b"authority" => &mut self.authority,
            b"path" => &mut self.path,
            // `:protocol` is only for who was told that it may be (RFC 9220).
            _ => return Err(Malformed("an unknown pseudo-header field")),
        };
        if place.replace(value).is_some() {
            return Err(Malformed("a pseudo-header field twice"));
        }
        Ok(())
    }

    /// The request's method, and its target in the absolute form.
    fn target(self, headers: &HeaderMap) -> Result<(Method, Uri), Malformed> {
        let method = self.method.ok_or(Malformed("no method"))?;
        let method = Method::from_bytes(&method).map_err(|_| Malformed("the method"))?;
        let authority = authority(self.authority, headers)?;
        let mut parts = http::uri::Parts::default();
        parts.authority = Some(authority);
        if method == Method::CONNECT {
            if self.scheme.is_some() || self.path.is_some() {
                return Err(Malformed("a CONNECT with a path"));
            }
        } else {
            parts.scheme = Some(match self.scheme.as_deref() {
                Some(b"https") => Scheme::HTTPS,
                Some(b"http") => Scheme::HTTP,
                _ => return Err(Malformed("the scheme")),
            });
            let path = self.path.ok_or(Malformed("no path"))?;
            let is_path = path.starts_with(b"/") || (*path == *b"*" && method == Method::OPTIONS);
            if !is_path || !super::has_sound_escapes(&path) {
                return Err(Malformed("the path"));
            }
            let path = PathAndQuery::from_maybe_shared(Bytes::from(path.into_owned()));
            parts.path_and_query = Some(path.map_err(|_| Malformed("the path"))?);
        }
        let uri = Uri::from_parts(parts).map_err(|_| Malformed("the target"))?;
        Ok((method, uri))
    }
}

/// Whom a request is for: what `:authority` or Host says, and both the same if both are there.
fn authority(said: Option<Cow<'static, [u8]>>, headers: &HeaderMap) -> Result<Authority, Malformed> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(Malformed("two hosts"));
    }
    let name = match (said.as_deref(), host) {
        (Some(said), Some(host)) if said != host => return Err(Malformed("two authorities")),
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Err(Malformed("no authority")),
    };
    if name.is_empty() || !super::is_authority(name) {
        return Err(Malformed("the authority"));
    }
    Authority::try_from(name).map_err(|_| Malformed("the authority"))
}

/// A field that may stand in a request's head or trailers.
fn field(name: &[u8], value: Cow<'static, [u8]>) -> Result<(HeaderName, HeaderValue), Malformed> {
    // Upper case is refused by this too.
    let name = HeaderName::from_lowercase(name).map_err(|_| Malformed("a field's name"))?;
    let is_padded = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_padded(value.first()) || is_padded(value.last()) {
        return Err(Malformed("a padded value"));
    }
    let value = HeaderValue::from_maybe_shared(match value {
        Cow::Borrowed(value) => Bytes::from_static(value),
        Cow::Owned(value) => Bytes::from(value),
    })
    .map_err(|_| Malformed("a field's value"))?;
    if belongs_to_connection(&name) || (name == TE && value != "trailers") {
        return Err(Malformed("a field of the connection"));
    }
    Ok((name, value))
}

/// Whether a field tells about a connection of HTTP/1, and so must not be there.
fn belongs_to_connection(name: &HeaderName) -> bool {
    matches!(*name, CONNECTION | TRANSFER_ENCODING | UPGRADE)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// What `Content-Length` says, once.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut said = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = said.next() else { return Ok(None) };
    let digits = value.as_bytes();
    if said.next().is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed("the length"));
    }
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or(Malformed("the length"))
}

/// A request's trailers.
///
/// # Errors
/// A field that must not be there.
pub(super) fn trailers(fields: Vec<Field>) -> Result<HeaderMap, Malformed> {
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for Field { name, value } in fields {
        let (name, value) = field(&name, value)?;
        trailers.append(name, value);
    }
    Ok(trailers)
}

/// Leaves out what must not be in an answer, and dates it.
pub(super) fn settle(headers: &mut HeaderMap) {
    strip(headers);
    if !headers.contains_key(DATE) {
        let now = httpdate::fmt_http_date(SystemTime::now());
        if let Ok(now) = HeaderValue::try_from(now) {
            headers.insert(DATE, now);
        }
    }
}

/// Leaves out the fields of HTTP/1's connections.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in [
        CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        headers.remove(header::TE);
    }
}

/// Its fields, as they are encoded.
fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// The field section of an answer's head; nothing if the client takes no such large ones.
pub(super) fn answer_section(status: StatusCode, headers: &HeaderMap, bytes_max: u64) -> Option<Bytes> {
    let status = (":status", status.as_str().as_bytes());
    section(std::iter::once(status).chain(fields(headers)), bytes_max)
}

/// The field section of an answer's trailers.
pub(super) fn trailer_section(trailers: &HeaderMap, bytes_max: u64) -> Option<Bytes> {
    section(fields(trailers), bytes_max)
}

fn section<'f>(fields: impl Iterator<Item = (&'f str, &'f [u8])>, bytes_max: u64) -> Option<Bytes> {
    let mut bytes = 0;
    let counted = fields.inspect(|(name, value)| bytes += qpack::field_bytes(name.as_bytes(), value) as u64);
    let section = qpack::encode(counted).freeze();
    (bytes <= bytes_max).then_some(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_of(said: &[(&'static str, &'static str)]) -> Vec<Field> {
        let field = |&(name, value): &(&'static str, &'static str)| Field {
            name: Cow::Borrowed(name.as_bytes()),
            value: Cow::Borrowed(value.as_bytes()),
        };
        said.iter().map(field).collect()
    }

    const START: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "h:1"), (":path", "/p?q")];

    fn with(more: &[(&'static str, &'static str)]) -> Result<Head, Malformed> {
        head(fields_of(&[&START[..], more].concat()))
    }

    #[test]
    fn a_head_becomes_a_request() {
        let head =
            with(&[("host", "h:1"), ("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("te", "trailers")]);
        let Head { request, length } = head.unwrap();
        assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_3));
        assert_eq!(request.uri(), "https://h:1/p?q");
        assert_eq!(request.headers().get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=b; c=d"]);
        assert_eq!(length, None);
        assert_eq!(with(&[("content-length", "7")]).unwrap().length, Some(7));
        let by_host = [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", "h")];
        assert_eq!(super::head(fields_of(&by_host)).unwrap().request.uri(), "https://h/");
        let connect = [(":method", "CONNECT"), (":authority", "h:1")];
        assert_eq!(super::head(fields_of(&connect)).unwrap().request.uri(), "h:1");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_request() {
        for more in [
            &[("connection", "close")][..],
            &[("transfer-encoding", "chunked")],
            &[("upgrade", "websocket")],
            &[("keep-alive", "1")],
            &[("proxy-connection", "close")],
            &[("te", "gzip")],
            &[("host", "other")],
            &[("host", "h:1"), ("host", "h:1")],
            &[("content-length", "1"), ("content-length", "1")],
            &[("content-length", "+1")],
            &[("content-length", "")],
            &[("content-length", "99999999999999999999")],
            &[("X", "y")],
            &[("x y", "z")],
            &[("", "z")],
            &[("x", "a\r\nb: c")],
            &[("x", "a\0")],
            &[("x", " a")],
            &[("x", "a\t")],
            &[(":path", "/other")],
            &[(":status", "200")],
            &[(":protocol", "websocket")],
            &[(":x", "y")],
        ] {
            assert!(with(more).is_err(), "{more:?}");
        }
        assert!(head(fields_of(&[("x", "y"), START[0], START[1], START[2], START[3]])).is_err());
    }

    #[test]
    fn a_target_is_whole_and_sound() {
        for (at, value) in [
            (0, ""),
            (0, "G T"),
            (1, ""),
            (1, "ftp"),
            (2, ""),
            (2, "u:p@h"),
            (2, "h h"),
            (3, ""),
            (3, "p"),
            (3, "*"),
            (3, "/a b"),
            (3, "/a%2"),
            (3, "/a%zz"),
            (3, "http://h/"),
        ] {
            let mut start = START;
            start[at].1 = value;
            assert!(head(fields_of(&start)).is_err(), "{:?}", start[at]);
        }
        for (at, left_out) in START.iter().enumerate() {
            let mut start = START.to_vec();
            start.remove(at);
            assert!(head(fields_of(&start)).is_err(), "without {left_out:?}");
        }
        assert!(head(fields_of(&[(":method", "CONNECT"), (":authority", "h"), (":path", "/")])).is_err());
    }

    #[test]
    fn trailers_are_plain_fields() {
        assert_eq!(trailers(fields_of(&[("a", "b")])).unwrap()["a"], "b");
        assert!(trailers(fields_of(&[(":path", "/")])).is_err());
        assert!(trailers(fields_of(&[("connection", "close")])).is_err());
    }

    #[test]
    fn an_answer_has_a_date_and_nothing_of_http_1() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.insert("keep-alive", HeaderValue::from_static("1"));
        settle(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), [&DATE]);
        assert!(answer_section(StatusCode::OK, &headers, u64::MAX).is_some());
        assert!(answer_section(StatusCode::OK, &headers, 50).is_none());
    }
}
