//! What hyper reads through a guard, and how it learns that the client has gone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::{At, Guard, broken_body};
use crate::http::serve::listener::Transport;

/// So much is read, at least, of what a client sends before its answer is there.
const EARLY_BYTES_MAX: usize = 16 * 1024;

impl<T: Transport> Guard<T> {
    /// Reads while the client is owed an answer. Nothing of that is for hyper, except the end: a
    /// client that has gone wants no answer.
    fn poll_early(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.io.is_watched() && self.conn.wire.puts_off_watching() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        while self.held.len() < EARLY_BYTES_MAX {
            let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, buf) else {
                self.conn.wire.limit_read(None);
                self.keep_alive();
                return Poll::Pending;
            };
            read?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(&buf.filled()[before..]);
            buf.set_filled(before);
            self.mark_early();
        }
        self.poll_gone(cx)
    }

    /// Waits for the client's end without reading.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gone = match &mut self.gone {
            Some(gone) => gone,
            None => self.gone.insert(self.io.gone()?),
        };
        ready!(gone.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }

    /// While an upstream takes nothing more of a body, hyper reads nothing more, and would not notice
    /// that the client has gone.
    pub(super) fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waits || self.conn.wire.is_idle() || self.conn.wire.is_tunnel() {
            return Poll::Pending;
        }
        if self.looked {
            return self.poll_gone(cx);
        }
        // Usually hyper is just about to read on; being woken for that twice costs nothing.
        self.looked = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Has the kernel look after a connection whose client waits for its answer, maybe for minutes.
    fn keep_alive(&mut self) {
        if !self.kept_alive && !self.conn.wire.is_idle() {
            self.kept_alive = true;
            if let Some(params) = &self.limits.keep_alive {
                self.io.keep_alive(params);
            }
        }
    }
}

impl<T: Transport> AsyncRead for Guard<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = this.poll_admitted(cx, buf);
        this.waits = read.is_pending();
        this.looked = false;
        read
    }
}

impl<T: Transport> Guard<T> {
    /// Reads what hyper may have.
    fn poll_admitted(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.taken < self.ready.len() {
            self.hand_over(buf);
            return Poll::Ready(Ok(()));
        }
        if self.conn.wire.is_tunnel() {
            if self.held.is_empty() {
                return Pin::new(&mut self.io).poll_read(cx, buf);
            }
            self.ready = std::mem::take(&mut self.held);
            self.hand_over(buf);
            return Poll::Ready(Ok(()));
        }
        if matches!(self.at, At::Refused) {
            // The refusal is being written; hyper closes behind it.
            return Poll::Pending;
        }
        if self.conn.wire.is_overdue() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if matches!(self.at, At::Broken) {
            return Poll::Ready(Err(broken_body()));
        }
        loop {
            if matches!(self.at, At::Head) && self.owes_answer() {
                return self.poll_early(cx, buf);
            }
            let before = buf.filled().len();
            let began = self.held.is_empty() || self.early;
            if !std::mem::take(&mut self.early) {
                let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, buf) else {
                    if self.conn.wire.take_read_expired() {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    self.wait_to_read();
                    self.keep_alive();
                    return Poll::Pending;
                };
                read?;
                if buf.filled().len() == before {
                    return Poll::Ready(Ok(()));
                }
            }
            let passed = self.admit(buf, before);
            self.keep_clocks(began);
            if passed {
                return Poll::Ready(Ok(()));
            }
            if matches!(self.at, At::Broken) {
                return Poll::Ready(Err(broken_body()));
            }
        }
    }
}
