//! Sending a request's body to an HTTP/1 upstream as it comes in.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::dial::UpstreamIo;
use super::error::UpstreamErrorKind;
use crate::http::Body;

/// How long a request's body is, as far as its head can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// There is no body.
    None,
    /// This many bytes.
    Known(u64),
    /// Nobody knows; it goes in chunks.
    Chunked,
}

impl BodyLength {
    /// What `body` says of itself.
    pub(super) fn of(body: &Body) -> Self {
        if body.is_end_stream() {
            return Self::None;
        }
        match body.size_hint().exact() {
            Some(length) => Self::Known(length),
            None => Self::Chunked,
        }
    }
}

/// Whether a head is still held back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HeadWaits {
    /// The body has not been asked yet.
    Asks,
    /// It had nothing at once; the client's connection is given one look.
    Looks,
    /// Not any more.
    No,
}

/// A request on its way to an upstream: what is left of its head, and its body behind it.
///
/// One frame is under way at a time, so a slow upstream slows the client.
pub(super) struct Upload {
    /// Bytes to be sent before the next frame is asked for: head, chunk size, data, chunk end.
    pending: [Bytes; 4],
    /// The head waits for the first data, so that both go in one packet. It waits a moment only.
    head_waits: HeadWaits,
    body: Body,
    length: BodyLength,
    /// For a known length, what is still owed.
    owed: u64,
    /// The body has ended; only `pending` is left.
    ended: bool,
    /// Whether a byte was sent.
    begun: bool,
}

impl Upload {
    /// An upload of `body`, with `head` before it, or what is left of the head if some was sent (`begun`).
    pub(super) fn new(head: Bytes, begun: bool, body: Body, length: BodyLength) -> Self {
        let owed = if let BodyLength::Known(length) = length { length } else { 0 };
        let ended = length == BodyLength::None;
        let head_waits = if ended { HeadWaits::No } else { HeadWaits::Asks };
        let pending = [head, Bytes::new(), Bytes::new(), Bytes::new()];
        Self { pending, head_waits, body, length, owed, ended, begun }
    }

    /// Whether the upstream can have seen something of the request.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Sends what can be sent now; ready once everything is sent.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut UpstreamIo,
    ) -> Poll<Result<(), UpstreamErrorKind>> {
        loop {
            if self.head_waits == HeadWaits::No {
                ready!(self.poll_pending(cx, io))?;
            }
            if self.ended {
                return Pin::new(io).poll_flush(cx).map_err(Into::into);
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.head_waits = HeadWaits::No;
                    // Trailers of a request are not passed on over HTTP/1, as in Caddy.
                    if let Ok(data) = frame.into_data() {
                        self.queue(data)?;
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(UpstreamErrorKind::RequestBody(error)));
                }
                Poll::Ready(None) => self.end()?,
                Poll::Pending if self.head_waits == HeadWaits::Asks => {
                    // Asking made the client's connection look for data, which is done by next time.
                    self.head_waits = HeadWaits::Looks;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending if self.head_waits == HeadWaits::Looks => self.head_waits = HeadWaits::No,
                Poll::Pending => {
                    ready!(Pin::new(io).poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
    }

    fn queue(&mut self, data: Bytes) -> Result<(), UpstreamErrorKind> {
        if data.is_empty() {
            return Ok(());
        }
        if self.length == BodyLength::Chunked {
            let mut size = Vec::with_capacity(18);
            write!(size, "{:x}\r\n", data.len())?;
            self.pending[1] = size.into();
            self.pending[2] = data;
            self.pending[3] = Bytes::from_static(b"\r\n");
            return Ok(());
        }
        let Some(owed) = self.owed.checked_sub(data.len() as u64) else {
            return Err(UpstreamErrorKind::RequestBody("body longer than its Content-Length".into()));
        };
        self.owed = owed;
        self.pending[2] = data;
        Ok(())
    }

    fn end(&mut self) -> Result<(), UpstreamErrorKind> {
        if self.owed > 0 {
            return Err(UpstreamErrorKind::RequestBody("body shorter than its Content-Length".into()));
        }
        if self.length == BodyLength::Chunked {
            self.pending[3] = Bytes::from_static(b"0\r\n\r\n");
        }
        self.head_waits = HeadWaits::No;
        self.ended = true;
        Ok(())
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>, io: &mut UpstreamIo) -> Poll<io::Result<()>> {
        loop {
            let slices = self.pending.each_ref().map(|bytes| IoSlice::new(bytes));
            if slices.iter().all(|slice| slice.is_empty()) {
                return Poll::Ready(Ok(()));
            }
            let mut sent = ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun = true;
            for bytes in &mut self.pending {
                let part = sent.min(bytes.len());
                bytes.advance(part);
                sent -= part;
            }
        }
    }
}
