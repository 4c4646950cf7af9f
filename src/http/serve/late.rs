//! A client's TCP connection that the reactor learns of late, or never.
//!
//! Most of what a short connection costs is the kernel's work, and watching a socket is a good part of
//! it. A request that comes with the connection and is answered at once never has to be waited for, so
//! its connection need not be watched at all.

use std::io::{self, Read as _, Write as _};
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::listener::{END, Gone, Transport};

/// A connection as it was accepted, until somebody has to wait for it.
pub(super) struct Late(State);

enum State {
    /// Nobody has waited yet.
    Unwatched {
        socket: net::TcpStream,
        /// The last read took all there was, so that another one would most likely find nothing.
        drained: bool,
    },
    /// The reactor wakes who waits.
    Watched(TcpStream),
    /// The reactor would not take it.
    Lost,
}

impl Late {
    /// A socket that never blocks.
    pub(super) fn new(socket: net::TcpStream) -> Self {
        Self(State::Unwatched { socket, drained: false })
    }

    /// The connection with the reactor behind it.
    fn watched(&mut self) -> io::Result<&mut TcpStream> {
        if let State::Unwatched { .. } = self.0
            && let State::Unwatched { socket, .. } = std::mem::replace(&mut self.0, State::Lost)
        {
            self.0 = State::Watched(TcpStream::from_std(socket)?);
        }
        match &mut self.0 {
            State::Watched(stream) => Ok(stream),
            State::Unwatched { .. } | State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    #[cfg(test)]
    fn is_watched(&self) -> bool {
        !matches!(self.0, State::Unwatched { .. })
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.0 {
            State::Unwatched { socket, .. } => Ok(socket.as_fd()),
            State::Watched(stream) => Ok(stream.as_fd()),
            State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// What `write` does to a socket that is not watched yet, unless it would block.
    fn try_write(
        &mut self,
        write: impl FnOnce(&mut net::TcpStream) -> io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let State::Unwatched { socket, .. } = &mut self.0 else { return None };
        match write(socket) {
            Err(error) if is_transient(&error) => None,
            written => Some(written),
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl AsyncRead for Late {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let State::Unwatched { socket, drained } = &mut this.0
            && !*drained
        {
            let room = buf.initialize_unfilled();
            match socket.read(room) {
                Ok(length) => {
                    // At the end of the stream reading goes on to find nothing, and says so each time.
                    *drained = length > 0 && length < room.len();
                    buf.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Pin::new(this.watched()?).poll_read(cx, buf)
    }
}

impl AsyncWrite for Late {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.try_write(|socket| socket.write(buf)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(this.watched()?).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.try_write(|socket| socket.write_vectored(bufs)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(this.watched()?).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets keep nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            State::Unwatched { socket, .. } => Poll::Ready(match socket.shutdown(net::Shutdown::Write) {
                // The client has gone already; tokio takes that for success too.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                outcome => outcome,
            }),
            State::Watched(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Lost => Poll::Ready(Ok(())),
        }
    }
}

impl Transport for Late {
    fn local(&self) -> Option<SocketAddr> {
        match &self.0 {
            State::Unwatched { socket, .. } => socket.local_addr().ok(),
            State::Watched(stream) => stream.local_addr().ok(),
            State::Lost => None,
        }
    }

    fn keep_alive(&self, params: &TcpKeepalive) {
        // Without it a client that vanishes is only noticed later.
        if let Err(error) = self.fd().and_then(|fd| SockRef::from(&fd).set_tcp_keepalive(params)) {
            tracing::debug!(%error, "TCP keep-alive");
        }
    }

    fn gone(&self) -> io::Result<Gone> {
        let same = TcpStream::from_std(self.fd()?.try_clone_to_owned()?.into())?;
        Ok(Box::pin(async move { drop(same.ready(END).await) }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn pair() -> (net::TcpStream, Late) {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        (client, Late::new(socket))
    }

    #[tokio::test]
    async fn what_needs_no_waiting_is_never_watched() {
        let (mut client, mut late) = pair();
        client.write_all(b"ask").unwrap();
        let mut buf = [0; 8];
        assert_eq!(late.read(&mut buf).await.unwrap(), 3);
        late.write_all(b"answer").await.unwrap();
        late.shutdown().await.unwrap();
        assert!(!late.is_watched());
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
    }

    #[tokio::test]
    async fn a_client_that_has_gone_can_be_taken_leave_of() {
        let (client, mut late) = pair();
        // With nothing to linger for the kernel resets the connection.
        SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        let mut buf = [0; 8];
        assert_eq!(late.read(&mut buf).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(!late.is_watched());
        late.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn who_has_to_wait_is_woken() {
        let (mut client, mut late) = pair();
        client.write_all(b"a").unwrap();
        let mut byte = [0; 2];
        assert_eq!(late.read(&mut byte).await.unwrap(), 1);
        let sender = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            client.write_all(b"b").unwrap();
            client
        });
        assert_eq!(late.read(&mut byte).await.unwrap(), 1);
        assert!(late.is_watched() && byte[0] == b'b');
        drop(sender.join().unwrap());
        assert_eq!(late.read(&mut byte).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_came_before_it_was_watched_is_found() {
        let (mut client, mut late) = pair();
        client.write_all(b"a").unwrap();
        let mut byte = [0; 2];
        assert_eq!(late.read(&mut byte).await.unwrap(), 1);
        // This comes between the read that found the end of the first data and the reactor's first look.
        client.write_all(b"b").unwrap();
        assert_eq!(late.read(&mut byte).await.unwrap(), 1);
        assert_eq!(byte[0], b'b');
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_waited_for() {
        const LENGTH: usize = 16 << 20;
        let (mut client, mut late) = pair();
        let reader = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            all.len()
        });
        late.write_all(&vec![b'x'; LENGTH]).await.unwrap();
        assert!(late.is_watched());
        drop(late);
        assert_eq!(reader.join().unwrap(), LENGTH);
    }
}
