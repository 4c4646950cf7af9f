//! What hyper writes through a guard, with what goes between its answers and behind the last one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::io::{AsyncWrite, ReadBuf};

use super::{At, Guard};
use crate::http::serve::listener::Transport;

/// How hyper ends a chunked answer.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// So much is read and thrown away, at most, so that a client can read its answer.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// And for this long.
const LINGER: Duration = Duration::from_secs(2);

/// Pieces that are together no longer than this are written as one.
const JOINED_BYTES_MAX: usize = 2048;

/// Writes pieces in one call. For a head with a short body, or for one line of a stream between its
/// chunk's marks, copying them together costs less than the kernel's work with a list of pieces.
fn poll_write_pieces<T: AsyncWrite + Unpin>(
    io: &mut T,
    cx: &mut Context<'_>,
    pieces: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [piece] = pieces {
        return Pin::new(io).poll_write(cx, piece);
    }
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > JOINED_BYTES_MAX {
        return Pin::new(io).poll_write_vectored(cx, pieces);
    }
    let mut joined = SmallVec::<[u8; JOINED_BYTES_MAX]>::new();
    for piece in pieces {
        joined.extend_from_slice(piece);
    }
    Pin::new(io).poll_write(cx, &joined)
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

    /// Waits for a client that is to go, but only so long.
    fn end_linger(&self) -> Poll<io::Result<()>> {
        if self.conn.wire.take_read_expired() { Poll::Ready(Ok(())) } else { Poll::Pending }
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
            poll_write_pieces(&mut this.io, cx, bufs)
        };
        this.timed(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.conn.wire.is_overdue() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        // hyper flushes when it has nothing left to write.
        this.clean = true;
        ready!(this.poll_interim(cx))?;
        if let Poll::Ready(gone) = this.poll_stalled(cx) {
            return Poll::Ready(gone);
        }
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
        if !this.ending {
            this.ending = true;
            this.conn.wire.limit_read(Some(LINGER));
        }
        if this.lingered == 0 {
            let Poll::Ready(shut) = Pin::new(&mut this.io).poll_shutdown(cx) else {
                return this.end_linger();
            };
            shut?;
            this.lingered = 1;
        }
        if settled {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 4096];
        while this.lingered < LINGER_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut scratch);
            let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, &mut buf) else {
                return this.end_linger();
            };
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            this.lingered += buf.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::task::Waker;

    use super::*;

    /// Takes all that is written and remembers each call.
    #[derive(Default)]
    struct Calls(Vec<Vec<u8>>);

    impl AsyncWrite for Calls {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(buf.to_vec());
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn short_pieces_leave_together_and_long_ones_are_not_copied() {
        let long = vec![b'x'; JOINED_BYTES_MAX];
        for (pieces, first_call) in [
            (&[&b"head"[..], b"", b"body"][..], &b"headbody"[..]),
            (&[b"alone"], b"alone"),
            (&[&long], &long),
            // This writer knows no lists, and gets the first piece that is not empty.
            (&[b"", b"head", &long], b"head"),
        ] {
            let mut io = Calls::default();
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let written = poll_write_pieces(&mut io, &mut Context::from_waker(Waker::noop()), &slices);
            assert!(matches!(written, Poll::Ready(Ok(length)) if length == first_call.len()));
            assert_eq!(io.0, [first_call]);
        }
    }
}
