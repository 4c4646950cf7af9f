//! What goes out on a connection: interim answers, and pieces of the real one, each within its time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::link::{Link, no_socket};
use crate::http::serve::listener::Transport;

impl<T: Transport> Link<T> {
    /// Tells a client that waits for it to send its body; the connection's task sends that.
    pub(super) fn ask_for_body(&mut self, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.expects) && !self.answering {
            self.interim.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.wake_watcher(Some(cx.waker()));
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
    pub(super) fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.take_interim();
        if self.interim.is_empty() && !self.is_interim_kept {
            return Poll::Ready(Ok(()));
        }
        while !self.interim.is_empty() {
            let interim = std::mem::take(&mut self.interim);
            let sent = self.poll_write(cx, &[io::IoSlice::new(&interim)]);
            self.interim = interim;
            self.interim.drain(..ready!(sent)?);
            self.is_interim_kept = true;
        }
        ready!(self.poll_flush(cx))?;
        self.is_interim_kept = false;
        Poll::Ready(Ok(()))
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
}
