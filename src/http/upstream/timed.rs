//! A connection that gives up when the other side is silent or takes nothing for too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::dial::UpstreamIo;

/// A connection with a limit on each wait. Nobody waits on an idle one, so it has no limit.
pub struct Timed {
    pub(super) io: UpstreamIo,
    read: Clock,
    write: Clock,
}

/// Runs while something is waited for.
struct Clock {
    limit: Option<Duration>,
    running: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    /// `io` with these limits.
    pub(super) fn new(io: UpstreamIo, read: Option<Duration>, write: Option<Duration>) -> Self {
        let clock = |limit| Clock { limit, running: None };
        Self { io, read: clock(read), write: clock(write) }
    }
}

impl Clock {
    /// `progress`, unless it is still awaited and the time is up.
    fn watch<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Some(limit) = self.limit.filter(|_| progress.is_pending()) else {
            self.running = None;
            return progress;
        };
        let running =
            self.running.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        if running.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.running = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Timed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.io).poll_read(cx, buf);
        this.read.watch(cx, progress)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.io).poll_write(cx, buf);
        this.write.watch(cx, progress)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.write.watch(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.io).poll_flush(cx);
        this.write.watch(cx, progress)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.io).poll_shutdown(cx);
        this.write.watch(cx, progress)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    #[tokio::test]
    async fn silence_ends_a_read_but_progress_starts_the_clock_anew() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut timed = Timed::new(UpstreamIo::Unix(ours), Some(SHORT), None);
        let mut byte = [0];
        for _ in 0..3 {
            tokio::time::sleep(SHORT).await;
            theirs.write_all(b"x").await.unwrap();
            timed.read_exact(&mut byte).await.unwrap();
        }
        let error = timed.read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_takes_nothing_ends_a_write() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut timed = Timed::new(UpstreamIo::Unix(ours), None, Some(SHORT));
        let error = timed.write_all(&vec![0; 8 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
