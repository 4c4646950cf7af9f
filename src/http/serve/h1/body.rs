//! The body of a request, read from its connection when somebody asks for it.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::head::Follows;
use super::link::{At, Link, lock, no_socket};
use crate::http::BodyError;
use crate::http::chunked::Piece;
use crate::http::reading::read;
use crate::http::serve::listener::Transport;

/// What has come of the next request is kept by itself if it is no longer than this.
const HELD_BYTES_MAX: usize = 4 * 1024;

/// Why a client's body can't be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestBodyError {
    /// Its chunks are none.
    #[error("{0}")]
    Malformed(&'static str),
    /// The client has ended it too soon.
    #[error("unexpected EOF")]
    CutShort,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a body needs of its connection, whatever that comes over.
trait Source: Send + Sync {
    /// The next piece; behind the last one there is none.
    fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Result<Piece, RequestBodyError>>;

    /// The whole body, if all of these bytes have been read from the socket already.
    fn take_whole(&self, left: u64) -> Option<Bytes>;

    /// Nobody wants the rest of the body.
    fn let_go(&self);
}

impl<T: Transport> Source for Mutex<Link<T>> {
    fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Result<Piece, RequestBodyError>> {
        lock(self).poll_piece(cx)
    }

    fn take_whole(&self, left: u64) -> Option<Bytes> {
        lock(self).take_whole(left)
    }

    fn let_go(&self) {
        lock(self).let_go();
    }
}

impl<T: Transport> Link<T> {
    /// Reads more of the present body.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, RequestBodyError>> {
        self.ask_for_body(cx);
        loop {
            match self.take_piece() {
                Ok(Piece::More) => {}
                Ok(piece) => return Poll::Ready(Ok(piece)),
                Err(error) => {
                    self.lose();
                    return Poll::Ready(Err(RequestBodyError::Malformed(error)));
                }
            }
            if let Some(kind) = self.failed {
                self.lose();
                return Poll::Ready(Err(io::Error::from(kind).into()));
            }
            let Some(io) = &mut self.io else { return Poll::Ready(Err(no_socket().into())) };
            let Poll::Ready(more) = read(io, cx) else {
                if self.reader.as_ref().is_none_or(|reader| !reader.will_wake(cx.waker())) {
                    self.reader = Some(cx.waker().clone());
                }
                self.conn.wire.limit_read(self.limits.read_idle_timeout);
                self.keep_alive();
                return Poll::Pending;
            };
            if self.reader.take().is_some() {
                // It may be a while until the reader asks for more.
                self.wake_watcher(Some(cx.waker()));
            }
            self.conn.wire.read();
            match more {
                Ok(more) if more.is_empty() => {
                    self.end_seen = true;
                    self.lose();
                    return Poll::Ready(Err(RequestBodyError::CutShort));
                }
                Ok(more) => self.held = more,
                Err(error) => {
                    self.end_seen = true;
                    self.lose();
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }

    /// Takes the next piece out of what is held.
    fn take_piece(&mut self) -> Result<Piece, &'static str> {
        let piece = match &mut self.at {
            At::Head | At::Body(0) => Piece::End,
            At::Lost => return Err("the body is lost"),
            At::Body(_) if self.held.is_empty() => return Ok(Piece::More),
            At::Body(left) => {
                let part = usize::try_from(*left).unwrap_or(usize::MAX).min(self.held.len());
                *left -= part as u64;
                if *left > 0 {
                    return Ok(Piece::Data(self.held.split_to(part)));
                }
                Piece::Data(self.held.split_to(part))
            }
            At::Chunked(chunked) => match chunked.next(&mut self.held)? {
                piece @ (Piece::End | Piece::Trailers(_)) => piece,
                piece => return Ok(piece),
            },
        };
        // That was all of the request.
        self.at = At::Head;
        self.end_body();
        if !self.held.is_empty() && self.held.len() <= HELD_BYTES_MAX {
            // The start of the next one must not hold on to a large buffer.
            self.held = Bytes::copy_from_slice(&self.held);
        }
        Ok(piece)
    }

    fn take_whole(&mut self, left: u64) -> Option<Bytes> {
        if !matches!(self.at, At::Body(of) if of == left) || (self.held.len() as u64) < left {
            return None;
        }
        // A client that has sent it need not be told to.
        self.expects = false;
        match self.take_piece() {
            Ok(Piece::Data(data)) => Some(data),
            _ => None,
        }
    }

    /// The body can't be read on, nor anything behind it.
    fn lose(&mut self) {
        self.at = At::Lost;
        self.held.clear();
        self.end_body();
    }

    fn end_body(&mut self) {
        self.body_alive = false;
        self.reader = None;
        self.gone = None;
        if self.limits.read_timeout.is_some() {
            self.conn.wire.limit_request(None);
        }
        self.wake_watcher(None);
    }

    fn let_go(&mut self) {
        if self.reader.take().is_some() {
            // Nobody waits for the client any more.
            self.conn.wire.read();
        }
        self.end_body();
    }

    /// Whether the whole request has been read, once nobody reads it any more. Its answer has been sent, so
    /// whoever still reads is given as much time as before, and the connection ends if it is to end anyway.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if !self.body_alive {
            return Poll::Ready(!self.is_left(cx));
        }
        if self.conn.wire.is_draining() || self.conn.wire.take_read_expired() {
            return Poll::Ready(false);
        }
        if self.reader.is_none() || self.watcher.is_none() {
            self.conn.wire.limit_read(self.limits.read_idle_timeout);
        }
        let watched = self.poll_watch(cx).map(|_| false);
        self.watcher = Some(cx.waker().clone());
        watched
    }

    /// Whether the client still owes some of a body that nobody wants. What is there of it is thrown away;
    /// the rest is not waited for.
    pub(super) fn is_left(&mut self, cx: &mut Context<'_>) -> bool {
        const LOOKS_MAX: usize = 16;
        if matches!(self.at, At::Head) || self.body_alive {
            return false;
        }
        // A client that was not told to send its body may send it or not.
        if !self.expects {
            for _ in 0..LOOKS_MAX {
                if matches!(self.at, At::Head | At::Lost) || self.poll_piece(cx).is_pending() {
                    break;
                }
            }
            self.reader = None;
            self.conn.wire.read();
        }
        !matches!(self.at, At::Head)
    }
}

/// The body of a request over HTTP/1. It reads from the connection itself, and only when it is asked to,
/// so a slow reader slows its client.
pub struct ClientBody {
    source: Arc<dyn Source>,
    /// The bytes still to come, if that is known.
    left: Option<u64>,
    done: bool,
}

impl ClientBody {
    /// The body that `follows` a head on this link.
    pub(super) fn new<T: Transport + 'static>(link: Arc<Mutex<Link<T>>>, follows: Follows) -> Self {
        let left = match follows {
            Follows::Head => Some(0),
            Follows::Length(length) => Some(length),
            Follows::Chunks => None,
        };
        Self { source: link, left, done: left == Some(0) }
    }

    /// Whether all of it has been read.
    pub(in crate::http) fn is_end_stream(&self) -> bool {
        self.done
    }

    pub(in crate::http) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }

    /// All of the body that is still to come, if it has come already and has so many bytes at most.
    pub(in crate::http) fn take_whole(&mut self, bytes_max: usize) -> Option<Bytes> {
        let left = self.left.filter(|left| !self.done && *left <= bytes_max as u64)?;
        let whole = self.source.take_whole(left)?;
        self.left = Some(0);
        self.done = true;
        Some(whole)
    }

    /// The next frame.
    pub(in crate::http) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.source.poll_piece(cx)) {
            Ok(Piece::Data(data)) => {
                if let Some(left) = &mut self.left {
                    *left -= data.len() as u64;
                    self.done = *left == 0;
                }
                Some(Ok(Frame::data(data)))
            }
            Ok(Piece::Trailers(trailers)) => {
                self.done = true;
                Some(Ok(Frame::trailers(trailers)))
            }
            Ok(Piece::End | Piece::More) => {
                self.done = true;
                None
            }
            Err(error) => {
                self.done = true;
                Some(Err(Box::new(error)))
            }
        })
    }
}

impl fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody")
            .field("left", &self.left)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if !self.done {
            self.source.let_go();
        }
    }
}
