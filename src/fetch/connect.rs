//! Connections to whoever is asked: directly, or by a proxy.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::environment::Environment;
use super::{CONNECT_TIMEOUT, ForwardProxy};

/// Which proxy is on the way.
#[derive(Clone, Debug, Default)]
pub enum Proxies {
    /// The one that the environment names.
    #[default]
    Environment,
    /// None.
    Direct,
    /// This one.
    Fixed(Arc<ForwardProxy>),
}

/// The same, looked up.
#[derive(Clone, Debug)]
pub(super) enum Route {
    Environment(Arc<Environment>),
    Direct,
    Fixed(Arc<ForwardProxy>),
}

impl Route {
    pub(super) fn new(proxies: Proxies, tls: &Arc<ClientConfig>) -> Self {
        match proxies {
            Proxies::Environment => {
                Self::Environment(Arc::new(Environment::read(|name| std::env::var(name).ok(), tls)))
            }
            Proxies::Direct => Self::Direct,
            Proxies::Fixed(proxy) => Self::Fixed(proxy),
        }
    }

    /// The proxy on the way to an address.
    pub(super) fn proxy_for(&self, uri: &Uri) -> Option<&Arc<ForwardProxy>> {
        match self {
            Self::Direct => None,
            Self::Fixed(proxy) => Some(proxy),
            Self::Environment(environment) => {
                let (host, port) = end(uri)?;
                environment.proxy_for(is_https(uri), host, port)
            }
        }
    }
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

/// The host, without brackets, and the port.
fn end(uri: &Uri) -> Option<(&str, u16)> {
    let host = uri.host()?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, uri.port_u16().unwrap_or(if is_https(uri) { 443 } else { 80 })))
}

/// Makes connections without TLS, on which it may be spoken then.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    direct: HttpConnector,
    route: Route,
}

impl Connector {
    pub(super) fn new(route: Route) -> Self {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_connect_timeout(Some(CONNECT_TIMEOUT));
        direct.set_nodelay(true);
        Self { direct, route }
    }

    async fn open(mut self, uri: Uri) -> io::Result<TokioIo<Opened>> {
        let proxy = self.route.proxy_for(&uri).cloned();
        let first = match &proxy {
            Some(proxy) => proxy.uri()?,
            None => uri.clone(),
        };
        poll_fn(|cx| self.direct.poll_ready(cx)).await.map_err(io::Error::other)?;
        let stream = self.direct.call(first).await.map_err(io::Error::other)?.into_inner();
        let mut opened = Opened { io: Io::Tcp(stream), is_read_by_proxy: false };
        if let Some(proxy) = proxy {
            let (host, port) = end(&uri).ok_or(io::ErrorKind::InvalidInput)?;
            let in_the_clear = !is_https(&uri);
            opened.io = proxy.open(opened.io, host, port, in_the_clear).await?;
            opened.is_read_by_proxy = in_the_clear && proxy.reads_requests();
        }
        Ok(TokioIo::new(opened))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Opened>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().open(uri))
    }
}

/// A connection, and whether a proxy reads what is sent on it.
#[derive(Debug)]
pub(super) struct Opened {
    io: Io,
    is_read_by_proxy: bool,
}

#[derive(Debug)]
enum Io {
    Tcp(TcpStream),
    /// TLS with a proxy.
    Tls(Box<TlsStream<Io>>),
}

impl From<Box<TlsStream<Self>>> for Io {
    fn from(stream: Box<TlsStream<Self>>) -> Self {
        Self::Tls(stream)
    }
}

impl Connection for Opened {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_read_by_proxy)
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Opened {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Opened {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
