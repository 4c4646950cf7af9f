//! Going through a forward proxy: HTTP, HTTP over TLS, or SOCKS 5.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A tunnel must stand within this time.
const TUNNEL_TIMEOUT: Duration = Duration::from_secs(60);
/// The head of a proxy's answer to CONNECT may be so long.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A connection that may turn out to be one over TLS.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + From<Box<TlsStream<Self>>> {}

impl<S: AsyncRead + AsyncWrite + Unpin + From<Box<TlsStream<S>>>> Wire for S {}

/// A forward proxy.
pub struct ForwardProxy {
    kind: Kind,
    host: String,
    port: u16,
    /// A name and a password.
    credentials: Option<(Vec<u8>, Vec<u8>)>,
    /// The same as a header field's value.
    authorization: Option<Vec<u8>>,
}

impl std::fmt::Debug for ForwardProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ForwardProxy({}:{})", self.host, self.port)
    }
}

enum Kind {
    Http,
    Https(Arc<rustls::ClientConfig>),
    Socks5,
}

impl ForwardProxy {
    /// The proxy at a URL. `tls` gives what HTTP over TLS needs, if that is asked for.
    ///
    /// # Errors
    /// What is wrong with the URL, without its password.
    pub fn parse<E: ToString>(
        url: &str,
        tls: impl FnOnce() -> Result<Arc<rustls::ClientConfig>, E>,
    ) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("the proxy's URL has no scheme")?;
        let (kind, usual_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https(tls().map_err(|error| error.to_string())?), 443),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            scheme => return Err(format!("the scheme {scheme} is none of a proxy's")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let host: http::uri::Authority =
            host.parse().map_err(|error| format!("the proxy's URL has no proper host: {error}"))?;
        let name = host.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if name.is_empty() {
            return Err("supplied network_proxy URL is missing a host value".into());
        }
        let credentials = user
            .map(|user| {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                Ok::<_, String>((unescape(name)?, unescape(password)?))
            })
            .transpose()?;
        if credentials.as_ref().is_some_and(|(name, password)| name.len() > 255 || password.len() > 255) {
            return Err("the proxy's name or password is too long".into());
        }
        let authorization = credentials.as_ref().map(|(name, password)| {
            format!("Basic {}", STANDARD.encode([name, &b":"[..], password].concat())).into_bytes()
        });
        Ok(Self { kind, port: host.port_u16().unwrap_or(usual_port), host: name, credentials, authorization })
    }

    /// Where it is.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its own address, for whoever connects by one.
    pub(super) fn uri(&self) -> io::Result<http::Uri> {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("http://{host}:{}", self.port).parse().map_err(io::Error::other)
    }

    /// Whether it reads requests that it is sent in the clear, instead of opening a tunnel for them.
    pub fn reads_requests(&self) -> bool {
        !matches!(self.kind, Kind::Socks5)
    }

    /// What says to it who we are.
    pub fn authorization(&self) -> Option<&[u8]> {
        self.authorization.as_deref()
    }

    /// Makes a connection to the proxy one to `host`, or one on which it reads requests if these go
    /// out `in_the_clear`.
    ///
    /// # Errors
    /// The proxy can't be spoken with, can't connect, or does not answer.
    pub async fn open<S: Wire>(&self, io: S, host: &str, port: u16, in_the_clear: bool) -> io::Result<S> {
        let opening = async {
            let mut io = match &self.kind {
                Kind::Https(config) => self.over_tls(io, config).await?,
                Kind::Http | Kind::Socks5 => io,
            };
            match self.kind {
                Kind::Socks5 => self.socks(&mut io, host, port).await?,
                _ if in_the_clear => {}
                _ => self.connect(&mut io, host, port).await?,
            }
            Ok(io)
        };
        tokio::time::timeout(TUNNEL_TIMEOUT, opening)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the proxy does not answer")))
    }

    async fn over_tls<S: Wire>(&self, io: S, config: &Arc<rustls::ClientConfig>) -> io::Result<S> {
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, io).await?;
        Ok(Box::new(stream).into())
    }

    /// Has it open a tunnel (RFC 9110 section 9.3.6).
    async fn connect<S: Wire>(&self, io: &mut S, host: &str, port: u16) -> io::Result<()> {
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            head.extend_from_slice(b"Proxy-Authorization: ");
            head.extend_from_slice(authorization);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        io.write_all(&head).await?;
        io.flush().await?;
        let mut answer = Vec::new();
        // Byte by byte, so that nothing of the tunnel is read.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= HEAD_BYTES_MAX {
                return Err(malformed("the proxy's answer is too long"));
            }
            answer.push(io.read_u8().await?);
        }
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut fields);
        match parsed.parse(&answer).ok().filter(httparse::Status::is_complete).and(parsed.code) {
            Some(200..=299) => Ok(()),
            Some(code) => Err(io::Error::other(format!("the proxy answers CONNECT with {code}"))),
            None => Err(malformed("the proxy's answer is malformed")),
        }
    }

    /// Has it open a tunnel (RFC 1928, RFC 1929). The proxy looks the name up.
    async fn socks<S: Wire>(&self, io: &mut S, host: &str, port: u16) -> io::Result<()> {
        let methods: &[u8] = if self.credentials.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
        io.write_all(methods).await?;
        let mut choice = [0; 2];
        io.read_exact(&mut choice).await?;
        match (choice, &self.credentials) {
            ([5, 0], _) => {}
            ([5, 2], Some((name, password))) => {
                let mut login = vec![1];
                for text in [name, password] {
                    // Their lengths were checked when they were read.
                    login.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                    login.extend_from_slice(text);
                }
                io.write_all(&login).await?;
                let mut outcome = [0; 2];
                io.read_exact(&mut outcome).await?;
                if outcome[1] != 0 {
                    return Err(io::Error::other("the proxy refuses the password"));
                }
            }
            _ => return Err(io::Error::other("the proxy takes no way to log in that there is")),
        }
        let mut request = vec![5, 1, 0];
        match host.parse() {
            Ok(std::net::IpAddr::V4(ip)) => {
                request.push(1);
                request.extend_from_slice(&ip.octets());
            }
            Ok(std::net::IpAddr::V6(ip)) => {
                request.push(4);
                request.extend_from_slice(&ip.octets());
            }
            Err(_) => {
                request.push(3);
                request.push(u8::try_from(host.len()).map_err(io::Error::other)?);
                request.extend_from_slice(host.as_bytes());
            }
        }
        request.extend_from_slice(&port.to_be_bytes());
        io.write_all(&request).await?;
        let mut answer = [0; 4];
        io.read_exact(&mut answer).await?;
        let [5, 0, _, kind] = answer else {
            return Err(io::Error::other(format!("the proxy can't connect (code {})", answer[1])));
        };
        let address_bytes = match kind {
            1 => 4,
            4 => 16,
            3 => usize::from(io.read_u8().await?),
            _ => return Err(malformed("the proxy's answer is malformed")),
        };
        io.read_exact(&mut vec![0; address_bytes + 2]).await?;
        Ok(())
    }
}

/// A part of a URL without its escapes.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut escapes = text.split('%').skip(1).map(str::as_bytes);
    let is_escape =
        |after: &[u8]| after.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if !escapes.all(is_escape) {
        return Err("the proxy's name or password has an invalid escape".into());
    }
    Ok(percent_encoding::percent_decode_str(text).collect())
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<ForwardProxy, String> {
        ForwardProxy::parse(url, || Err("no TLS here"))
    }

    #[test]
    fn urls_of_proxies_are_read() {
        let proxy = parse("http://user:p%40ss@proxy.test:3128/ignored").unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("proxy.test", 3128));
        assert_eq!(proxy.authorization().unwrap(), b"Basic dXNlcjpwQHNz");
        let proxy = parse("SOCKS5://[::1]").unwrap();
        assert_eq!((proxy.host(), proxy.port(), proxy.reads_requests()), ("::1", 1080, false));
        for (url, says) in [
            ("proxy.test:3128", "no scheme"),
            ("ftp://proxy.test", "scheme ftp"),
            ("http://:80", "missing a host"),
            ("http://", "host"),
            ("https://proxy.test", "no TLS here"),
            ("http://u:%zz@proxy.test", "escape"),
        ] {
            let error = parse(url).err().unwrap();
            assert!(error.contains(says), "{url}: {error}");
        }
    }
}
