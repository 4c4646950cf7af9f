//! Whether an answer is compressed, and what that does to its header.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::body::EncodedBody;
use super::may_be_transformed;
use crate::http::sniff::{SNIFF_BYTES_MAX, content_type};
use crate::http::{
    AnswerMatcher, Body, Encoding, Exchange, HandlerError, Intercepted, Interception, Interceptor, Response,
    gather_arrived,
};

/// The type of a stream of events.
const EVENT_STREAM: &[u8] = b"text/event-stream";
/// A compressed answer that is not longer has its length said, as Go's server does it.
const WHOLE_BYTES_MAX: usize = 2048;
/// The same with HTTP/2 and HTTP/3.
const WHOLE_BYTES_MAX_H2: usize = 4096;
/// So much of a body is compressed before its length is given up, or so long is waited.
const HELD_BYTES_MAX: u64 = 1024 * 1024;
const HELD_MAX: Duration = Duration::from_secs(1);
/// A body in memory of at most this size is compressed without letting others have their turn.
const AT_ONCE_BYTES_MAX: usize = 64 * 1024;

/// What all encodings of a site have in common.
pub(super) struct Settings {
    /// Answers must be longer.
    pub(super) minimum_length: i64,
    /// Which answers are meant.
    pub(super) matcher: AnswerMatcher,
}

/// An encoding that clients can have. Chosen for a request, it sees the answer.
pub(super) struct Offer {
    name: &'static str,
    /// What an entity tag ends with when its answer is compressed: `-gzip"`.
    tag_suffix: Box<[u8]>,
    encoding: Box<dyn Encoding>,
    settings: Arc<Settings>,
}

/// What becomes of an answer.
enum Look {
    Pass,
    Encode,
    /// Only its body can tell.
    Wait,
}

impl Offer {
    pub(super) fn new(name: &'static str, encoding: Box<dyn Encoding>, settings: Arc<Settings>) -> Self {
        let tag_suffix = format!("-{name}\"").into_bytes().into();
        Self { name, tag_suffix, encoding, settings }
    }

    /// The name by which clients ask for it.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn tag_suffix(&self) -> &[u8] {
        &self.tag_suffix
    }

    fn look(&self, x: &Exchange, answer: &mut Response) -> Look {
        let (status, is_empty) = (answer.status(), answer.body().is_empty());
        if status == StatusCode::NOT_MODIFIED {
            vary(answer.headers_mut());
        }
        let headers = answer.headers();
        let is_tunnel = x.method == Method::CONNECT && status.is_success() || status.is_informational();
        // Part of a body is part of the body as it is.
        if is_tunnel
            || status == StatusCode::PARTIAL_CONTENT
            || !is_empty_field(headers, CONTENT_ENCODING)
            || !may_be_transformed(headers)
        {
            return Look::Pass;
        }
        let is_meant = self.settings.matcher.matches(status, headers);
        if is_event_stream(headers) {
            return if is_meant { Look::Encode } else { Look::Pass };
        }
        let said = content_length(headers);
        if is_empty {
            return if is_meant && self.is_long(said) { Look::Encode } else { Look::Pass };
        }
        let is_typed = !is_empty_field(headers, CONTENT_TYPE);
        if is_typed && !is_meant || self.settings.minimum_length <= 0 {
            return Look::Pass;
        }
        match (answer.body(), said) {
            (Body::Full(bytes), _) => {
                if !self.is_long(i64::try_from(bytes.len()).ok()) && !self.is_long(said) {
                    return Look::Pass;
                }
                let start = bytes.clone();
                if is_typed || self.is_meant_by_its_start(&start, answer) { Look::Encode } else { Look::Pass }
            }
            (_, Some(_)) if !self.is_long(said) => Look::Pass,
            (_, Some(_)) if is_typed => Look::Encode,
            _ => Look::Wait,
        }
    }

    fn is_long(&self, length: Option<i64>) -> bool {
        length.is_some_and(|length| length > self.settings.minimum_length)
    }

    /// Gives an answer that says no type the one that its body looks like; whether it is meant then.
    fn is_meant_by_its_start(&self, start: &[u8], answer: &mut Response) -> bool {
        let looks_like = content_type(&start[..start.len().min(SNIFF_BYTES_MAX)]);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(looks_like));
        self.settings.matcher.matches(answer.status(), answer.headers())
    }

    /// Waits for the first of the body, which says of how much it has come whether it is long enough.
    async fn wait(&self, x: &mut Exchange, mut answer: Response) -> Intercepted<'_> {
        let body = std::mem::take(answer.body_mut());
        let minimum = usize::try_from(self.settings.minimum_length).unwrap_or(0);
        let gathered = gather_arrived(body, minimum.saturating_add(1)).await;
        let is_long = gathered.bytes() > minimum || self.is_long(content_length(answer.headers()));
        let is_typed = !is_empty_field(answer.headers(), CONTENT_TYPE);
        let is_meant = is_long && (is_typed || self.is_meant_by_its_start(gathered.start(), &mut answer));
        *answer.body_mut() = gathered.into_body();
        if is_meant { self.encode_later(x, answer).await } else { Intercepted::Pass(answer) }
    }

    fn encode<'p: 'x, 'x>(&'p self, x: &'x mut Exchange, mut answer: Response) -> Interception<'p, 'x> {
        let is_bodiless = x.method == Method::HEAD
            || matches!(answer.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if answer.body().is_empty() && (is_bodiless || !is_event_stream(answer.headers())) {
            self.announce(answer.headers_mut());
            return Interception::Now(Intercepted::Pass(answer));
        }
        let is_at_once = match answer.body() {
            Body::Empty => true,
            // An upstream's events stay a stream, however few have come so far.
            Body::Full(_) if x.upstream.is_some() && is_event_stream(answer.headers()) => false,
            Body::Full(bytes) => bytes.len() <= AT_ONCE_BYTES_MAX,
            _ => false,
        };
        if !is_at_once {
            return Interception::Later(Box::pin(self.encode_later(x, answer)));
        }
        let mut body = match self.begin(&mut answer) {
            Ok(body) => body,
            Err(error) => return Interception::Now(Intercepted::Fail(error)),
        };
        // Such a body never waits.
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let bytes_max = whole_bytes_max(x);
        while body.is_open(bytes_max) && body.poll_fill(&mut cx, false).is_ready() {}
        Interception::Now(Intercepted::Pass(settled(x, answer, body)))
    }

    async fn encode_later(&self, x: &mut Exchange, mut answer: Response) -> Intercepted<'_> {
        let is_event_stream = is_event_stream(answer.headers());
        let has_length = !is_event_stream
            && (content_length(answer.headers()).is_some() || matches!(answer.body(), Body::Full(_)));
        let mut body = match self.begin(&mut answer) {
            Ok(body) => body,
            Err(error) => return Intercepted::Fail(error),
        };
        if has_length {
            let bytes_max = whole_bytes_max(x);
            let hold = async {
                while body.is_open(bytes_max) && body.taken < HELD_BYTES_MAX {
                    poll_fn(|cx| body.poll_fill(cx, false)).await;
                    if body.is_open(bytes_max) {
                        tokio::task::yield_now().await;
                    }
                }
            };
            // An upstream that takes its time is not waited for: what has come goes on.
            let _ = tokio::time::timeout(HELD_MAX, hold).await;
        }
        Intercepted::Pass(settled(x, answer, body))
    }

    /// Takes the answer's body, to be compressed, and says so in the header.
    fn begin(&self, answer: &mut Response) -> Result<EncodedBody, HandlerError> {
        let encoder = self
            .encoding
            .begin()
            .map_err(|error| HandlerError::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
        self.announce(answer.headers_mut());
        Ok(EncodedBody::new(std::mem::take(answer.body_mut()), encoder))
    }

    /// Says in the header that the body is compressed, and not what is true of the body as it was.
    fn announce(&self, headers: &mut HeaderMap) {
        headers.remove(CONTENT_LENGTH);
        headers.remove(ACCEPT_RANGES);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(self.name));
        vary(headers);
        // Another form of the same thing has another tag (RFC 9110 section 8.8.3.3).
        let Some(tag) = headers.get(ETAG).map(HeaderValue::as_bytes) else { return };
        if tag.is_empty() || tag.starts_with(b"W/") {
            return;
        }
        let ours = [tag.strip_suffix(b"\"").unwrap_or(tag), &self.tag_suffix].concat();
        if let Ok(ours) = HeaderValue::from_maybe_shared(bytes::Bytes::from(ours)) {
            headers.insert(ETAG, ours);
        }
    }
}

impl Interceptor for Offer {
    fn intercept<'p: 'x, 'x>(&'p self, x: &'x mut Exchange, mut answer: Response) -> Interception<'p, 'x> {
        match self.look(x, &mut answer) {
            Look::Pass => Interception::Now(Intercepted::Pass(answer)),
            Look::Encode => self.encode(x, answer),
            Look::Wait => Interception::Later(Box::pin(self.wait(x, answer))),
        }
    }
}

/// The answer with its compressed body: with a length if it is short, and to be streamed if not.
fn settled(x: &Exchange, mut answer: Response, mut body: EncodedBody) -> Response {
    *answer.body_mut() = match body.whole(whole_bytes_max(x)) {
        Some(bytes) => bytes.into(),
        // There will be no body, and nobody knows how long it would have been.
        None if x.method == Method::HEAD => Body::Empty,
        None => Body::stream(body),
    };
    answer
}

fn whole_bytes_max(x: &Exchange) -> usize {
    if x.version >= Version::HTTP_2 { WHOLE_BYTES_MAX_H2 } else { WHOLE_BYTES_MAX }
}

fn content_length(headers: &HeaderMap) -> Option<i64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_empty_field(headers: &HeaderMap, name: HeaderName) -> bool {
    headers.get(name).is_none_or(HeaderValue::is_empty)
}

/// Whether the answer is a stream of events, with parameters or without.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let said = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let Some((name, rest)) = said.split_at_checked(EVENT_STREAM.len()) else { return false };
    name.eq_ignore_ascii_case(EVENT_STREAM) && matches!(rest.trim_ascii_start().first(), None | Some(b';'))
}

/// Says that the answer depends on what the client accepts.
fn vary(headers: &mut HeaderMap) {
    let mut said =
        headers.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if !said.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"accept-encoding")) {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}
