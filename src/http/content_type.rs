//! The type of an answer that doesn't say it, as Go's server finds it, and what an answer without a body
//! can't say: for every answer, whoever made it.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use http_body::Body as _;

use super::sniff::content_type;
use super::{Body, Response, Untyped, gather};

/// What a 304 doesn't say of the body that it stands for.
const NOT_OF_304: &[HeaderName] = &[CONTENT_TYPE, CONTENT_LENGTH];
/// What a 204 can't have (RFC 9110 section 8.6).
const NOT_OF_204: &[HeaderName] = &[CONTENT_LENGTH];

/// What becomes of an answer's type. It is decided before the body is wrapped, and done once the log has
/// its own view of the fields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Keep,
    Remove(&'static [HeaderName]),
    Set(&'static str),
}

impl Settled {
    /// What becomes of the type of this answer, which goes out by `version`: if it has a body and doesn't
    /// say of what type, it gets the type that it looks like. A 304 has none, and a 204 no length.
    ///
    /// Of a body that comes from elsewhere the first part is waited for, if its length is known: nobody
    /// knows when a stream begins.
    pub(super) async fn of(version: Version, response: &mut Response) -> Self {
        match response.status() {
            StatusCode::NOT_MODIFIED if version >= Version::HTTP_2 => return Self::Keep,
            StatusCode::NOT_MODIFIED => return Self::Remove(NOT_OF_304),
            StatusCode::NO_CONTENT => return Self::Remove(NOT_OF_204),
            _ => {}
        }
        if !needs_type(response) {
            return Self::Keep;
        }
        if let Body::Full(bytes) = response.body() {
            return Self::Set(content_type(bytes));
        }
        // The first part mostly brings enough; more is not waited for.
        let gathered = gather(std::mem::take(response.body_mut()), 1).await;
        let looks_like = content_type(gathered.start());
        *response.body_mut() = gathered.into_body();
        Self::Set(looks_like)
    }

    /// Does it.
    pub(super) fn apply(self, headers: &mut HeaderMap) {
        match self {
            Self::Keep => {}
            Self::Remove(names) => names.iter().for_each(|name| drop(headers.remove(name))),
            Self::Set(looks_like) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(looks_like));
            }
        }
    }
}

/// Whether nobody has said the type of a body that there is.
fn needs_type(response: &Response) -> bool {
    let headers = response.headers();
    response.extensions().get::<Untyped>().is_none()
        && !headers.contains_key(CONTENT_TYPE)
        && headers.get(CONTENT_ENCODING).is_none_or(HeaderValue::is_empty)
        && response.body().size_hint().exact().is_some_and(|length| length > 0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use http_body::{Frame, SizeHint};
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::http::BodyError;

    /// A body in parts, that may have said its length.
    struct Parts(Vec<&'static str>, Option<u64>);

    impl http_body::Body for Parts {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            let next = (!self.0.is_empty()).then(|| self.0.remove(0));
            std::task::Poll::Ready(next.map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))))
        }

        fn size_hint(&self) -> SizeHint {
            self.1.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    /// The content type of an answer like this in the end, and its body.
    fn settled(code: u16, body: Body, fields: &[(http::HeaderName, &'static str)]) -> (String, Bytes) {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(code).expect("a status");
        for (name, value) in fields {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let settled = Settled::of(Version::HTTP_11, &mut response).now_or_never().expect("all is there");
        settled.apply(response.headers_mut());
        let found = response.headers().get(CONTENT_TYPE);
        let found = found.map_or("none", |value| value.to_str().expect("text")).to_owned();
        let body = response.into_body().collect().now_or_never().expect("all is there");
        (found, body.expect("a sound body").to_bytes())
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn an_answer_that_says_no_type_gets_the_one_that_it_looks_like() {
        let of = |code, body: &'static str, fields: &[(http::HeaderName, &'static str)]| {
            settled(code, Body::from(body), fields).0
        };
        assert_eq!(of(200, "<html></html>", &[]), "text/html; charset=utf-8");
        assert_eq!(of(404, "text", &[]), "text/plain; charset=utf-8");
        assert_eq!(of(200, "text", &[(CONTENT_ENCODING, "")]), "text/plain; charset=utf-8");
        assert_eq!(of(200, "<html></html>", &[(CONTENT_TYPE, "a/b")]), "a/b");
        assert_eq!(of(200, "text", &[(CONTENT_TYPE, "")]), "");
        assert_eq!(of(200, "text", &[(CONTENT_ENCODING, "gzip")]), "none");
        assert_eq!(of(200, "", &[]), "none");
        assert_eq!(of(204, "text", &[]), "none");
        assert_eq!(of(304, "", &[(CONTENT_TYPE, "a/b")]), "none");
    }

    #[test]
    fn a_status_without_a_body_says_nothing_of_one() {
        let fields = |code, version| {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::from_u16(code).expect("a status");
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("4"));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("a/b"));
            let settled = Settled::of(version, &mut response).now_or_never().expect("all is there");
            settled.apply(response.headers_mut());
            [CONTENT_LENGTH, CONTENT_TYPE].map(|name| response.headers().contains_key(name))
        };
        assert_eq!(fields(204, Version::HTTP_11), [false, true]);
        assert_eq!(fields(204, Version::HTTP_2), [false, true]);
        assert_eq!(fields(304, Version::HTTP_11), [false, false]);
        assert_eq!(fields(304, Version::HTTP_2), [true, true]);
        assert_eq!(fields(200, Version::HTTP_11), [true, true]);
    }

    #[test]
    fn nothing_is_guessed_where_it_must_not_be() {
        let mut response = Response::new(Body::from("text"));
        response.extensions_mut().insert(Untyped);
        assert!(Settled::of(Version::HTTP_11, &mut response).now_or_never() == Some(Settled::Keep));
    }

    #[test]
    fn a_body_from_elsewhere_is_told_by_its_first_part_and_sent_whole() {
        let body = |length| Body::stream(Parts(vec!["<html>", "more"], length));
        let (found, text) = settled(200, body(Some(10)), &[]);
        assert_eq!((found.as_str(), &text[..]), ("text/html; charset=utf-8", &b"<html>more"[..]));
        let (found, text) = settled(200, body(None), &[]);
        assert_eq!((found.as_str(), &text[..]), ("none", &b"<html>more"[..]));
    }
}
