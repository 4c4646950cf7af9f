//! One request to a FastCGI responder, such as php-fpm. Both bodies stream; each request has a
//! connection of its own, as responders expect it.

mod records;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body::{Frame, SizeHint};

pub use records::VariableTooLong;
pub(super) use records::{RECORD_BYTES_MAX, stdin};

use super::decode::{Framing, framing};
use super::dial::{self, Dial, UpstreamIo};
use super::error::{UpstreamError, UpstreamErrorKind};
use super::h1::{FIELDS_MAX, may_end};
use super::upload::{self, Upload};
use super::{Reason, TransportOptions};
use crate::http::chunked::{Chunked, Piece as BodyPiece};
use crate::http::reading::{join, read};
use crate::http::{Body, BodyError, Response};

/// So much of what a responder complains of is kept for the log.
const COMPLAINT_BYTES_MAX: usize = 64 * 1024;
/// So much of a body is read and dropped, where there must be none.
const UNWANTED_BYTES_MAX: usize = 16 * 1024 * 1024;

const STATUS: HeaderName = HeaderName::from_static("status");

/// A request as a responder is to see it.
pub struct FastCgiRequest<'a> {
    /// Its method, which tells whether the answer has a body.
    pub method: &'a Method,
    /// The variables, body's length among them.
    pub variables: &'a [(Vec<u8>, Vec<u8>)],
    /// The body's length.
    pub body_bytes: u64,
}

/// Told of what a responder complained of, and the status that it answered with.
pub type OnComplaint = Arc<dyn Fn(Option<StatusCode>, &[u8]) + Send + Sync>;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum FastCgiError {
    /// It can't be sent.
    #[error(transparent)]
    Variable(#[from] VariableTooLong),
    /// The responder failed.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

/// Sends one request to `dial` and waits for the head of the answer; its body streams.
///
/// `body` is taken only once there is a connection.
///
/// # Errors
/// [`FastCgiError`].
pub async fn round_trip(
    dial: &Dial,
    options: &TransportOptions,
    request: FastCgiRequest<'_>,
    body: &mut Body,
    on_complaint: Option<OnComplaint>,
) -> Result<Response, FastCgiError> {
    let variables = request.variables.iter().map(|(name, value)| (&name[..], &value[..]));
    let mut start = records::begin(variables)?;
    if request.body_bytes == 0 {
        start.extend_from_slice(&stdin(0));
    }
    let io = dial::connect(dial, options, None).await?;
    let upload = Upload::records(start.into(), std::mem::take(body), request.body_bytes);
    let mut responder = Box::new(Responder {
        io,
        rest: Bytes::new(),
        records: records::Records::default(),
        answer: Bytes::new(),
        framing: Framing::Close,
        upload: Some(Box::new(upload)),
        complaint: on_complaint.map(|tell| Complaint { bytes: Vec::new(), status: None, tell }),
        is_over: false,
    });
    let mut looked_at = 0;
    let head = poll_fn(|cx| responder.poll_head(cx, options.head_bytes_max, &mut looked_at)).await;
    let mut response = head.map_err(|error| UpstreamError { reached: responder.has_begun(), kind: error })?;
    if let Some(complaint) = &mut responder.complaint {
        complaint.status = Some(response.status());
    }
    responder.framing = framing(request.method, response.status(), response.headers())
        .map_err(|error| UpstreamError::sent(UpstreamErrorKind::BadAnswer(error)))?;
    let has_none = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if *request.method == Method::HEAD || has_none {
        // A script is not cut short, as it would be without its reader.
        let mut dropped = 0;
        let silence = poll_fn(|cx| responder.poll_silence(cx, &mut dropped));
        silence.await.map_err(UpstreamError::sent)?;
        return Ok(response);
    }
    *response.body_mut() = Body::stream(AnswerBody(responder));
    Ok(response)
}

/// A connection, and how far the answer on it has been read.
struct Responder {
    io: UpstreamIo,
    /// Bytes read, with records in them.
    rest: Bytes,
    records: records::Records,
    /// What records have brought of the answer and nobody has taken yet.
    answer: Bytes,
    framing: Framing,
    upload: Option<Box<Upload>>,
    complaint: Option<Complaint>,
    is_over: bool,
}

/// What a responder complains of; told when the request is over, however it ends.
struct Complaint {
    bytes: Vec<u8>,
    status: Option<StatusCode>,
    tell: OnComplaint,
}

impl Drop for Complaint {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            (self.tell)(self.status, &self.bytes);
        }
    }
}

impl Responder {
    /// Whether the responder can have seen something of the request.
    fn has_begun(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| upload.has_begun())
    }

    /// Sends more of the request, if something is left. Returns why that failed, if it did.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Option<UpstreamErrorKind> {
        upload::go_on(&mut self.upload, cx, &mut self.io)
    }

    /// More of the answer, as records bring it; nothing once the responder is done.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, UpstreamErrorKind>> {
        if self.is_over {
            return Poll::Ready(Ok(None));
        }
        let failed = self.poll_upload(cx);
        loop {
            match self.records.next(&mut self.rest).map_err(UpstreamErrorKind::BadAnswer)? {
                records::Piece::Answer(bytes) => return Poll::Ready(Ok(Some(bytes))),
                records::Piece::Complaint(bytes) => {
                    if let Some(Complaint { bytes: kept, .. }) = &mut self.complaint {
                        let room = COMPLAINT_BYTES_MAX.saturating_sub(kept.len());
                        kept.extend_from_slice(&bytes[..room.min(bytes.len())]);
                    }
                }
                records::Piece::AnswerEnds => {}
                records::Piece::End => {
                    self.is_over = true;
                    return Poll::Ready(Ok(None));
                }
                records::Piece::More => {
                    self.rest = match read(&mut self.io, cx) {
                        Poll::Ready(more) => more?,
                        Poll::Pending => {
                            return failed.map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                        }
                    };
                    if self.rest.is_empty() {
                        // Some are content with closing once the answer has been said to end.
                        self.is_over = self.records.answer_has_ended();
                        let cut = if self.is_over { Ok(None) } else { Err(UpstreamErrorKind::Closed) };
                        return Poll::Ready(failed.map_or(cut, Err));
                    }
                }
            }
        }
    }

    /// The head of the answer.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        bytes_max: usize,
        looked_at: &mut usize,
    ) -> Poll<Result<Response, UpstreamErrorKind>> {
        loop {
            if may_end(&self.answer, *looked_at)
                && let Some((response, length)) = parse_head(&self.answer)?
            {
                let _ = self.answer.split_to(length);
                return Poll::Ready(Ok(response));
            }
            if self.answer.len() >= bytes_max {
                return Poll::Ready(Err(UpstreamErrorKind::BadAnswer("header section too long")));
            }
            *looked_at = self.answer.len();
            let Some(more) = ready!(self.poll_answer(cx))? else {
                return Poll::Ready(Err(UpstreamErrorKind::BadAnswer("header section cut short")));
            };
            self.answer = join(std::mem::take(&mut self.answer), more);
        }
    }

    /// The end of an answer that has no body. What comes all the same is dropped, within a bound.
    fn poll_silence(
        &mut self,
        cx: &mut Context<'_>,
        dropped: &mut usize,
    ) -> Poll<Result<(), UpstreamErrorKind>> {
        while *dropped < UNWANTED_BYTES_MAX {
            match ready!(self.poll_answer(cx))? {
                Some(bytes) => *dropped += bytes.len(),
                None => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamErrorKind>>> {
        loop {
            match self.decode() {
                Ok(BodyPiece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(BodyPiece::Trailers(map)) => return Poll::Ready(Some(Ok(Frame::trailers(map)))),
                Ok(BodyPiece::End | BodyPiece::More) => {}
                Err(error) => return Poll::Ready(Some(Err(UpstreamErrorKind::BadAnswer(error)))),
            }
            match ready!(self.poll_answer(cx)) {
                Ok(Some(more)) => self.answer = more,
                Ok(None) if self.is_whole() => return Poll::Ready(None),
                Ok(None) => return Poll::Ready(Some(Err(UpstreamErrorKind::Closed))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn is_whole(&self) -> bool {
        matches!(self.framing, Framing::Close | Framing::Length(0) | Framing::Chunked(Chunked::End))
    }

    fn decode(&mut self) -> Result<BodyPiece, &'static str> {
        match &mut self.framing {
            _ if self.answer.is_empty() => Ok(BodyPiece::More),
            Framing::Length(0) | Framing::Chunked(Chunked::End) => Err("more than the announced body"),
            Framing::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(self.answer.len());
                *left -= take as u64;
                Ok(BodyPiece::Data(self.answer.split_to(take)))
            }
            Framing::Close => Ok(BodyPiece::Data(std::mem::take(&mut self.answer))),
            Framing::Chunked(chunked) => chunked.next(&mut self.answer),
        }
    }
}

/// The head at the start of `bytes` and its length; `None` while it is incomplete. Its status stands
/// in a field; without one all is well.
fn parse_head(bytes: &Bytes) -> Result<Option<(Response, usize)>, UpstreamErrorKind> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let (length, fields) = match httparse::parse_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(UpstreamErrorKind::BadAnswer("malformed header section")),
    };
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(UpstreamErrorKind::BadAnswer("malformed header field"));
        };
        headers.append(name, value);
    }
    let mut response = Response::new(Body::Empty);
    if let Some(value) = headers.get(STATUS) {
        let bad = UpstreamErrorKind::BadAnswer("malformed status");
        let value = value.as_bytes();
        let (code, reason) =
            value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()));
        let status = StatusCode::from_bytes(code).map_err(|_| bad)?;
        if status.is_informational() {
            return Err(UpstreamErrorKind::BadAnswer("an interim status"));
        }
        let reason = reason.trim_ascii();
        if !reason.is_empty() && Some(reason) != status.canonical_reason().map(str::as_bytes) {
            response.extensions_mut().insert(Reason(Bytes::copy_from_slice(reason)));
        }
        *response.status_mut() = status;
    }
    // An answer that came by no version of HTTP.
    *response.version_mut() = Version::HTTP_09;
    *response.headers_mut() = headers;
    Ok(Some((response, length)))
}

/// The body of an answer as it comes in.
struct AnswerBody(Box<Responder>);

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().0.poll_frame(cx).map_err(|error| Box::new(error) as BodyError)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_over && self.0.answer.is_empty() && self.0.is_whole()
    }

    fn size_hint(&self) -> SizeHint {
        if let Framing::Length(left) = self.0.framing { SizeHint::with_exact(left) } else { SizeHint::new() }
    }
}
