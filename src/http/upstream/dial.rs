//! Connecting to an upstream.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::{UpstreamError, UpstreamErrorKind};

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dial {
    /// A host name or IP address, and a port.
    Tcp {
        /// The name or address, without brackets.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
    /// A Unix socket's path.
    Unix(Arc<Path>),
}

impl fmt::Display for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix/{}", path.display()),
        }
    }
}

/// TLS towards upstreams.
#[derive(Clone)]
pub struct TlsDial {
    /// Trust, client certificates and ALPN.
    pub config: Arc<rustls::ClientConfig>,
    /// The name to ask for and to verify; the host that is dialled unless given.
    pub server_name: Option<ServerName<'static>>,
}

/// A connection to an upstream.
pub enum UpstreamIo {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over either.
    Tls(Box<TlsStream<UpstreamIo>>),
}

/// Opens a connection, within `timeout` for all of it if one is given.
pub(super) async fn connect(
    dial: &Dial,
    tls: Option<&TlsDial>,
    timeout: Option<Duration>,
) -> Result<UpstreamIo, UpstreamError> {
    let Some(timeout) = timeout else { return open(dial, tls).await };
    match tokio::time::timeout(timeout, open(dial, tls)).await {
        Ok(result) => result,
        Err(_) => Err(dial_error(dial, io::Error::new(io::ErrorKind::TimedOut, "i/o timeout"))),
    }
}

fn dial_error(dial: &Dial, source: io::Error) -> UpstreamError {
    UpstreamError::unsent(UpstreamErrorKind::Dial { address: dial.to_string(), source })
}

async fn open(dial: &Dial, tls: Option<&TlsDial>) -> Result<UpstreamIo, UpstreamError> {
    let plain = match dial {
        Dial::Tcp { host, port } => {
            // Of several addresses, `connect` tries one after the other.
            let stream =
                TcpStream::connect((&**host, *port)).await.map_err(|error| dial_error(dial, error))?;
            stream.set_nodelay(true).map_err(|error| dial_error(dial, error))?;
            UpstreamIo::Tcp(stream)
        }
        Dial::Unix(path) => {
            UpstreamIo::Unix(UnixStream::connect(path).await.map_err(|error| dial_error(dial, error))?)
        }
    };
    let Some(tls) = tls else { return Ok(plain) };
    let handshake =
        |source| UpstreamError::unsent(UpstreamErrorKind::Handshake { address: dial.to_string(), source });
    let name = match (&tls.server_name, dial) {
        (Some(name), _) => name.clone(),
        (None, Dial::Tcp { host, .. }) => ServerName::try_from(host.to_string())
            .map_err(|error| handshake(io::Error::new(io::ErrorKind::InvalidInput, error)))?,
        (None, Dial::Unix(_)) => {
            return Err(handshake(io::Error::new(io::ErrorKind::InvalidInput, "no server name to verify")));
        }
    };
    let connector = TlsConnector::from(tls.config.clone());
    let stream = connector.connect(name, plain).await.map_err(handshake)?;
    Ok(UpstreamIo::Tls(Box::new(stream)))
}

impl UpstreamIo {
    /// Whether the handshake settled on HTTP/2.
    pub(super) fn is_h2(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            _ => false,
        }
    }
}

impl AsyncRead for UpstreamIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Self::Unix(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            Self::Unix(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // Sockets keep nothing back.
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Self::Unix(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
