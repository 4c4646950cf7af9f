//! One HTTP/1 connection to an upstream.
//!
//! Written against `httparse` instead of hyper's client, because this is the hot path: no task and
//! no channel per connection, no buffer held while an upstream is silent, and the framing rules are
//! stricter than a client library's need be. The figures are in docs/architecture.md.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body::Frame;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::Sleep;

use super::Reason;
use super::decode::{Framing, framing};
use super::dial::UpstreamIo;
use super::error::{UpstreamErrorKind, read_told};
use super::pool::{self, IdleLimits, PoolKey};
use super::upload::{self, Upload};
use crate::http::chunked::{Chunked, Piece};
use crate::http::reading::{join, read};
use crate::http::{Body, BodyError, header_maps};

/// So many header fields may an answer have.
pub(super) const FIELDS_MAX: usize = 128;

/// A connection, and how far its present answer has been read.
pub(super) struct H1 {
    io: UpstreamIo,
    pub(super) key: PoolKey,
    pub(super) idle: IdleLimits,
    /// Bytes read and not yet decoded.
    rest: Bytes,
    framing: Framing,
    /// What is still to be sent while the answer already arrives.
    pub(super) upload: Option<Box<Upload>>,
    /// Whether the connection can serve another request after this answer.
    reusable: bool,
    /// Whether it has served one before.
    pub(super) reused: bool,
}

/// The head of an answer.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) reason: Option<Reason>,
    /// Which fields it has that say how its body and its connection end.
    pub(super) says: Says,
}

/// Fields of an answer that most don't have, so that nobody need look for them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Says {
    pub(super) coding: bool,
    pub(super) connection: bool,
}

impl H1 {
    pub(super) fn new(io: UpstreamIo, key: PoolKey, idle: IdleLimits) -> Self {
        Self {
            io,
            key,
            idle,
            rest: Bytes::new(),
            framing: Framing::Length(0),
            upload: None,
            reusable: false,
            reused: false,
        }
    }

    pub(super) fn io(&mut self) -> &mut UpstreamIo {
        &mut self.io
    }

    /// The bare connection, and what was read behind the head of a 101.
    pub(super) fn into_upgraded(self) -> (UpstreamIo, Bytes) {
        (self.io, self.rest)
    }

    /// Whether an idle connection is still open with nothing to read on it.
    ///
    /// The kernel is asked, not only the reactor: what has come since the reactor last looked would
    /// else be taken for the answer to the next request.
    pub(super) fn is_quiet(&mut self) -> bool {
        let io = self.io.untimed();
        let mut byte = [0];
        // A session has records of its own to read, such as tickets. Only it can tell them from an
        // answer that nobody asked for.
        if let UpstreamIo::Tls(session) = io {
            let mut buf = ReadBuf::new(&mut byte);
            let mut cx = Context::from_waker(Waker::noop());
            if Pin::new(session).poll_read(&mut cx, &mut buf).is_ready() {
                return false;
            }
        }
        io.is_kernel_buffer_empty()
    }

    /// Sends and receives until an answer's head is complete. Interim answers are heads too.
    ///
    /// `head_bytes_left` bounds this head and all interim ones before it together; `looked_at` is how
    /// much of this one has come without its end.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head_bytes_left: &mut usize,
        looked_at: &mut usize,
    ) -> Poll<Result<Head, UpstreamErrorKind>> {
        let uploading = self.poll_upload(cx);
        if self.upload.as_ref().is_some_and(|upload| !upload.has_begun()) {
            // Whatever can be read now is no answer to a request of which nothing was sent.
            return uploading.map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
        }
        loop {
            if may_end(&self.rest, *looked_at)
                && let Some((head, length)) = parse_head(&self.rest)?
            {
                if length > *head_bytes_left {
                    return Poll::Ready(Err(UpstreamErrorKind::BadAnswer("header section too long")));
                }
                let _ = self.rest.split_to(length);
                *head_bytes_left = head_bytes_left.saturating_sub(length);
                return Poll::Ready(Ok(head));
            }
            if self.rest.len() >= *head_bytes_left {
                return Poll::Ready(Err(UpstreamErrorKind::BadAnswer("header section too long")));
            }
            let more = match read(&mut self.io, cx) {
                Poll::Ready(Ok(more)) => more,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(read_told(self.io.local(), &self.key.dial, error).into()));
                }
                // A client's body that broke off ends the attempt only if no answer is there.
                Poll::Pending => return uploading.map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
            };
            if more.is_empty() {
                let cut =
                    if self.rest.is_empty() { UpstreamErrorKind::Closed } else { UpstreamErrorKind::HeadCut };
                return Poll::Ready(Err(uploading.unwrap_or(cut)));
            }
            *looked_at = self.rest.len();
            self.rest = join(std::mem::take(&mut self.rest), more);
        }
    }

    /// Sends more of the request, if something is left. Returns why that failed, if it did.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Option<UpstreamErrorKind> {
        upload::go_on(&mut self.upload, cx, &mut self.io)
    }

    /// Settles how the body behind `head` is framed and whether the connection outlives it.
    pub(super) fn begin_body(&mut self, method: &Method, head: &Head) -> Result<(), UpstreamErrorKind> {
        if head.version == Version::HTTP_10 && head.says.coding {
            // RFC 9112 section 6.1: such a message can't be trusted to end where it says.
            return Err(UpstreamErrorKind::BadAnswer("Transfer-Encoding in HTTP/1.0"));
        }
        self.framing = framing(method, head.status, &head.headers).map_err(UpstreamErrorKind::BadAnswer)?;
        self.reusable = self.framing != Framing::Close && keeps_alive(head) && !goes_on(method, head);
        Ok(())
    }

    /// The body behind the head. What has come with the head in full needs no stream.
    pub(super) fn into_body(mut self: Box<Self>) -> Body {
        let Framing::Length(length) = self.framing else { return Body::Upstream(UpstreamBody(self)) };
        if self.rest.len() as u64 >= length && self.upload.is_none() {
            // The bound has just been checked, so `length` fits.
            let body = self.rest.split_to(length as usize);
            self.framing = Framing::Length(0);
            self.finish();
            return Body::from(body);
        }
        Body::Upstream(UpstreamBody(self))
    }

    /// Back to the pool, if nothing is in doubt; closed otherwise.
    fn finish(self: Box<Self>) {
        if self.reusable && self.upload.is_none() && self.rest.is_empty() {
            let mut conn = self;
            conn.reused = true;
            pool::put(conn);
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.framing, Framing::Length(0) | Framing::Chunked(Chunked::End))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.upload.is_some()
            && let Some(error) = self.poll_upload(cx)
        {
            return Poll::Ready(Some(Err(Box::new(error))));
        }
        loop {
            match self.decode() {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(map)) => return Poll::Ready(Some(Ok(Frame::trailers(map)))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(error) => return Poll::Ready(Some(Err(Box::new(UpstreamErrorKind::BadAnswer(error))))),
            }
            self.rest = ready!(read(&mut self.io, cx)).map_err(Box::new)?;
            if self.rest.is_empty() {
                if self.framing == Framing::Close {
                    self.framing = Framing::Length(0);
                    return Poll::Ready(None);
                }
                return Poll::Ready(Some(Err(Box::new(UpstreamErrorKind::BodyCut))));
            }
        }
    }

    fn decode(&mut self) -> Result<Piece, &'static str> {
        match &mut self.framing {
            Framing::Length(0) => Ok(Piece::End),
            _ if self.rest.is_empty() => Ok(Piece::More),
            Framing::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(self.rest.len());
                *left -= take as u64;
                Ok(Piece::Data(self.rest.split_to(take)))
            }
            Framing::Close => Ok(Piece::Data(std::mem::take(&mut self.rest))),
            Framing::Chunked(chunked) => chunked.next(&mut self.rest),
        }
    }
}

/// Whether the upstream may think that something comes behind this answer where we know of nothing:
/// a tunnel behind a 2xx to CONNECT, or the body that a 204 can't have.
fn goes_on(method: &Method, head: &Head) -> bool {
    if *method == Method::CONNECT {
        return head.status.is_success();
    }
    head.status == StatusCode::NO_CONTENT
        && (head.says.coding || head.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0"))
}

/// Whether the end of a head may be in `bytes`, of which so many were looked at before.
pub(super) fn may_end(bytes: &[u8], looked_at: usize) -> bool {
    if looked_at == 0 {
        return !bytes.is_empty();
    }
    // An empty line's end may be what was missing.
    let tail = &bytes[looked_at.saturating_sub(3)..];
    memchr::memchr_iter(b'\n', tail).any(|lf| matches!(tail[lf + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// The head at the start of `bytes` and its length; `None` while it is incomplete.
pub(super) fn parse_head(bytes: &Bytes) -> Result<Option<(Head, usize)>, UpstreamErrorKind> {
    let mut fields = [std::mem::MaybeUninit::uninit(); FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(UpstreamErrorKind::BadAnswer("malformed header section")),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let Some(status) = status else { return Err(UpstreamErrorKind::BadAnswer("malformed status")) };
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let (mut headers, mut says) = (header_maps::take(), Says::default());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(UpstreamErrorKind::BadAnswer("malformed header field"));
        };
        says.coding |= name == TRANSFER_ENCODING;
        says.connection |= name == CONNECTION;
        headers.append(name, value);
    }
    let headers = header_maps::not_kept_if_large(headers);
    let reason = parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason());
    let reason = reason.map(|reason| Reason(bytes.slice_ref(reason.as_bytes())));
    Ok(Some((Head { status, version, headers, reason, says }, length)))
}

/// Whether the upstream means to keep the connection (RFC 9112 section 9.3).
fn keeps_alive(head: &Head) -> bool {
    if !head.says.connection {
        return head.version != Version::HTTP_10;
    }
    let says = |option: &str| {
        let fields = head.headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        fields.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(option))
    };
    if head.version == Version::HTTP_10 { says("keep-alive") } else { !says("close") }
}

/// The body of an HTTP/1 answer as it comes in.
pub struct UpstreamBody(Box<H1>);

impl UpstreamBody {
    /// The bytes still to come, if that is known.
    pub(in crate::http) fn length(&self) -> Option<u64> {
        if let Framing::Length(left) = self.0.framing { Some(left) } else { None }
    }

    /// Whether everything has been read.
    pub(in crate::http) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// The next frame.
    pub(in crate::http) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_piece(cx)
    }

    /// Lets go of the connection after the last byte.
    pub(in crate::http) fn finish(self) {
        self.0.finish();
    }
}

/// Waits for the head of an answer.
pub(super) struct ReadHead<'a> {
    pub(super) conn: &'a mut H1,
    pub(super) head_bytes_left: &'a mut usize,
    pub(super) looked_at: usize,
    pub(super) patience: &'a mut Option<Patience>,
}

/// How long an upstream may think. The clock starts once all of the request was sent.
pub(super) struct Patience {
    limit: Duration,
    running: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, running: None }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.running.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit))).as_mut().poll(cx)
    }
}

impl Future for ReadHead<'_> {
    type Output = Result<Head, UpstreamErrorKind>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let head = this.conn.poll_head(cx, this.head_bytes_left, &mut this.looked_at);
        if head.is_pending()
            && this.conn.upload.is_none()
            && let Some(patience) = this.patience
        {
            ready!(patience.poll_end(cx));
            return Poll::Ready(Err(UpstreamErrorKind::HeadLate));
        }
        head
    }
}
