//! The gate before hyper: every byte of an HTTP/1 connection passes here first.
//!
//! A guard follows the framing of the requests on a connection, checks each head ([`super::head`])
//! and lets hyper have it only when it is whole and sound. In the place of a refused head hyper gets
//! a stand-in, and the service knows by its number that it has to be refused; so answers keep their
//! order, and nothing behind a doubtful byte is ever read as a request.
//!
//! hyper gets one request at a time. What a client sends before its answer is there waits here, so
//! that hyper keeps reading, and notices the client's end, however much was sent early.
//!
//! It also keeps the connection's deadlines, which cost no timer: the worker's clock looks at all
//! connections once a second.

mod read;
mod write;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::TcpKeepalive;
use tokio::io::ReadBuf;

use super::chunks::{Chunks, ChunksEnd};
use super::head::{self, Follows, Refusal};
use super::listener::Gone;
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
    /// What is not for hyper yet: the start of a head, or requests that came too early.
    held: Vec<u8>,
    /// Whether `held` came too early, and was not looked at.
    early: bool,
    /// How far `held` has been looked through: the start of its last line.
    line: usize,
    /// Whether the head that comes next is complete, and has a target that must be escaped.
    unescaped: bool,
    /// Bytes for hyper that had no room in its buffer, and how many of them it has.
    ready: Vec<u8>,
    taken: usize,
    /// Heads that hyper has been given.
    heads: u32,
    /// Nothing of an answer is half-written: an interim one may go in between.
    clean: bool,
    interim: Vec<u8>,
    /// The end of ours was or is being sent.
    ending: bool,
    lingered: usize,
    /// Whether hyper's last look found nothing, so that more bytes, or the client's end, wake it.
    waits: bool,
    /// Whether hyper was given another look since it last read.
    looked: bool,
    /// Tells of the client's end while hyper reads nothing.
    gone: Option<Gone>,
    /// Whether the kernel looks after the connection.
    kept_alive: bool,
    /// Whether closing the transport takes more than dropping it (TLS).
    must_shut: bool,
}

impl<T> Guard<T> {
    pub(super) fn new(io: T, conn: Arc<ConnInfo>, limits: Arc<WireLimits>, must_shut: bool) -> Self {
        conn.wire.limit_read(limits.head_timeout);
        conn.wire.limit_idle(limits.idle_timeout);
        Self {
            io,
            conn,
            limits,
            at: At::Head,
            held: Vec::new(),
            early: false,
            line: 0,
            unescaped: false,
            ready: Vec::new(),
            taken: 0,
            heads: 0,
            clean: true,
            interim: Vec::new(),
            ending: false,
            lingered: 0,
            waits: false,
            looked: false,
            gone: None,
            kept_alive: false,
            must_shut,
        }
    }

    /// Puts bytes that were read before there was a guard where its first read finds them.
    pub(super) fn prime(&mut self, bytes: Vec<u8>) {
        self.held = bytes;
        self.walk_held();
        self.walk_escaped();
        self.refuse_rest();
        self.mark_early();
        if self.is_between() {
            self.conn.wire.read();
        }
    }

    /// Heads that hyper has been given.
    #[cfg(any(test, fuzzing))]
    pub(super) fn heads(&self) -> u32 {
        self.heads
    }

    /// Whether hyper has a request that is not answered yet.
    fn owes_answer(&self) -> bool {
        self.conn.wire.requests() != self.heads || !self.conn.wire.is_idle()
    }

    /// Behind a request that is not answered yet, what is held came too early.
    fn mark_early(&mut self) {
        self.early = !self.held.is_empty() && matches!(self.at, At::Head) && self.owes_answer();
        if self.early {
            self.conn.wire.wake_at_end();
        }
    }

    /// Whether no request has begun that is not complete.
    fn is_between(&self) -> bool {
        matches!(self.at, At::Head) && (self.held.is_empty() || self.early)
    }

    /// Behind a refused head there is nothing but the stand-in.
    fn refuse_rest(&mut self) {
        if matches!(self.at, At::Refused) {
            self.held.clear();
            self.ready.extend_from_slice(STAND_IN);
        }
    }

    /// Follows the framing through `bytes`; returns how many of them hyper may have. What is behind
    /// them belongs to a head that is not complete, came too early, or is refused.
    fn walk(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if matches!(self.at, At::Head) && self.owes_answer() {
                return at;
            }
            let rest = &mut bytes[at..];
            match &mut self.at {
                At::Head => match self.head(rest) {
                    Ok(Some(length)) => at += length,
                    Ok(None) => return at,
                    Err(refusal) => {
                        self.conn.wire.refuse(self.heads.wrapping_add(1), refusal);
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
    fn head(&mut self, bytes: &mut [u8]) -> Result<Option<usize>, Refusal> {
        let end = head::find_end(bytes, &mut self.line)?;
        if end.unwrap_or(bytes.len()) > self.limits.head_bytes_max {
            return Err(Refusal::TooLarge);
        }
        let Some(end) = end else { return Ok(None) };
        let follows = head::check(&mut bytes[..end])?;
        self.line = 0;
        let Some(follows) = follows else {
            self.unescaped = true;
            return Ok(None);
        };
        self.heads = self.heads.wrapping_add(1);
        self.at = match follows {
            Follows::Head => At::Head,
            Follows::Length(length) => At::Body(length),
            Follows::Chunks => At::Chunked(Chunks::default()),
        };
        Ok(Some(end))
    }

    /// Goes on with what is held, and keeps what of it is still not for hyper.
    fn walk_held(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        let sound = self.walk(&mut held);
        self.held = held.split_off(sound);
        if self.ready.is_empty() {
            self.ready = held;
        } else {
            self.ready.append(&mut held);
        }
        if matches!(self.at, At::Broken) {
            self.held.clear();
        }
    }

    /// Goes on with a head whose target must be escaped. It is whole, and stands at the start of what is
    /// held.
    fn walk_escaped(&mut self) {
        if std::mem::take(&mut self.unescaped) {
            head::escape_target(&mut self.held);
            self.walk_held();
        }
    }

    /// Deals with what a read has put behind the first `before` bytes of `buf`; returns whether
    /// hyper has something to look at.
    fn admit(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> bool {
        if self.held.is_empty() {
            let new = &mut buf.filled_mut()[before..];
            let sound = self.walk(new);
            // What is behind a refused head or a broken body is dropped unread.
            if !matches!(self.at, At::Refused | At::Broken) {
                self.held.extend_from_slice(&new[sound..]);
            }
            buf.set_filled(before + sound);
        } else {
            self.held.extend_from_slice(&buf.filled()[before..]);
            buf.set_filled(before);
            self.walk_held();
        }
        self.walk_escaped();
        self.refuse_rest();
        self.mark_early();
        self.hand_over(buf);
        buf.filled().len() > before
    }

    /// Notes what the bytes that were admitted last mean for the clocks; `began` if they were the
    /// first of a request.
    fn keep_clocks(&self, began: bool) {
        if self.limits.read_timeout.is_some() {
            self.limit_whole_request(began);
        }
        if self.held.is_empty() || self.early {
            self.conn.wire.read();
        } else if began {
            // The first bytes of a head have come: the rest must follow in time.
            self.conn.wire.limit_read(self.limits.head_timeout);
        }
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
            At::Head if self.is_between() => wire.limit_request(None),
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
