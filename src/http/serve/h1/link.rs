//! The client's side of an HTTP/1 connection: its socket, and how far what came in on it was read.
//!
//! The connection's task and the present request's body share a link. Only one of them reads at a time:
//! the body until it ends, the task before and behind it. Nothing that came behind a request is looked at
//! before that request is answered, and nothing behind a doubtful byte is ever read as a request.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;

use super::head::{self, Follows};
use super::refusal::Refusal;
use super::request::{self, Request};
use crate::http::ConnInfo;
use crate::http::chunked::Chunked;
use crate::http::reading::{join, read_little};
use crate::http::serve::limits::WireLimits;
use crate::http::serve::listener::{Gone, Transport};

/// So much is read, at least, of what a client sends before its answer is there.
const EARLY_BYTES_MAX: usize = 16 * 1024;

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
    /// The first head has been read.
    served: bool,
    /// The client wants to be told to go on before it sends the body.
    pub(super) expects: bool,
    /// The answer has begun, so that no interim one may be sent any more.
    answering: bool,
    /// Interim answers on their way.
    interim: Vec<u8>,
    /// Somebody holds the body of the present request.
    pub(super) body_alive: bool,
    /// Who waits for more of the body.
    pub(super) reader: Option<Waker>,
    /// Who waits until the body ends or is let go of.
    pub(super) ended: Option<Waker>,
    /// Why the body can't be read on.
    pub(super) failed: Option<io::ErrorKind>,
    /// Nobody read the body when the task last looked.
    stalled: bool,
    /// Tells of the client's end while nobody reads.
    gone: Option<Gone>,
    /// Whether the kernel looks after the connection.
    kept_alive: bool,
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
            served: false,
            expects: false,
            answering: false,
            interim: Vec::new(),
            body_alive: false,
            reader: None,
            ended: None,
            failed: None,
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
                    let held = std::mem::take(&mut self.held);
                    self.held = if held.is_empty() { more } else { join(held, &more) };
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

    /// A complete head must follow its first bytes in time, and those the last answer.
    fn keep_head_clock(&mut self) {
        if self.head_begun {
            return;
        }
        let wire = &self.conn.wire;
        if !self.held.is_empty() {
            self.head_begun = true;
            wire.limit_read(self.limits.head_timeout);
            if self.limits.read_timeout.is_some() {
                wire.limit_request(self.limits.read_timeout);
            }
        } else if self.served {
            wire.limit_read(self.limits.idle_timeout);
        } else {
            wire.limit_read(self.limits.head_timeout);
        }
    }

    /// Takes the head at the start of what is held, if it is complete.
    fn take_head(&mut self) -> Result<Option<Request>, Refusal> {
        if self.held.is_empty() {
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
        self.expects = request.expects;
        self.answering = false;
        self.at = match request.follows {
            Follows::Head => At::Head,
            Follows::Length(length) => At::Body(length),
            Follows::Chunks => At::Chunked(Chunked::default()),
        };
        self.body_alive = !matches!(self.at, At::Head);
        self.conn.wire.read();
        if self.limits.read_timeout.is_some() {
            self.conn.wire.limit_request(self.limits.read_timeout.filter(|_| self.body_alive));
        }
        self.head_begun = false;
        Ok(Some(request))
    }

    /// Looks after the client while its answer is made: sends interim ones, and is ready once the client
    /// has gone or its time is over.
    pub(super) fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.conn.wire.is_overdue() {
            return Poll::Ready(io::ErrorKind::TimedOut.into());
        }
        if let Poll::Ready(Err(error)) = self.poll_interim(cx) {
            return Poll::Ready(error);
        }
        match &self.at {
            At::Head => self.poll_early(cx),
            // Its end has been seen, by whoever read the body.
            At::Lost => Poll::Pending,
            At::Body(_) | At::Chunked(_) => self.poll_stalled(cx),
        }
    }

    /// Reads while the client is owed an answer. Nothing of that is looked at, except the end: a client
    /// that has gone wants no answer.
    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while self.held.len() < EARLY_BYTES_MAX {
            let Some(io) = &mut self.io else { return Poll::Ready(no_socket()) };
            match read_little(io, cx) {
                Poll::Ready(Ok(more)) if !more.is_empty() => {
                    let held = std::mem::take(&mut self.held);
                    self.held = if held.is_empty() { more } else { join(held, &more) };
                }
                Poll::Ready(read) => {
                    return Poll::Ready(
                        read.err().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into()),
                    );
                }
                Poll::Pending => {
                    self.keep_alive();
                    return Poll::Pending;
                }
            }
        }
        self.poll_gone(cx)
    }

    /// While nobody reads a body, its client's end would not be noticed.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.reader.is_some() {
            self.stalled = false;
            return Poll::Pending;
        }
        if self.stalled {
            return self.poll_gone(cx);
        }
        // Usually somebody is just about to read on; being woken for that once more costs little.
        self.stalled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits for the client's end without reading.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let gone = match (&mut self.gone, &self.io) {
            (Some(gone), _) => gone,
            (None, Some(io)) => match io.gone() {
                Ok(gone) => self.gone.insert(gone),
                Err(error) => return Poll::Ready(error),
            },
            (None, None) => return Poll::Ready(no_socket()),
        };
        ready!(gone.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::ConnectionAborted.into())
    }

    /// Ends the wait for a body whose client has sent nothing for too long.
    pub(super) fn check_reader(&mut self) {
        if self.reader.is_some() && self.conn.wire.take_read_expired() {
            self.failed = Some(io::ErrorKind::TimedOut);
            if let Some(reader) = &self.reader {
                reader.wake_by_ref();
            }
        }
    }

    /// Has the kernel look after a connection that waits for its client, or whose client waits, maybe for
    /// minutes.
    pub(super) fn keep_alive(&mut self) {
        if !self.kept_alive && !self.conn.wire.is_idle() {
            self.kept_alive = true;
            if let (Some(params), Some(io)) = (&self.limits.keep_alive, &self.io) {
                io.keep_alive(params);
            }
        }
    }

    /// Tells a client that waits for it to send its body.
    pub(super) fn ask_for_body(&mut self, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.expects) && !self.answering {
            self.interim.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            // What fails here fails in the task too.
            let _ = self.poll_interim(cx);
        }
    }

    /// The answer begins; what of interim ones has not been sent yet goes before it. Later ones are dropped.
    pub(super) fn begin_answer(&mut self) -> Vec<u8> {
        self.take_interim();
        self.answering = true;
        std::mem::take(&mut self.interim)
    }

    fn take_interim(&mut self) {
        if let Some(interim) = self.conn.wire.take_interim()
            && !self.answering
        {
            self.interim.extend_from_slice(&interim);
        }
    }

    /// Sends interim answers.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.take_interim();
        if self.interim.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.interim.is_empty() {
            let interim = std::mem::take(&mut self.interim);
            let sent = self.poll_write(cx, &[io::IoSlice::new(&interim)]);
            self.interim = interim;
            self.interim.drain(..ready!(sent)?);
        }
        self.poll_flush(cx)
    }

    /// Writes pieces, as many as the client takes.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = &self.conn.wire;
        if wire.is_overdue() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let Some(io) = &mut self.io else { return Poll::Ready(Err(no_socket())) };
        let written = match pieces {
            [piece] => Pin::new(io).poll_write(cx, piece),
            pieces => Pin::new(io).poll_write_vectored(cx, pieces),
        };
        match written {
            Poll::Ready(written) => {
                wire.wrote();
                Poll::Ready(match written {
                    Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                    written => written,
                })
            }
            Poll::Pending if wire.take_write_expired() => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => {
                wire.limit_write(self.limits.write_idle_timeout);
                Poll::Pending
            }
        }
    }

    /// Sends what the transport keeps back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Err(no_socket())) };
        let wire = &self.conn.wire;
        let flushed = Pin::new(io).poll_flush(cx);
        match flushed {
            Poll::Ready(_) => wire.wrote(),
            Poll::Pending if wire.take_write_expired() => {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            Poll::Pending => wire.limit_write(self.limits.write_idle_timeout),
        }
        flushed
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
