//! Sending a request's body to an HTTP/1 upstream as it comes in.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::dial::UpstreamIo;
use super::error::UpstreamErrorKind;
use super::fastcgi;
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

/// How the body is wrapped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrapping {
    /// Not at all: its length has been announced.
    None,
    /// In chunks.
    Chunks,
    /// In FastCGI's records; its length has been announced as well.
    Records,
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
    wrapping: Wrapping,
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
        let (wrapping, owed, ended) = match length {
            BodyLength::None => (Wrapping::None, 0, true),
            BodyLength::Known(length) => (Wrapping::None, length, false),
            BodyLength::Chunked => (Wrapping::Chunks, 0, false),
        };
        Self::wrapped(head, begun, body, wrapping, owed, ended)
    }

    /// An upload of `body`, which has so many bytes, in FastCGI's records. If it has none, `head` says so.
    pub(super) fn records(head: Bytes, body: Body, length: u64) -> Self {
        Self::wrapped(head, false, body, Wrapping::Records, length, length == 0)
    }

    fn wrapped(head: Bytes, begun: bool, body: Body, wrapping: Wrapping, owed: u64, ended: bool) -> Self {
        let head_waits = if ended { HeadWaits::No } else { HeadWaits::Asks };
        let pending = [head, Bytes::new(), Bytes::new(), Bytes::new()];
        Self { pending, head_waits, body, wrapping, owed, ended, begun }
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
        if self.wrapping == Wrapping::Chunks {
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
        if self.wrapping == Wrapping::Records {
            self.queue_records(data);
        } else {
            self.pending[2] = data;
        }
        Ok(())
    }

    fn queue_records(&mut self, data: Bytes) {
        if data.len() <= fastcgi::RECORD_BYTES_MAX {
            self.pending[1] = fastcgi::stdin(data.len());
            self.pending[2] = data;
            return;
        }
        let mut records = Vec::with_capacity(data.len() + 64);
        for part in data.chunks(fastcgi::RECORD_BYTES_MAX) {
            records.extend_from_slice(&fastcgi::stdin(part.len()));
            records.extend_from_slice(part);
        }
        self.pending[2] = records.into();
    }

    fn end(&mut self) -> Result<(), UpstreamErrorKind> {
        if self.owed > 0 {
            return Err(UpstreamErrorKind::RequestBody("body shorter than its Content-Length".into()));
        }
        match self.wrapping {
            Wrapping::None => {}
            Wrapping::Chunks => self.pending[3] = Bytes::from_static(b"0\r\n\r\n"),
            Wrapping::Records => self.pending[3] = fastcgi::stdin(0),
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

/// Sends more of a request, if something is left. Returns why that failed, if it did.
pub(super) fn go_on(
    left: &mut Option<Box<Upload>>,
    cx: &mut Context<'_>,
    io: &mut UpstreamIo,
) -> Option<UpstreamErrorKind> {
    let upload = left.as_mut()?;
    match upload.poll(cx, io) {
        Poll::Pending => None,
        Poll::Ready(Ok(())) => {
            *left = None;
            None
        }
        Poll::Ready(Err(error)) => match error {
            // The other side has stopped reading; an early answer may still be on its way.
            UpstreamErrorKind::Io(_) if upload.has_begun() => None,
            error => Some(error),
        },
    }
}
