//! How long the body of an HTTP/1 answer is (RFC 9112 section 6).

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};

use crate::http::chunked::Chunked;

/// How an answer's body ends.
#[derive(Debug, PartialEq)]
pub(super) enum Framing {
    /// After this many bytes more.
    Length(u64),
    /// After the last chunk.
    Chunked(Chunked),
    /// When the upstream closes.
    Close,
}

/// How the body of an answer to a request of `method` is framed.
///
/// What two recipients could read differently is refused: two lengths, a length beside chunks,
/// codings other than `chunked`.
pub(super) fn framing(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Framing, &'static str> {
    let length = content_length(headers)?;
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if let Some(coding) = coding {
        if length.is_some() {
            return Err("both Content-Length and Transfer-Encoding");
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("unsupported transfer coding");
        }
    }
    if *method == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::Length(0));
    }
    Ok(match (coding, length) {
        (Some(_), _) => Framing::Chunked(Chunked::Start),
        (None, Some(length)) => Framing::Length(length),
        (None, None) => Framing::Close,
    })
}

/// The one length that all `Content-Length` fields agree on.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.as_bytes();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err("malformed Content-Length");
        }
        // More than a signed number holds is read as something else by too many.
        let number = value.to_str().ok().and_then(|digits| digits.parse::<i64>().ok());
        let Some(number) = number.map(i64::unsigned_abs) else { return Err("malformed Content-Length") };
        if length.is_some_and(|length| length != number) {
            return Err("differing Content-Length fields");
        }
        length = Some(number);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubtful_lengths_are_refused() {
        let look = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            framing(&Method::GET, StatusCode::OK, &headers)
        };
        assert_eq!(look(&[]), Ok(Framing::Close));
        assert_eq!(look(&[("content-length", "7")]), Ok(Framing::Length(7)));
        assert_eq!(look(&[("content-length", "7"), ("content-length", "7")]), Ok(Framing::Length(7)));
        assert_eq!(look(&[("transfer-encoding", "Chunked")]), Ok(Framing::Chunked(Chunked::Start)));
        for fields in [
            &[("content-length", "7"), ("content-length", "8")][..],
            &[("content-length", "+7")],
            &[("content-length", "7, 7")],
            &[("content-length", "")],
            &[("content-length", "99999999999999999999")],
            &[("content-length", "7"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ] {
            assert!(look(fields).is_err(), "{fields:?}");
        }
    }
}
