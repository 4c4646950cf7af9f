//! The body of a request over HTTP/3, as its frames bring it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use quinn::ReadError;

use super::Shared;
use super::code::Code;
use super::frames::{FrameError, Frames, Piece};
use super::message;
use super::qpack::{self, SectionError};

/// What is left of a request whose body nobody reads any more. The client is asked to send no more
/// only once it has its answer.
#[derive(Clone, Default)]
pub(super) struct Rest(Arc<Mutex<Option<Frames>>>);

impl Rest {
    fn put(&self, frames: Frames) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(frames);
    }

    /// Asks the client to send no more.
    pub(super) fn stop(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// A client that waits to be told to send its body (RFC 9110 section 10.1.1), until somebody reads it.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<(AtomicBool, AtomicWaker)>);

impl Waiting {
    fn tell(&self) {
        self.0.0.store(true, Relaxed);
        self.0.1.wake();
    }

    /// Ready once the client is to be told.
    pub(super) fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.1.register(cx.waker());
        if self.0.0.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A body that the client sends.
pub(super) struct RequestBody {
    /// There until it is dropped.
    frames: Option<Frames>,
    rest: Rest,
    /// There until the body is read for the first time, if the client waits for that.
    waiting: Option<Waiting>,
    /// How much is to come, if the client has said so.
    left: Option<u64>,
    /// Nothing more can be read.
    is_over: bool,
    /// What a malformed frame ends.
    shared: Arc<Shared>,
}

impl RequestBody {
    /// The body behind a head that announces `length`, if it does.
    pub(super) fn new(frames: Frames, length: Option<u64>, shared: Arc<Shared>) -> Self {
        let is_over = frames.is_at_end() && length.is_none_or(|length| length == 0);
        Self { frames: Some(frames), rest: Rest::default(), waiting: None, left: length, is_over, shared }
    }

    /// The client waits to be told to send it.
    pub(super) fn wait(&mut self) -> Waiting {
        self.waiting.get_or_insert_default().clone()
    }

    /// Where the rest of the request will be found.
    pub(super) fn rest(&self) -> Rest {
        self.rest.clone()
    }

    /// The next part, checked against what the head has announced.
    fn judge(&mut self, piece: Option<Piece>) -> Result<Option<Frame<Bytes>>, FrameError> {
        let malformed = Err(FrameError::Stream(Code::Message));
        match piece {
            // A body must be as long as it was announced (RFC 9114 section 4.1.2).
            None if self.left.is_some_and(|left| left > 0) => malformed,
            None => Ok(None),
            Some(Piece::Data(data)) => {
                if let Some(left) = &mut self.left {
                    let Some(less) = left.checked_sub(data.len() as u64) else { return malformed };
                    *left = less;
                }
                Ok(Some(Frame::data(data)))
            }
            Some(Piece::Trailers(_)) if self.left.is_some_and(|left| left > 0) => malformed,
            Some(Piece::Trailers(section)) => {
                let fields =
                    qpack::decode(&section, self.shared.limits.head_bytes_max).map_err(
                        |error| match error {
                            SectionError::Malformed => FrameError::Connection(Code::Decompression),
                            SectionError::TooLarge => FrameError::TooLarge,
                        },
                    )?;
                match message::trailers(fields) {
                    Ok(trailers) => Ok(Some(Frame::trailers(trailers))),
                    Err(_) => malformed,
                }
            }
        }
    }

    fn fail(&mut self, error: &FrameError) {
        let code = match error {
            FrameError::Connection(code) => return self.shared.connection.close((*code).into(), b""),
            FrameError::Stream(code) => *code,
            FrameError::TooLarge => Code::ExcessiveLoad,
            FrameError::Lost(ReadError::Reset(_)) => return self.shared.waste(),
            FrameError::Lost(_) => return,
        };
        self.shared.waste();
        if let Some(frames) = &mut self.frames {
            frames.stop(code);
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = FrameError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FrameError>>> {
        let this = self.get_mut();
        let Some(frames) = this.frames.as_mut().filter(|_| !this.is_over) else { return Poll::Ready(None) };
        if let Some(waiting) = this.waiting.take() {
            waiting.tell();
        }
        let piece = ready!(frames.poll_piece(cx)).transpose();
        let judged = piece.and_then(|piece| this.judge(piece));
        if let Err(error) = &judged {
            this.fail(error);
        }
        this.is_over = !matches!(judged, Ok(Some(_)));
        Poll::Ready(judged.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_over => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(frames) = self.frames.take() {
            self.rest.put(frames);
        }
    }
}
