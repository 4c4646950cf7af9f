//! A request made of its head.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};

use super::head::{self, Follows};
use super::refusal::Refusal;
use crate::http::header_maps;

/// A target may be this long at most: longer ones `Uri` does not hold.
const TARGET_BYTES_MAX: usize = u16::MAX as usize - 1;

/// A request without its body.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) follows: Follows,
    /// The client asks for another protocol, and sends no body that would be in the way.
    pub(super) upgrades: bool,
    /// The client wants to be told to go on before it sends its body.
    pub(super) expects: bool,
    /// The client means to keep the connection.
    pub(super) keeps_alive: bool,
}

/// Reads a complete head.
pub(super) fn read(head: Bytes) -> Result<Request, Refusal> {
    match parse(&head)? {
        Some(request) => Ok(request),
        None => {
            let mut escaped = Vec::from(head);
            head::escape_target(&mut escaped);
            parse(&escaped.into())?.ok_or(Refusal::BadRequest)
        }
    }
}

fn parse(head: &Bytes) -> Result<Option<Request>, Refusal> {
    let mut headers = header_maps::take();
    let mut fits = true;
    let sound = head::read(head, |name, value| {
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value));
        fits &= match (HeaderName::from_bytes(name), value) {
            (Ok(name), Ok(value)) => headers.try_append(name, value).is_ok(),
            _ => false,
        };
    })?;
    let Some(sound) = sound else { return Ok(None) };
    if !fits {
        return Err(Refusal::TooLarge);
    }
    let mut headers = header_maps::not_kept_if_large(headers);
    if sound.target.len() > TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    let follows = sound.follows;
    let upgrades = sound.upgrades && follows == Follows::Head;
    if sound.upgrades && !upgrades {
        // An upgrade beside a body is ignored, as RFC 9110 section 7.8 allows: where the body ends and the
        // other protocol begins would be in doubt.
        headers.remove(header::UPGRADE);
    }
    Ok(Some(Request {
        method: Method::from_bytes(sound.method).map_err(|_| Refusal::BadRequest)?,
        uri: Uri::from_maybe_shared(head.slice_ref(sound.target)).map_err(|_| Refusal::BadRequest)?,
        version: if sound.minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 },
        headers,
        follows,
        upgrades,
        expects: sound.expects && follows != Follows::Head,
        keeps_alive: sound.keeps_alive,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_becomes_a_request() {
        let head = b"POST /a?\"b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a:2\r\nContent-Length: 3\r\n\r\n";
        let request = read(Bytes::from_static(head)).unwrap();
        assert_eq!((&request.method, request.uri.to_string()), (&Method::POST, "/a?%22b".to_owned()));
        let values: Vec<_> =
            request.headers.get_all("x-a").iter().filter_map(|value| value.to_str().ok()).collect();
        assert_eq!((values, request.follows), (vec!["1", "2"], Follows::Length(3)));
    }

    #[test]
    fn an_upgrade_beside_a_body_is_not_asked_for() {
        let asks = |rest: &str| {
            let head = format!("POST / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n{rest}\r\n");
            let request = read(head.into()).unwrap();
            (request.upgrades, request.headers.contains_key(header::UPGRADE))
        };
        assert_eq!(asks(""), (true, true));
        assert_eq!(asks("Content-Length: 1\r\n"), (false, false));
        assert_eq!(asks("Transfer-Encoding: chunked\r\n"), (false, false));
    }

    #[test]
    fn what_no_uri_holds_is_refused() {
        let read = |target: &str| read(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").into());
        assert!(read(&format!("/{}", "a".repeat(TARGET_BYTES_MAX - 1))).is_ok());
        let too_long = read(&format!("/{}", "a".repeat(TARGET_BYTES_MAX)));
        assert_eq!(too_long.err(), Some(Refusal::TargetTooLong));
    }
}
