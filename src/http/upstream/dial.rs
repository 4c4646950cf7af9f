//! Connecting to an upstream.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TransportOptions;
use super::error::{UpstreamError, UpstreamErrorKind};
use super::timed::Timed;
use super::{proxy_header, socket};

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

impl Dial {
    /// The network and the address, as Go names them in errors.
    fn with_network(&self) -> String {
        match self {
            Self::Tcp { .. } => format!("tcp {self}"),
            Self::Unix(path) => format!("unix {}", path.display()),
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
    /// Any of them, with a limit on each wait.
    Timed(Box<Timed>),
}

/// Opens a connection, and speaks TLS on it if the options say so.
///
/// `client` is whom the upstream is told of first, if it is told.
pub(super) async fn connect(
    dial: &Dial,
    options: &TransportOptions,
    client: Option<IpAddr>,
) -> Result<UpstreamIo, UpstreamError> {
    let opening = async {
        let mut io = open(dial, options).await?;
        if let Some(version) = options.proxy_protocol {
            io.write_all(&proxy_header::header(version, client)).await?;
        }
        Ok(io)
    };
    let opened = match options.dial_timeout {
        None => opening.await,
        Some(limit) => tokio::time::timeout(limit, opening)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "i/o timeout"))),
    };
    let mut io = opened.map_err(|source| {
        UpstreamError::unsent(UpstreamErrorKind::Dial { address: dial.with_network(), source })
    })?;
    if let (Dial::Tcp { host, port }, Some(proxy)) = (dial, &options.forward_proxy) {
        let tunnel = proxy.open(io, host, *port, options.speaks_in_the_clear());
        io = tunnel.await.map_err(|source| {
            UpstreamError::unsent(UpstreamErrorKind::Dial { address: dial.with_network(), source })
        })?;
    }
    if options.read_timeout.is_some() || options.write_timeout.is_some() {
        io = UpstreamIo::Timed(Box::new(Timed::new(io, options.read_timeout, options.write_timeout)));
    }
    let Some(tls) = &options.tls else { return Ok(io) };
    match tokio::time::timeout(options.handshake_timeout, handshake(dial, tls, io)).await {
        Ok(result) => result,
        Err(_) => Err(UpstreamError::unsent(UpstreamErrorKind::Timeout("TLS handshake"))),
    }
}

async fn open(dial: &Dial, options: &TransportOptions) -> io::Result<UpstreamIo> {
    match (dial, &options.forward_proxy) {
        (Dial::Tcp { host, port }, None) => socket::open(host, *port, options).await.map(UpstreamIo::Tcp),
        (Dial::Tcp { .. }, Some(proxy)) => {
            let stream = socket::open(proxy.host(), proxy.port(), options).await?;
            Ok(UpstreamIo::Tcp(stream))
        }
        (Dial::Unix(path), _) => UnixStream::connect(path).await.map(UpstreamIo::Unix),
    }
}

async fn handshake(dial: &Dial, tls: &TlsDial, io: UpstreamIo) -> Result<UpstreamIo, UpstreamError> {
    let failed =
        |source| UpstreamError::unsent(UpstreamErrorKind::Handshake { address: dial.to_string(), source });
    let name = match (&tls.server_name, dial) {
        (Some(name), _) => name.clone(),
        (None, Dial::Tcp { host, .. }) => ServerName::try_from(host.to_string())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?,
        (None, Dial::Unix(_)) => {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "no server name to verify")));
        }
    };
    let stream = TlsConnector::from(tls.config.clone()).connect(name, io).await.map_err(failed)?;
    Ok(UpstreamIo::Tls(Box::new(stream)))
}

impl From<Box<TlsStream<Self>>> for UpstreamIo {
    fn from(stream: Box<TlsStream<Self>>) -> Self {
        Self::Tls(stream)
    }
}

impl UpstreamIo {
    /// The connection without its clock, for looks that don't wait.
    pub(super) fn untimed(&mut self) -> &mut Self {
        match self {
            Self::Timed(timed) => &mut timed.io,
            io => io,
        }
    }

    /// Our end of a connection over TCP.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(io) => io.local_addr().ok(),
            Self::Unix(_) => None,
            Self::Tls(session) => session.get_ref().0.local(),
            Self::Timed(timed) => timed.io.local(),
        }
    }

    /// Whether the kernel holds nothing that came on this connection, not even its end.
    pub(super) fn is_kernel_buffer_empty(&self) -> bool {
        let socket = match self {
            Self::Tcp(io) => SockRef::from(io),
            Self::Unix(io) => SockRef::from(io),
            Self::Tls(session) => return session.get_ref().0.is_kernel_buffer_empty(),
            Self::Timed(timed) => return timed.io.is_kernel_buffer_empty(),
        };
        let mut byte = [MaybeUninit::uninit()];
        // The sockets are tokio's and so never block.
        matches!(socket.peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

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
            Self::Timed(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            Self::Unix(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
            Self::Timed(io) => Pin::new(io).poll_write(cx, buf),
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
            Self::Timed(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::Tls(io) => io.is_write_vectored(),
            Self::Timed(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // Sockets keep nothing back.
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
            Self::Timed(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Self::Unix(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
            Self::Timed(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
