//! An answer that further routes are run on (`intercept`): what becomes of it when they are through.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, TRAILER};
use http::{HeaderName, Method, StatusCode, Version};
use smallvec::SmallVec;

use super::{Body, Exchange, Response, discard};

/// Header fields that tell of a body, and are wrong beside another one.
const OF_BODY: [HeaderName; 3] = [CONTENT_LENGTH, CONTENT_ENCODING, TRAILER];

/// Gives an answer another status, and takes its body away if one of that status has none.
pub fn replace_status(answer: &mut Response, status: StatusCode) {
    *answer.status_mut() = status;
    if has_no_body(status) {
        answer.headers_mut().remove(CONTENT_LENGTH);
        discard(std::mem::take(answer.body_mut()));
    }
}

/// Whether answers of this status never have a body (RFC 9110 section 6.4.1).
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// An answer that is laid aside while routes run that may give another.
pub(super) struct Original {
    status: StatusCode,
    body: Body,
    of_body: SmallVec<[(HeaderName, HeaderValue); 2]>,
}

impl Original {
    /// Lays `answer` aside. Its header fields become those of the answer to come, but for those that
    /// tell of its body.
    pub(super) fn lay_aside(x: &mut Exchange, answer: Response) -> Self {
        let (parts, body) = answer.into_parts();
        let mut of_body = SmallVec::new();
        x.response_headers = parts.headers;
        for name in OF_BODY {
            of_body
                .extend(x.response_headers.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
            x.response_headers.remove(&name);
        }
        Self { status: parts.status, body, of_body }
    }

    /// The answer after all, because the routes gave none; with the header fields as they are now.
    pub(super) fn restore(self, x: &mut Exchange) -> Response {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = self.status;
        *response.headers_mut() = std::mem::take(&mut x.response_headers);
        self.give_body(&mut response);
        response
    }

    /// Gives way to `answer`, which gets this one's body if it has none.
    pub(super) fn give_way(self, method: &Method, answer: &mut Response) {
        // What a HEAD request gets has no body but may tell of one.
        let tells = *method == Method::HEAD && answer.headers().contains_key(CONTENT_LENGTH);
        if answer.body().is_empty() && !tells {
            self.give_body(answer);
        } else {
            discard(self.body);
        }
    }

    fn give_body(self, answer: &mut Response) {
        if has_no_body(answer.status()) {
            discard(self.body);
            return;
        }
        let headers = answer.headers_mut();
        OF_BODY.iter().for_each(|name| drop(headers.remove(name)));
        for (name, value) in self.of_body {
            headers.append(name, value);
        }
        *answer.version_mut() = Version::default();
        *answer.body_mut() = self.body;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str, headers: &[(&'static str, &'static str)]) -> Response {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        response
    }

    fn shown(response: &Response) -> String {
        let body = match response.body() {
            Body::Full(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        let mut fields: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        fields.sort();
        format!("{} {body} {}", response.status().as_u16(), fields.join(" "))
    }

    fn original(x: &mut Exchange) -> Original {
        let fields = [("x-a", "1"), ("content-length", "3"), ("content-encoding", "br")];
        Original::lay_aside(x, answer(404, "old", &fields))
    }

    #[test]
    fn another_status_may_have_no_body() {
        let replaced = |status: u16| {
            let mut answer = answer(404, "old", &[("content-length", "3")]);
            replace_status(&mut answer, StatusCode::from_u16(status).unwrap());
            shown(&answer)
        };
        assert_eq!(replaced(410), "410 old content-length=3");
        assert_eq!(replaced(204), "204  ");
    }

    #[test]
    fn fields_that_tell_of_a_body_stay_with_it() {
        let mut x = Exchange::get("/", &[]);
        let laid_aside = original(&mut x);
        assert_eq!(x.response_headers.len(), 1);
        assert_eq!(shown(&laid_aside.restore(&mut x)), "404 old content-encoding=br content-length=3 x-a=1");
    }

    #[test]
    fn another_body_takes_the_place_of_the_first() {
        let given = |method: Method, mut new: Response| {
            original(&mut Exchange::get("/", &[])).give_way(&method, &mut new);
            shown(&new)
        };
        assert_eq!(given(Method::GET, answer(200, "new", &[])), "200 new ");
        let kept = "201 old content-encoding=br content-length=3";
        assert_eq!(given(Method::GET, answer(201, "", &[("content-length", "0")])), kept);
        assert_eq!(given(Method::GET, answer(204, "", &[])), "204  ");
        assert_eq!(given(Method::HEAD, answer(200, "", &[("content-length", "9")])), "200  content-length=9");
        assert_eq!(given(Method::HEAD, answer(201, "", &[])), kept);
    }
}
