//! Connections that have changed their protocol, such as WebSockets: bytes both ways until one side
//! ends, with nothing held while both are silent.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use super::hosts::InFlight;
use super::request;
use crate::http::upstream::Upgraded;
use crate::http::{Exchange, HandlerError, Response, Upgrade};

/// What a read takes at most, unless the configuration says otherwise.
const BUFFER_BYTES: usize = 32 * 1024;
/// No configuration makes it more.
const BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// What becomes of connections that change their protocol.
pub struct Tunnels {
    timeout: Option<Duration>,
    buffer_bytes: usize,
    close_delay: Option<Duration>,
    /// Closed with the configuration; each tunnel has a receiver.
    configuration: watch::Sender<()>,
}

/// Why a connection can't change its protocol.
#[derive(Debug, thiserror::Error)]
enum UpgradeError {
    #[error("upstream tried to switch to a protocol that was not asked for")]
    OtherProtocol,
    #[error("no connection to switch")]
    NoConnection,
}

impl Tunnels {
    /// Tunnels that last `timeout` at most, take `buffer_bytes` at a time (0 for the default), and
    /// outlive their configuration by `close_delay`; without one, by any time.
    pub fn new(timeout: Option<Duration>, buffer_bytes: usize, close_delay: Option<Duration>) -> Self {
        let buffer_bytes = if buffer_bytes == 0 { BUFFER_BYTES } else { buffer_bytes.min(BUFFER_BYTES_MAX) };
        Self { timeout, buffer_bytes, close_delay, configuration: watch::Sender::new(()) }
    }

    /// Begins the tunnel that `response` agrees to, once it has been sent.
    ///
    /// # Errors
    /// A 502, if the upstream chose another protocol than the client had asked for.
    pub fn begin(
        &self,
        x: &mut Exchange,
        response: &mut Response,
        protocol: Option<&HeaderValue>,
        running: InFlight,
    ) -> Result<(), HandlerError> {
        let bad = |error: UpgradeError| HandlerError::new(StatusCode::BAD_GATEWAY, error);
        let asked = request::upgrade(x).ok_or_else(|| bad(UpgradeError::OtherProtocol))?;
        if protocol.is_none_or(|protocol| !protocol.as_bytes().eq_ignore_ascii_case(&asked)) {
            return Err(bad(UpgradeError::OtherProtocol));
        }
        let upstream = response.extensions_mut().remove::<Upgraded>().and_then(|upgraded| upgraded.take());
        let client = x.extensions.remove::<Upgrade>();
        let (Some((upstream, early)), Some(client)) = (upstream, client) else {
            return Err(bad(UpgradeError::NoConnection));
        };
        let (timeout, buffer_bytes, close_delay) = (self.timeout, self.buffer_bytes, self.close_delay);
        let mut configuration = self.configuration.subscribe();
        tokio::spawn(async move {
            let _running = running;
            let Some(client) = client.wait().await else {
                return tracing::debug!("client left before the protocol changed");
            };
            let mut tunnel = Tunnel::new(client, upstream, early.to_vec(), buffer_bytes);
            let ended = async {
                tokio::select! {
                    result = poll_fn(|cx| tunnel.poll(cx)) => result,
                    () = over(close_delay, &mut configuration) => Ok(()),
                }
            };
            let ended = match timeout {
                Some(timeout) => tokio::time::timeout(timeout, ended).await.unwrap_or(Ok(())),
                None => ended.await,
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "tunnel broke off");
            }
        });
        Ok(())
    }
}

/// Waits until the configuration is gone and its tunnels' time is up; for ever if they have no limit.
async fn over(close_delay: Option<Duration>, configuration: &mut watch::Receiver<()>) {
    let Some(delay) = close_delay else { return std::future::pending().await };
    while configuration.changed().await.is_ok() {}
    tokio::time::sleep(delay).await;
}

thread_local! {
    /// Where reads go first. A tunnel that waits owns no buffer at all.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Two connections that pass on to each other what they get.
struct Tunnel<A, B> {
    client: A,
    upstream: B,
    to_client: Pending,
    to_upstream: Pending,
    buffer_bytes: usize,
}

/// What one side could not take yet, and how much of it has been sent.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    sent: usize,
}

impl<A, B> Tunnel<A, B>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// A tunnel that begins with `early`, which the upstream has sent already.
    fn new(client: A, upstream: B, early: Vec<u8>, buffer_bytes: usize) -> Self {
        Self {
            client,
            upstream,
            to_client: Pending { bytes: early, sent: 0 },
            to_upstream: Pending::default(),
            buffer_bytes,
        }
    }

    /// Moves bytes until a side ends, as in Caddy: neither protocol that is tunnelled lives on with
    /// half a connection.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let up = pump(cx, &mut self.client, &mut self.upstream, &mut self.to_upstream, self.buffer_bytes);
        let down = pump(cx, &mut self.upstream, &mut self.client, &mut self.to_client, self.buffer_bytes);
        if let Poll::Ready(result) = down {
            return Poll::Ready(result);
        }
        up
    }
}

/// Moves bytes from one side to the other until there are none; ready at the end of `from`.
fn pump<A, B>(
    cx: &mut Context<'_>,
    from: &mut A,
    to: &mut B,
    pending: &mut Pending,
    buffer_bytes: usize,
) -> Poll<io::Result<()>>
where
    A: AsyncRead + Unpin,
    B: AsyncWrite + Unpin,
{
    loop {
        while pending.sent < pending.bytes.len() {
            let sent = ready!(Pin::new(&mut *to).poll_write(cx, &pending.bytes[pending.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            pending.sent += sent;
        }
        *pending = Pending::default();
        let read = SCRATCH.with_borrow_mut(|scratch| {
            if scratch.len() < buffer_bytes {
                scratch.resize(buffer_bytes, 0);
            }
            let mut buf = ReadBuf::new(&mut scratch[..buffer_bytes]);
            let read = Pin::new(&mut *from).poll_read(cx, &mut buf);
            let bytes = buf.filled();
            // The usual case: the other side takes it all at once.
            let sent =
                if bytes.is_empty() { Poll::Pending } else { Pin::new(&mut *to).poll_write(cx, bytes) };
            let sent = match sent {
                Poll::Ready(Ok(sent)) => sent,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => 0,
            };
            pending.bytes.extend_from_slice(&bytes[sent..]);
            read.map_ok(|()| bytes.len())
        });
        match read {
            Poll::Ready(Ok(0)) => {
                ready!(Pin::new(&mut *to).poll_flush(cx))?;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(Pin::new(&mut *to).poll_flush(cx))?;
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_until_a_side_ends() {
        let ((mut client, client_end), (mut upstream, upstream_end)) = (duplex(16), duplex(16));
        let mut tunnel = Tunnel::new(client_end, upstream_end, b"early".to_vec(), 8);
        let tunnel = tokio::spawn(async move { poll_fn(|cx| tunnel.poll(cx)).await });
        let mut early = [0; 5];
        client.read_exact(&mut early).await.unwrap();
        assert_eq!(&early, b"early");
        // More than all buffers on the way, so that each side has to wait for the other.
        let sent: Vec<u8> = (0..1000_u32).map(|n| n as u8).collect();
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client
        });
        let mut got = vec![0; 1000];
        upstream.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
        let mut client = sending.await.unwrap();
        upstream.write_all(b"reply").await.unwrap();
        let mut reply = [0; 5];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(&reply, b"reply");
        drop(upstream);
        assert!(tunnel.await.unwrap().is_ok());
        assert_eq!(client.read(&mut reply).await.unwrap(), 0);
    }
}
