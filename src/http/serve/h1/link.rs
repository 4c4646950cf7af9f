//! The client's side of an HTTP/1 connection: its socket, and how far what came in on it was read.
//!
//! The connection's task and the present request's body share a link. Only one of them reads at a time:
//! the body until it ends, the task before and behind it. Nothing that came behind a request is looked at
//! before that request is answered, and nothing behind a doubtful byte is ever read as a request.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Method;

use super::head::{self, Follows};
use super::refusal::Refusal;
use super::request::{self, Request};
use crate::http::ConnInfo;
use crate::http::chunked::Chunked;
use crate::http::reading::{join, read_little};
use crate::http::serve::limits::WireLimits;
use crate::http::serve::listener::{Gone, Transport};

/// Where a connection stands in what comes in on it.
#[derive(Debug)]
pub(super) enum At {
    /// In a head, or before one.
    Head,
    /// In a body of known length, with this much to come.
    Body(u64),
    /// In a chunked body.
    Chunked(Chunked),
    /// Behind what can't be read on: a malformed body, or the client's end in the middle of one.
    Lost,
}

/// What a connection's task and a request's body share.
pub(super) struct Link<T> {
    /// The socket, until the connection ends or changes its protocol.
    pub(super) io: Option<T>,
    pub(super) conn: Arc<ConnInfo>,
    pub(super) limits: Arc<WireLimits>,
    pub(super) at: At,
    /// What was read and not taken yet.
    pub(super) held: Bytes,
    /// How far a head in `held` has been looked through: the start of its last line.
    line: usize,
    /// The clock of the present head is running.
    head_begun: bool,
    /// The clock of the wait for a head is running.
    waits: bool,
    /// The first head has been read.
    served: bool,
    /// The present request was a POST, behind whose body old clients send one line end too many.
    was_post: bool,
    /// The client wants to be told to go on before it sends the body.
    pub(super) expects: bool,
    /// The answer has begun, so that no interim one may be sent any more.
    pub(super) answering: bool,
    /// Interim answers on their way, and whether the transport may keep some of them back.
    pub(super) interim: Vec<u8>,
    pub(super) is_interim_kept: bool,
    /// Somebody may still read on in the body of the present request.
    pub(super) body_alive: bool,
    /// Whoever waits for more of the body: most often the connection's task, in a handler; with an HTTP/2
    /// upstream another one.
    pub(super) reader: Option<Waker>,
    /// The connection's task, if it has to look again ([`Link::poll_watch`]) once another task has read on,
    /// or does not read any more.
    pub(super) watcher: Option<Waker>,
    /// Why the body can't be read on.
    pub(super) failed: Option<io::ErrorKind>,
    /// The client's end was seen in the middle of a body.
    pub(super) end_seen: bool,
    /// Nobody read the body when the task last looked.
    pub(super) stalled: bool,
    /// Tells of the client's end while nobody reads.
    pub(super) gone: Option<Gone>,
    /// Whether the kernel looks after the connection.
    pub(super) kept_alive: bool,
}

/// A link as its owners hold it. All of them are on one worker, so it is never waited for.
pub(super) fn lock<T>(link: &Mutex<Link<T>>) -> MutexGuard<'_, Link<T>> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What becomes of reading and writing once the socket is gone.
pub(super) fn no_socket() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl<T: Transport> Link<T> {
    /// A link to a client that has sent `first`.
    pub(super) fn new(io: T, first: Bytes, conn: Arc<ConnInfo>, limits: Arc<WireLimits>) -> Self {
        conn.wire.limit_idle(limits.idle_timeout);
        Self {
            io: Some(io),
            conn,
            limits,
            at: At::Head,
            held: first,
            line: 0,
            head_begun: false,
            waits: false,
            served: false,
            was_post: false,
            expects: false,
            answering: false,
            interim: Vec::new(),
            is_interim_kept: false,
            body_alive: false,
            reader: None,
            watcher: None,
            failed: None,
            end_seen: false,
            stalled: false,
            gone: None,
            kept_alive: false,
        }
    }

    /// Waits for the next request; there is none at the end of the connection.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Request>, Refusal>> {
        loop {
            match self.take_head() {
                Ok(None) => {}
                Ok(request) => return Poll::Ready(Ok(request)),
                Err(refusal) => {
                    self.at = At::Lost;
                    return Poll::Ready(Err(refusal));
                }
            }
            let wire = &self.conn.wire;
            if wire.is_overdue() || self.held.is_empty() && wire.is_draining() {
                return Poll::Ready(Ok(None));
            }
            self.keep_head_clock();
            let Some(io) = &mut self.io else { return Poll::Ready(Ok(None)) };
            match read_little(io, cx) {
                Poll::Ready(Ok(more)) if !more.is_empty() => {
                    self.held = join(std::mem::take(&mut self.held), more);
                }
                Poll::Ready(_) => return Poll::Ready(Ok(None)),
                Poll::Pending => {
                    if self.conn.wire.take_read_expired() {
                        return Poll::Ready(Ok(None));
                    }
                    self.keep_alive();
                    return Poll::Pending;
                }
            }
        }
    }

    /// A complete head must follow its first bytes in time, and those the last answer. A clock that runs is
    /// let run.
    fn keep_head_clock(&mut self) {
        let wire = &self.conn.wire;
        if !self.held.is_empty() && !self.head_begun {
            self.head_begun = true;
            wire.limit_read(self.limits.head_timeout);
            if self.limits.read_timeout.is_some() {
                wire.limit_request(self.limits.read_timeout);
            }
        } else if self.held.is_empty() && !self.waits {
            let limit = if self.served { self.limits.idle_timeout } else { self.limits.head_timeout };
            wire.limit_read(limit);
        }
        self.waits = true;
    }

    /// Takes the head at the start of what is held, if it is complete.
    fn take_head(&mut self) -> Result<Option<Request>, Refusal> {
        if self.was_post && !self.skip_line_end() || self.held.is_empty() {
            return Ok(None);
        }
        let end = head::find_end(&self.held, &mut self.line)?;
        if end.unwrap_or(self.held.len()) > self.limits.head_bytes_max {
            return Err(Refusal::TooLarge);
        }
        let Some(end) = end else { return Ok(None) };
        let request = request::read(self.held.split_to(end))?;
        self.line = 0;
        self.served = true;
        self.was_post = request.method == Method::POST;
        self.gone = None;
        self.expects = request.expects;
        self.answering = false;
        self.at = match request.follows {
            Follows::Head => At::Head,
            Follows::Length(length) => At::Body(length),
            Follows::Chunks => At::Chunked(Chunked::default()),
        };
        self.body_alive = !matches!(self.at, At::Head);
        let wire = &self.conn.wire;
        wire.read();
        if self.limits.read_timeout.is_some() {
            // A head that came in pieces has started this clock.
            match (self.body_alive, self.head_begun) {
                (false, _) => wire.limit_request(None),
                (true, false) => wire.limit_request(self.limits.read_timeout),
                (true, true) => {}
            }
        }
        self.head_begun = false;
        self.waits = false;
        Ok(Some(request))
    }

    /// Passes over the one line end that may stand before a request (RFC 9112 section 2.2); false if it may
    /// only half have come.
    fn skip_line_end(&mut self) -> bool {
        if self.held.len() < 2 && b"\r\n".starts_with(&self.held) {
            return false;
        }
        self.was_post = false;
        if self.held.starts_with(b"\r\n") {
            let _ = self.held.split_to(2);
        }
        true
    }

    /// Takes the socket away, so that whoever still holds the body learns that there is no more of it.
    pub(super) fn take_io(&mut self) -> Option<T> {
        self.failed = Some(io::ErrorKind::ConnectionAborted);
        self.gone = None;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        self.io.take()
    }
}
