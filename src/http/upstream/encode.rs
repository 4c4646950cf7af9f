//! The head of a request to an HTTP/1 upstream.

use http::header::{CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::{HeaderName, Method};

use super::Outgoing;
use super::upload::BodyLength;

/// What is different about a request that a forward proxy passes on.
pub(super) struct ViaProxy<'a> {
    /// Where it is meant to go.
    pub(super) upstream: String,
    /// What says to the proxy who we are.
    pub(super) authorization: Option<&'a [u8]>,
}

/// Writes the request line and the header section, its empty line included.
///
/// The framing fields are ours alone: what `request` says of its length is not sent on.
pub(super) fn head(
    out: &mut Vec<u8>,
    request: &Outgoing<'_>,
    length: BodyLength,
    via_proxy: Option<&ViaProxy<'_>>,
) {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    if let Some(ViaProxy { upstream, .. }) = via_proxy {
        out.extend_from_slice(b"http://");
        out.extend_from_slice(upstream.as_bytes());
    }
    out.extend_from_slice(request.target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // Host goes first, as RFC 9110 section 7.2 asks.
    for (_, value) in request.extra.iter().filter(|(name, _)| *name == HOST) {
        field(out, &HOST, value);
    }
    for (name, value) in request.extra.iter().filter(|(name, _)| *name != HOST) {
        field(out, name, value);
    }
    for (name, value) in request.headers {
        if name != CONTENT_LENGTH && name != TRANSFER_ENCODING && !request.omits(name) {
            field(out, name, value.as_bytes());
        }
    }
    match length {
        BodyLength::Known(length) => {
            let mut digits = itoa::Buffer::new();
            field(out, &CONTENT_LENGTH, digits.format(length).as_bytes());
        }
        BodyLength::Chunked => field(out, &TRANSFER_ENCODING, b"chunked"),
        BodyLength::None if sends_zero_length(request.method) => field(out, &CONTENT_LENGTH, b"0"),
        BodyLength::None => {}
    }
    if let Some(ViaProxy { authorization: Some(authorization), .. }) = via_proxy {
        field(out, &PROXY_AUTHORIZATION, authorization);
    }
    out.extend_from_slice(b"\r\n");
}

/// Methods whose body a server expects, so that its absence is said (RFC 9110 section 8.6).
fn sends_zero_length(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// One field. Names are sent as `Title-Case`, which careless recipients still rely on.
pub(crate) fn field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    out.reserve(name.len() + value.len() + 4);
    // Names are so short that one plain loop is faster than looking for their dashes.
    let mut before = b'-';
    out.extend(name.iter().map(|byte| {
        let cased = if before == b'-' { byte.to_ascii_uppercase() } else { *byte };
        before = *byte;
        cased
    }));
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn framing_is_ours_and_extra_fields_take_the_place_of_the_clients() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "client"),
            ("content-length", "99"),
            ("transfer-encoding", "chunked"),
            ("x-real-ip", "1.2.3.4"),
            ("te", "gzip"),
            ("etag", "\"a\""),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let te = [http::header::TE];
        let request = Outgoing {
            method: &Method::POST,
            target: b"/a?b",
            headers: &headers,
            omit: &te,
            extra: &[
                (HeaderName::from_static("x-real-ip"), b"9.9.9.9"[..].into()),
                (HOST, b"upstream:1"[..].into()),
            ],
            upgrade: false,
            client: None,
        };
        let mut out = Vec::new();
        head(&mut out, &request, BodyLength::Known(3), None);
        let expected = "POST /a?b HTTP/1.1\r\nHost: upstream:1\r\nX-Real-Ip: 9.9.9.9\r\n\
                        Etag: \"a\"\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_absent_body_is_said_where_one_is_expected() {
        let headers = HeaderMap::new();
        let text = |method: &Method, length| {
            let request = Outgoing {
                method,
                target: b"/",
                headers: &headers,
                omit: &[],
                extra: &[],
                upgrade: false,
                client: None,
            };
            let mut out = Vec::new();
            head(&mut out, &request, length, None);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(&Method::GET, BodyLength::None), "GET / HTTP/1.1\r\n\r\n");
        assert_eq!(text(&Method::PUT, BodyLength::None), "PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
        let chunked = "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(text(&Method::GET, BodyLength::Chunked), chunked);
    }
}
