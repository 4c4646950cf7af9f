//! One request over HTTP/3: its head, its way through the server, and its answer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use quinn::ReadError;

use super::Shared;
use super::body::{RequestBody, Rest, Waiting};
use super::code::Code;
use super::frames::{self, DATA, FrameError, Frames, HEADERS};
use super::message::{self, Head};
use super::qpack::{self, SectionError};
use crate::http::serve::conn::{Aborted, Answer, respond_on_stream};
use crate::http::serve::streams::{StreamClock, Upload};
use crate::http::{Body, BodyError, Interims, status_text};

/// A client that says no length may be a moment late to say that there is no body, as with GET there
/// mostly isn't; else the upstream would be announced one of unknown length.
const END_WAIT: Duration = Duration::from_millis(100);

/// A client is given the time for so many bytes at once.
const PART_BYTES: usize = 64 * 1024;

/// What a client expects that waits to be told to send its body.
const CONTINUE: &[u8] = b"100-continue";

/// The client's side of an answer. Dropped before the answer is complete, it is reset: else it would
/// look whole.
struct Outgoing {
    send: quinn::SendStream,
    clock: Arc<StreamClock>,
    /// Its head is on its way, and that of no interim one.
    has_begun: bool,
    is_complete: bool,
    /// What it is reset with.
    code: Code,
}

impl Outgoing {
    fn new(send: quinn::SendStream, clock: Arc<StreamClock>) -> Self {
        Self { send, clock, has_begun: false, is_complete: false, code: Code::RequestCancelled }
    }

    /// Sends a frame. The client must take each part of it in time.
    async fn frame(&mut self, kind: u64, mut payload: Bytes) -> Result<(), quinn::WriteError> {
        let mut start = frames::start(kind, payload.len()).freeze();
        loop {
            let part = payload.split_to(payload.len().min(PART_BYTES));
            self.clock.limit_taking();
            self.send.write_all_chunks(&mut [start, part]).await?;
            self.clock.taken();
            if payload.is_empty() {
                return Ok(());
            }
            start = Bytes::new();
        }
    }

    fn finish(&mut self) {
        self.is_complete = true;
        // That it was ended or stopped before changes nothing.
        let _ = self.send.finish();
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.is_complete {
            let _ = self.send.reset(self.code.into());
        }
    }
}

/// Why a request gets no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Malformed(#[from] message::Malformed),
    #[error("malformed field section")]
    Section,
    #[error("the head did not come in time")]
    Late,
    #[error("the handler aborted the connection")]
    Aborted,
    #[error(transparent)]
    Write(#[from] quinn::WriteError),
    #[error("the body broke off: {0}")]
    Body(BodyError),
    #[error("the client takes no such large field sections")]
    TooLargeForClient,
}

/// Serves a request to the end of its answer.
pub(super) async fn serve(
    shared: Arc<Shared>,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    clock: Arc<StreamClock>,
) {
    let mut out = Outgoing::new(send, clock.clone());
    let stopped = pin!(out.send.stopped());
    let answered = {
        let answering = pin!(answer(&shared, &mut out, recv, &clock));
        match select(stopped, answering).await {
            // The client wants no answer any more, or is gone: so nobody works on one.
            Either::Left((stopped, _)) => Err(stopped),
            Either::Right((answered, stopped)) => Ok(answered.map(|answer| (answer, stopped))),
        }
    };
    match answered {
        Ok(Ok((answer, stopped))) => {
            // The request is over when the client has all of its answer, or takes too long over it.
            clock.limit_taking();
            let _ = stopped.await;
            drop(answer);
        }
        Err(stopped) => {
            if stopped.is_ok() && !out.has_begun {
                shared.waste();
            }
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "an HTTP/3 request was not answered");
            give_up(&shared, &mut out, &error);
        }
    }
}

fn give_up(shared: &Shared, out: &mut Outgoing, error: &Unanswered) {
    if let Unanswered::Frame(FrameError::Lost(ReadError::Reset(_)) | FrameError::Stream(_))
    | Unanswered::Malformed(_) = error
    {
        shared.waste();
    }
    out.code = match error {
        Unanswered::Frame(FrameError::Connection(code)) => {
            return shared.connection.close((*code).into(), b"");
        }
        Unanswered::Section => return shared.connection.close(Code::Decompression.into(), b""),
        Unanswered::Frame(FrameError::Stream(code)) => *code,
        Unanswered::Malformed(_) => Code::Message,
        Unanswered::Frame(_) | Unanswered::Late | Unanswered::Write(_) => Code::RequestCancelled,
        Unanswered::Aborted | Unanswered::Body(_) | Unanswered::TooLargeForClient => Code::Internal,
    };
}

/// Reads a request and answers it; what is returned keeps the request under way.
async fn answer(
    shared: &Arc<Shared>,
    out: &mut Outgoing,
    recv: quinn::RecvStream,
    clock: &Arc<StreamClock>,
) -> Result<Option<Answer>, Unanswered> {
    let mut frames = Frames::new(recv, shared.limits.head_bytes_max);
    let Head { request, length } = match head(shared, &mut frames).await {
        Ok(head) => head,
        Err(Unanswered::Frame(FrameError::TooLarge)) => {
            brief(shared, out, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).await?;
            return Ok(None);
        }
        Err(error) => {
            if let Unanswered::Malformed(_) = error {
                frames.stop(Code::Message);
            }
            return Err(error);
        }
    };
    if *request.method() == Method::CONNECT {
        // There are no tunnels over HTTP/3 here.
        brief(shared, out, StatusCode::NOT_IMPLEMENTED).await?;
        return Ok(None);
    }
    look_ahead(&mut frames, request.method(), length).await;
    let is_head = *request.method() == Method::HEAD;
    let mut body = RequestBody::new(frames, length, shared.clone());
    let rest = body.rest();
    let waits = request.headers().get(EXPECT).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(CONTINUE));
    let waiting = waits.then(|| body.wait());
    let request = request.map(|()| match body.is_end_stream() {
        true => Body::Empty,
        false => Body::stream(Upload::new(body, clock.clone())),
    });
    let interims = Arc::new(Interims::default());
    let (slot, told) = (shared.slot.bound(), Some(interims.clone()));
    let mut responding = pin!(respond_on_stream(request, shared.conn.clone(), slot, clock.clone(), told));
    let response = until_answered(shared, out, responding.as_mut(), &interims, waiting).await?;
    finish(shared, out, response, is_head, &rest).await
}

/// Waits for an answer, and sends what goes before it: interim ones, and that the client is to send its body
/// once somebody reads it.
async fn until_answered(
    shared: &Shared,
    out: &mut Outgoing,
    mut responding: Pin<&mut impl Future<Output = Answered>>,
    interims: &Interims,
    mut waiting: Option<Waiting>,
) -> Result<Answered, Unanswered> {
    let mut answered = None;
    loop {
        let next = poll_fn(|cx| {
            if answered.is_none() {
                answered = match responding.as_mut().poll(cx) {
                    Poll::Ready(response) => Some(response),
                    Poll::Pending => None,
                };
            }
            // What was said before the answer goes before it.
            if let Poll::Ready((status, headers)) = interims.poll_next(cx) {
                return Poll::Ready(Next::Interim(status, headers));
            }
            match answered.take() {
                Some(response) => Poll::Ready(Next::Answer(response)),
                None if waiting.as_ref().is_some_and(|waiting| waiting.poll_over(cx).is_ready()) => {
                    Poll::Ready(Next::Interim(StatusCode::CONTINUE, HeaderMap::new()))
                }
                None => Poll::Pending,
            }
        });
        match next.await {
            Next::Answer(response) => return Ok(response),
            Next::Interim(status, mut headers) => {
                if status == StatusCode::CONTINUE {
                    waiting = None;
                }
                // It has no body, whatever it says.
                headers.remove(CONTENT_LENGTH);
                message::strip(&mut headers);
                send_head(shared, out, status, &headers).await?;
            }
        }
    }
}

type Answered = Result<http::Response<Answer>, Aborted>;

/// What comes next of a request.
enum Next {
    /// An interim answer.
    Interim(StatusCode, HeaderMap),
    Answer(Answered),
}

/// Sends an answer to its end.
async fn finish(
    shared: &Shared,
    out: &mut Outgoing,
    response: Answered,
    is_head: bool,
    rest: &Rest,
) -> Result<Option<Answer>, Unanswered> {
    let response = response.map_err(|Aborted| Unanswered::Aborted)?;
    let answer = send(shared, out, response, is_head).await?;
    out.finish();
    rest.stop();
    Ok(Some(answer))
}

/// Reads the request's head, within the time that it may take.
async fn head(shared: &Shared, frames: &mut Frames) -> Result<Head, Unanswered> {
    // Mostly it is all there, and a timer is dear.
    let early = poll_fn(|cx| Poll::Ready(frames.poll_head(cx))).await;
    let section = match (early, shared.limits.head_timeout) {
        (Poll::Ready(section), _) => section?,
        (Poll::Pending, None) => poll_fn(|cx| frames.poll_head(cx)).await?,
        (Poll::Pending, Some(limit)) => {
            let reading = poll_fn(|cx| frames.poll_head(cx));
            tokio::time::timeout(limit, reading).await.map_err(|_| Unanswered::Late)??
        }
    };
    match qpack::decode(&section, shared.limits.head_bytes_max) {
        Ok(fields) => Ok(message::head(fields)?),
        Err(SectionError::TooLarge) => Err(FrameError::TooLarge.into()),
        Err(SectionError::Malformed) => Err(Unanswered::Section),
    }
}

/// Finds out whether there is a body, if that can be known soon.
async fn look_ahead(frames: &mut Frames, method: &Method, length: Option<u64>) {
    let early = poll_fn(|cx| Poll::Ready(frames.poll_ahead(cx))).await;
    let rarely_has_body = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE);
    if early.is_pending() && length.is_none() && rarely_has_body {
        let _ = tokio::time::timeout(END_WAIT, poll_fn(|cx| frames.poll_ahead(cx))).await;
    }
}

/// Sends an answer, each part as it comes.
async fn send(
    shared: &Shared,
    out: &mut Outgoing,
    response: http::Response<Answer>,
    is_head: bool,
) -> Result<Answer, Unanswered> {
    let (mut parts, mut answer) = response.into_parts();
    let has_body = !is_head
        && !parts.status.is_informational()
        && !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let Some(length) = answer.size_hint().exact()
        // Of an answer to HEAD it is only known if there would be one.
        && (has_body || (is_head && length > 0))
        && !parts.headers.contains_key(CONTENT_LENGTH)
    {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    message::settle(&mut parts.headers);
    send_head(shared, out, parts.status, &parts.headers).await?;
    while has_body && let Some(frame) = poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)).await {
        match frame.map_err(Unanswered::Body)?.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => out.frame(DATA, data).await?,
            Err(frame) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    message::strip(&mut trailers);
                    // Nobody has to take trailers; the answer is whole without.
                    if let Some(section) =
                        message::trailer_section(&trailers, shared.said.section_bytes_max())
                    {
                        out.frame(HEADERS, section).await?;
                    }
                    break;
                }
            }
        }
    }
    answer.sent();
    Ok(answer)
}

async fn send_head(
    shared: &Shared,
    out: &mut Outgoing,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<(), Unanswered> {
    let section = message::answer_section(status, headers, shared.said.section_bytes_max());
    let section = match section {
        Some(section) => section,
        // An interim answer may be left out (RFC 9110 section 15.2).
        None if status.is_informational() => return Ok(()),
        None => return Err(Unanswered::TooLargeForClient),
    };
    out.frame(HEADERS, section).await?;
    out.has_begun |= !status.is_informational();
    Ok(())
}

/// Answers with a status, before there is a request that routes could see.
async fn brief(shared: &Shared, out: &mut Outgoing, status: StatusCode) -> Result<(), Unanswered> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    message::settle(&mut headers);
    send_head(shared, out, status, &headers).await?;
    let text = format!("{} {}", status.as_u16(), status_text(status));
    out.frame(DATA, Bytes::from(text)).await?;
    out.finish();
    Ok(())
}
