//! A client for tests: what it sends and how it takes its answers is laid down.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use socket2::TcpKeepalive;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::link::Link;
use crate::http::ConnInfo;
use crate::http::serve::WireLimits;
use crate::http::serve::listener::{Gone, Transport};

/// Sends its packets one by one, then nothing more.
pub(super) struct Scripted {
    left: Vec<u8>,
    /// The lengths of the packets; the last one goes on for ever.
    lengths: Vec<u8>,
    /// How much is taken at a time, over and over; 0 for nothing now.
    takes: Vec<u16>,
    turn: usize,
    got: Arc<Mutex<Vec<u8>>>,
}

impl Scripted {
    /// One that sends this in packets of these lengths, and takes everything.
    pub(super) fn sends(bytes: &[u8], lengths: &[u8]) -> Self {
        let (left, lengths) = (bytes.to_vec(), lengths.to_vec());
        Self { left, lengths, takes: vec![u16::MAX], turn: 0, got: Arc::default() }
    }

    /// One that says nothing, and takes so much at a time.
    #[cfg(test)]
    pub(super) fn takes(takes: &[u16]) -> Self {
        Self { takes: takes.to_vec(), ..Self::sends(b"", &[]) }
    }

    /// What it has taken so far.
    #[cfg(test)]
    pub(super) fn got(&self) -> Arc<Mutex<Vec<u8>>> {
        self.got.clone()
    }

    /// A link to it, without deadlines, once it has sent `first`.
    pub(super) fn link(self, first: Bytes, head_bytes_max: usize) -> Link<Self> {
        let limits = WireLimits {
            head_bytes_max,
            head_timeout: None,
            idle_timeout: None,
            read_idle_timeout: None,
            write_idle_timeout: None,
            read_timeout: None,
            write_timeout: None,
            keep_alive: None,
        };
        Link::new(self, first, Arc::new(ConnInfo::new(None, None, None)), Arc::new(limits))
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.is_empty() {
            return Poll::Pending;
        }
        let length = self.lengths.first().map_or(usize::MAX, |length| usize::from(*length).max(1));
        let length = length.min(self.left.len()).min(buf.remaining());
        buf.put_slice(&self.left[..length]);
        self.left.drain(..length);
        if !self.lengths.is_empty() {
            self.lengths.remove(0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let takes = usize::from(self.takes[self.turn % self.takes.len()]);
        self.turn += 1;
        if takes == 0 {
            return Poll::Pending;
        }
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).take(takes).collect();
        self.got.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&all);
        Poll::Ready(Ok(all.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Scripted {
    fn local(&self) -> Option<SocketAddr> {
        None
    }

    fn keep_alive(&self, _: &TcpKeepalive) {}

    fn gone(&self) -> io::Result<Gone> {
        Ok(Box::pin(std::future::pending()))
    }
}
