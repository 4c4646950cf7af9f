//! The gate before hyper: every byte of an HTTP/1 connection passes here first.
//!
//! A guard follows the framing of the requests on a connection, checks each head ([`super::head`])
//! and lets hyper have it only when it is whole and sound. In the place of a refused head hyper gets
//! a stand-in, and the service knows by its number that it has to be refused; so answers keep their
//! order, and nothing behind a doubtful byte is ever read as a request.
//!
//! It also keeps the connection's deadlines, which cost no timer: the worker's clock looks at all
//! connections once a second.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::TcpKeepalive;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunks::{Chunks, ChunksEnd};
use super::head::{self, Follows, Refusal};
use super::listener::Transport;
use crate::http::ConnInfo;

/// How long a connection may wait, and for how much.
#[derive(Clone, Debug)]
pub struct WireLimits {
    /// A request's head may have this many bytes.
    pub head_bytes_max: usize,
    /// A head must be complete within this time after its first byte, or the connection's start.
    pub head_timeout: Option<Duration>,
    /// A connection may wait this long for its next request.
    pub idle_timeout: Option<Duration>,
    /// A client that owes a body must send something within this time.
    pub read_idle_timeout: Option<Duration>,
    /// A client must take some of an answer within this time.
    pub write_idle_timeout: Option<Duration>,
    /// A request must have come as a whole within this time.
    pub read_timeout: Option<Duration>,
    /// An answer must have gone as a whole within this time after its request's head.
    pub write_timeout: Option<Duration>,
    /// How the kernel asks whether a silent client is still there.
    pub keep_alive: Option<TcpKeepalive>,
}

/// What hyper gets in the place of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// So much is read and thrown away, at most, so that a client can read its answer.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// And for this long.
const LINGER: Duration = Duration::from_secs(2);

/// Where a connection stands in the requests that come in on it.
#[derive(Debug)]
enum At {
    /// In a head, or before one.
    Head,
    /// In a body of known length, with this much to come.
    Body(u64),
    /// In a chunked body.
    Chunked(Chunks),
    /// Behind a refused head: nothing more is read.
    Refused,
    /// In a body that is malformed: the rest of it can't be read.
    Broken,
}

/// How hyper ends a chunked answer.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What hyper, and so whoever reads the body, is told of a malformed one.
fn broken_body() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed chunk")
}

/// A connection's transport, guarded.
pub(super) struct Guard<T> {
    io: T,
    conn: Arc<ConnInfo>,
    limits: Arc<WireLimits>,
    at: At,
    /// The start of a head that is not complete.
    held: Vec<u8>,
    /// How far `held` has been looked through: the start of its last line.
    line: usize,
    /// Bytes for hyper that had no room in its buffer, and how many of them it has.
    ready: Vec<u8>,
    taken: usize,
    /// Heads that hyper has been given.
    heads: u32,
    /// Nothing of an answer is half-written: an interim one may go in between.
    clean: bool,
    interim: Vec<u8>,
    lingered: usize,
    /// Whether the kernel looks after the connection.
    kept_alive: bool,
    /// Whether closing the transport takes more than dropping it (TLS).
    must_shut: bool,
}

impl<T> Guard<T> {
    pub(super) fn new(io: T, conn: Arc<ConnInfo>, limits: Arc<WireLimits>, must_shut: bool) -> Self {
        conn.wire.limit_read(limits.head_timeout);
        Self {
            io,
            conn,
            limits,
            at: At::Head,
            held: Vec::new(),
            line: 0,
            ready: Vec::new(),
            taken: 0,
            heads: 0,
            clean: true,
            interim: Vec::new(),
            lingered: 0,
            kept_alive: false,
            must_shut,
        }
    }

    /// Puts bytes that were read before there was a guard where its first read finds them.
    pub(super) fn prime(&mut self, bytes: Vec<u8>) {
        let sound = self.walk(&bytes);
        self.ready = bytes;
        self.held = self.ready.split_off(sound);
        if matches!(self.at, At::Broken) {
            self.held.clear();
        }
        self.refuse_rest();
    }

    /// Behind a refused head there is nothing but the stand-in.
    fn refuse_rest(&mut self) {
        if matches!(self.at, At::Refused) {
            self.held.clear();
            self.ready.extend_from_slice(STAND_IN);
        }
    }

    /// Follows the framing through `bytes`; returns how many of them hyper may have. What is behind
    /// them belongs to a head that is not complete, or is refused.
    fn walk(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.at {
                At::Head => match self.head(rest) {
                    Ok(Some(length)) => at += length,
                    Ok(None) => return at,
                    Err(refusal) => {
                        self.conn.wire.refuse(self.heads + 1, refusal);
                        self.at = At::Refused;
                        return at;
                    }
                },
                At::Body(left) => {
                    let part = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= part as u64;
                    at += part;
                    if *left == 0 {
                        self.at = At::Head;
                    }
                }
                At::Chunked(chunks) => match chunks.walk(rest) {
                    Ok(ChunksEnd::At(length)) => {
                        at += length;
                        self.at = At::Head;
                    }
                    Ok(ChunksEnd::NotYet) => at = bytes.len(),
                    // The body is broken, so what comes behind it can't be told from it. hyper gets
                    // what is sound, so that the request can still be answered.
                    Err(()) => {
                        self.at = At::Broken;
                        return at;
                    }
                },
                At::Refused | At::Broken => return at,
            }
        }
        at
    }

    /// Looks for a whole head at the start of `bytes` and checks it.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let end = head::find_end(bytes, &mut self.line)?;
        if end.unwrap_or(bytes.len()) > self.limits.head_bytes_max {
            return Err(Refusal::TooLarge);
        }
        let Some(end) = end else { return Ok(None) };
        let follows = head::check(&bytes[..end])?;
        self.line = 0;
        self.heads = self.heads.wrapping_add(1);
        self.at = match follows {
            Follows::Head => At::Head,
            Follows::Length(length) => At::Body(length),
            Follows::Chunks => At::Chunked(Chunks::default()),
        };
        Ok(Some(end))
    }

    /// Deals with what a read has put behind the first `before` bytes of `buf`; returns whether
    /// hyper has something to look at.
    fn admit(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> bool {
        if self.held.is_empty() {
            let new = &buf.filled()[before..];
            let sound = self.walk(new);
            // What is behind a refused head or a broken body is dropped unread.
            if !matches!(self.at, At::Refused | At::Broken) {
                self.held.extend_from_slice(&new[sound..]);
            }
            buf.set_filled(before + sound);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(&buf.filled()[before..]);
            buf.set_filled(before);
            let sound = self.walk(&held);
            self.ready = held;
            self.held = self.ready.split_off(sound);
            if matches!(self.at, At::Broken) {
                self.held.clear();
            }
        }
        self.refuse_rest();
        self.hand_over(buf);
        buf.filled().len() > before
    }

    /// Gives hyper what is ready, as far as there is room.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let part = buf.remaining().min(self.ready.len() - self.taken);
        buf.put_slice(&self.ready[self.taken..self.taken + part]);
        self.taken += part;
        if self.taken == self.ready.len() {
            self.ready = Vec::new();
            self.taken = 0;
        }
    }

    /// How long this wait for the client may last.
    fn read_limit(&self) -> Option<Duration> {
        match &self.at {
            At::Head if !self.held.is_empty() => None, // Set when the head began, and still running.
            At::Head if self.conn.wire.is_idle() && self.heads > 0 => self.limits.idle_timeout,
            At::Head | At::Refused | At::Broken => None,
            At::Body(_) | At::Chunked(_) => self.limits.read_idle_timeout,
        }
    }

    /// Keeps the clock of a request as a whole: it runs from its first bytes to its last ones.
    fn limit_whole_request(&self, began: bool) {
        let wire = &self.conn.wire;
        match &self.at {
            At::Head if self.held.is_empty() => wire.limit_request(None),
            _ if began && !wire.limits_request() => wire.limit_request(self.limits.read_timeout),
            _ => {}
        }
    }

    /// Starts the clock for a read that has to wait.
    fn wait_to_read(&mut self) {
        let head_begun = matches!(self.at, At::Head) && (!self.held.is_empty() || self.heads == 0);
        if !head_begun {
            self.conn.wire.limit_read(self.read_limit());
        }
    }
}

impl<T: Transport> AsyncRead for Guard<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken < this.ready.len() {
            this.hand_over(buf);
            return Poll::Ready(Ok(()));
        }
        if this.conn.wire.is_tunnel() {
            if this.held.is_empty() {
                return Pin::new(&mut this.io).poll_read(cx, buf);
            }
            this.ready = std::mem::take(&mut this.held);
            this.hand_over(buf);
            return Poll::Ready(Ok(()));
        }
        if matches!(this.at, At::Refused) {
            // The refusal is being written; hyper closes behind it.
            return Poll::Pending;
        }
        if this.conn.wire.is_overdue() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if matches!(this.at, At::Broken) {
            return Poll::Ready(Err(broken_body()));
        }
        loop {
            let before = buf.filled().len();
            let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, buf) else {
                if this.conn.wire.take_read_expired() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                this.wait_to_read();
                if !this.kept_alive && !this.conn.wire.is_idle() {
                    // The client waits for its answer, which may take minutes.
                    this.kept_alive = true;
                    if let Some(params) = &this.limits.keep_alive {
                        this.io.keep_alive(params);
                    }
                }
                return Poll::Pending;
            };
            read?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let began = this.held.is_empty();
            let passed = this.admit(buf, before);
            if this.limits.read_timeout.is_some() {
                this.limit_whole_request(began);
            }
            if this.held.is_empty() {
                this.conn.wire.read();
            } else if began {
                // The first bytes of a head have come: the rest must follow in time.
                this.conn.wire.limit_read(this.limits.head_timeout);
            }
            if passed {
                return Poll::Ready(Ok(()));
            }
            if matches!(this.at, At::Broken) {
                return Poll::Ready(Err(broken_body()));
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> Guard<T> {
    /// Sends interim answers if the wire is between two answers; whatever it can't send it drops.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(interim) = self.conn.wire.take_interim()
            && self.clean
        {
            self.interim.extend_from_slice(&interim);
        }
        while !self.interim.is_empty() {
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, &self.interim))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the end of an answer that has trailers: all but hyper's last chunk, and then ours, which
    /// has the trailer section behind it. `buf` reaches to the end of the answer.
    fn poll_write_end(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Some(before) = buf.strip_suffix(LAST_CHUNK) else {
            return Pin::new(&mut self.io).poll_write(cx, buf);
        };
        if !before.is_empty() {
            return Pin::new(&mut self.io).poll_write(cx, before);
        }
        self.interim.extend_from_slice(&self.conn.wire.take_trailers());
        Poll::Ready(Ok(buf.len()))
    }

    /// Keeps the clock of a write.
    fn timed(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let wire = &self.conn.wire;
        if written.is_ready() {
            wire.wrote();
        } else if wire.is_tunnel() {
            // A tunnel has no deadline of ours.
        } else if wire.take_write_expired() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        } else {
            wire.limit_write(self.limits.write_idle_timeout);
        }
        written
    }
}

impl<T: Transport> AsyncWrite for Guard<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.conn.wire.is_overdue() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(this.poll_interim(cx))?;
        this.clean = false;
        let written = if this.conn.wire.has_trailers() {
            this.poll_write_end(cx, buf)
        } else {
            Pin::new(&mut this.io).poll_write(cx, buf)
        };
        this.timed(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.conn.wire.is_overdue() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(this.poll_interim(cx))?;
        this.clean = false;
        let written = if this.conn.wire.has_trailers() {
            let mut full = bufs.iter().filter(|buf| !buf.is_empty());
            match (full.next(), full.next()) {
                (Some(last), None) => this.poll_write_end(cx, last),
                (first, _) => Pin::new(&mut this.io).poll_write(cx, first.map_or(&[], |buf| buf)),
            }
        } else {
            Pin::new(&mut this.io).poll_write_vectored(cx, bufs)
        };
        this.timed(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // hyper flushes when it has nothing left to write.
        this.clean = true;
        ready!(this.poll_interim(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    /// Ends the connection. If the client may still be sending, it is first given the end of ours
    /// and some time, because closing with unread bytes would take its answer away again.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let settled = matches!(this.at, At::Head) && this.held.is_empty() || this.conn.wire.is_tunnel();
        if settled && !this.must_shut {
            return Poll::Ready(Ok(()));
        }
        if this.lingered == 0 {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            this.conn.wire.limit_read(Some(LINGER));
            this.lingered = 1;
        }
        if settled {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 4096];
        while this.lingered < LINGER_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut scratch);
            let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, &mut buf) else {
                return if this.conn.wire.take_read_expired() { Poll::Ready(Ok(())) } else { Poll::Pending };
            };
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            this.lingered += buf.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
