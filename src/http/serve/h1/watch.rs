//! Looking after a client that waits for its answer.
//!
//! The connection's task sleeps then until something wakes it: the answer's next part, the socket, or
//! whoever changes what [`Link::poll_watch`] goes by, which is where the request stands (`at`) and who reads
//! its body (`reader`). In another task that is told by [`Link::wake_watcher`].

use std::io;
use std::task::{Context, Poll, Waker, ready};

use super::link::{At, Link, no_socket};
use crate::http::reading::{join, read_little};
use crate::http::serve::listener::Transport;

/// So much is read, at least, of what a client sends before its answer is there.
const EARLY_BYTES_MAX: usize = 16 * 1024;

impl<T: Transport> Link<T> {
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
            // Whoever read the body was told of that, and may still have an answer.
            At::Lost if self.end_seen => Poll::Pending,
            At::Lost => self.poll_gone(cx),
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
                    self.held = join(std::mem::take(&mut self.held), more);
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
        if self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            // What comes, be it the end, wakes this task.
            self.stalled = false;
            return Poll::Pending;
        }
        self.watcher = Some(cx.waker().clone());
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

    /// Has the connection's task look again, unless it is the one that runs.
    pub(super) fn wake_watcher(&mut self, running: Option<&Waker>) {
        if let Some(watcher) = self.watcher.take()
            && running.is_none_or(|running| !running.will_wake(&watcher))
        {
            watcher.wake();
        }
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
}
