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

/// Eight bytes of a lower-case name, of which those behind a dash become upper-case; `before` is the byte
/// before them. All at once: names are too short for anything that has to be set up.
fn title_case(bytes: [u8; 8], before: u8) -> [u8; 8] {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(bytes);
    // Each byte's predecessor; a dash among them becomes zero. No byte of a name has its high bit set, so
    // that no borrow or carry passes from byte to byte below.
    let behind_dash = (word << 8 | u64::from(before)) ^ (LOW * u64::from(b'-'));
    let is_zero = !(behind_dash + 0x7f * LOW) & (0x80 * LOW);
    let from_a = word + (0x80 - u64::from(b'a')) * LOW;
    let behind_z = word + (0x7f - u64::from(b'z')) * LOW;
    let is_lower = from_a & !behind_z & (0x80 * LOW);
    // 0x80 becomes 0x20, which is what sets the cases apart.
    (word ^ (is_zero & is_lower) >> 2).to_le_bytes()
}

/// One field. Names are sent as `Title-Case`, which careless recipients still rely on.
pub(crate) fn field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    out.reserve(name.len() + value.len() + 4);
    let (words, rest) = name.as_chunks::<8>();
    let mut before = b'-';
    for word in words {
        out.extend_from_slice(&title_case(*word, before));
        before = word[7];
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    out.extend_from_slice(&title_case(last, before)[..rest.len()]);
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
    fn names_have_capitals_behind_their_dashes() {
        let cased = |name: &'static str| {
            let mut out = Vec::new();
            field(&mut out, &HeaderName::from_bytes(name.as_bytes()).unwrap(), b"");
            String::from_utf8(out).unwrap()
        };
        for (name, expected) in [
            ("a", "A: \r\n"),
            ("etag", "Etag: \r\n"),
            ("x-a-b-c-d-e", "X-A-B-C-D-E: \r\n"),
            ("x--z1-9a-~q", "X--Z1-9a-~q: \r\n"),
            ("strict-t", "Strict-T: \r\n"),
            ("accept--encoding-z", "Accept--Encoding-Z: \r\n"),
            ("access-control-allow-credentials", "Access-Control-Allow-Credentials: \r\n"),
        ] {
            assert_eq!(cased(name), expected);
        }
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
