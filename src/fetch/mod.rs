//! What the gateway itself asks others by HTTP: certificate authorities, whoever says which names may
//! have certificates, the services of DNS providers.
//!
//! It is small on purpose: whole bodies of bounded size, a deadline for each exchange, and no
//! redirects, since none of those who are asked has a reason to send us elsewhere. What clients ask
//! goes another way (`http::upstream`).

mod connect;
mod environment;
mod forward_proxy;
mod local;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{PROXY_AUTHORIZATION, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

pub use connect::Proxies;
pub use forward_proxy::{ForwardProxy, Wire};
pub use local::get_local;

use connect::{Connector, Route};
use environment::Environment;

/// Connecting must be done within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// An exchange must be done within this time, unless said otherwise.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that is not used is kept for this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection with several exchanges is asked so often whether it still stands, and must say so in as long.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// So many of them to one host.
const IDLE_MAX: usize = 8;
/// An answer may have this many bytes, unless said otherwise.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// What we say we are.
pub const AGENT: &str = concat!("Tollgate/", env!("CARGO_PKG_VERSION"));

/// Asks by HTTP/1.1 or HTTP/2, with or without TLS, and keeps connections for a while.
#[derive(Clone, Debug)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<Connector>, Full<Bytes>>,
    route: Route,
    timeout: Duration,
    answer_bytes_max: usize,
}

/// What came behind an answer's body; among its extensions, if something came.
#[derive(Clone, Debug)]
pub struct Trailers(pub HeaderMap);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address makes no sense.
    #[error("{0}: {1}")]
    Address(String, http::uri::InvalidUri),
    /// Nobody is there, or the exchange broke off.
    #[error("{0}")]
    Exchange(String),
    /// The answer broke off, or is too long.
    #[error("reading the answer: {0}")]
    Answer(String),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl Client {
    /// A client that speaks TLS as `tls` says, whose ALPN protocols must be empty. It goes by the proxy that the
    /// environment names.
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self::by(Proxies::Environment, tls)
    }

    /// The same by other proxies.
    pub fn by(proxies: Proxies, tls: Arc<ClientConfig>) -> Self {
        Self::named(proxies, tls, None)
    }

    /// The same, where whoever is asked must show a certificate for `name` in place of the address's.
    pub fn named(proxies: Proxies, tls: Arc<ClientConfig>, name: Option<ServerName<'static>>) -> Self {
        Self::speaking(Route::new(proxies, &tls), tls, name, false)
    }

    /// The same; without TLS it speaks HTTP/2 only if it speaks nothing else.
    fn speaking(
        route: Route,
        tls: Arc<ClientConfig>,
        name: Option<ServerName<'static>>,
        only_http_2: bool,
    ) -> Self {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(ClientConfig::clone(&tls)).https_or_http();
        let connector = match name {
            Some(name) => connector.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => connector,
        };
        let connector = connector.enable_all_versions().wrap_connector(Connector::new(route.clone()));
        let inner = legacy::Client::builder(TokioExecutor::new())
            .http2_only(only_http_2)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(Some(KEEP_ALIVE))
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector);
        Self { inner, route, timeout: EXCHANGE_TIMEOUT, answer_bytes_max: ANSWER_BYTES_MAX }
    }

    /// A client for what is at one address. Without TLS there it needs to trust nobody, and `tls` is not asked whom,
    /// unless the environment names a proxy that is spoken with over TLS.
    ///
    /// # Errors
    /// That of `tls`.
    pub fn to<E>(address: &str, tls: impl FnOnce() -> Result<Arc<ClientConfig>, E>) -> Result<Self, E> {
        Self::in_environment(address, |name| std::env::var(name).ok(), tls)
    }

    /// The same where the environment says this.
    fn in_environment<E>(
        address: &str,
        variable: impl Fn(&str) -> Option<String>,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, E>,
    ) -> Result<Self, E> {
        let needs_nobody = is_plain(address) && !environment::needs_tls_in_the_clear(&variable);
        let tls = if needs_nobody { trusting_nobody() } else { tls()? };
        let route = Route::Environment(Arc::new(Environment::read(variable, &tls)));
        Ok(Self::speaking(route, tls, None, false))
    }

    /// The same for what speaks HTTP/2 alone, as gRPC does.
    ///
    /// # Errors
    /// That of `tls`.
    pub fn by_http_2<E>(
        address: &str,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, E>,
    ) -> Result<Self, E> {
        // A proxy that reads requests itself speaks HTTP/1.
        let (proxies, tls) = match is_plain(address) {
            true => (Proxies::Direct, trusting_nobody()),
            false => (Proxies::Environment, tls()?),
        };
        Ok(Self::speaking(Route::new(proxies, &tls), tls, None, true))
    }

    /// The same with another deadline for each exchange.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same with another bound for the bytes of an answer.
    pub fn with_answer_max(self, answer_bytes_max: usize) -> Self {
        Self { answer_bytes_max, ..self }
    }

    /// Asks for what is at an address.
    ///
    /// # Errors
    /// [`FetchError`]; an answer with a status of failure is none.
    pub async fn get(&self, address: &str) -> Result<Response<Bytes>, FetchError> {
        let address: Uri = address.parse().map_err(|error| FetchError::Address(address.to_owned(), error))?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = address;
        self.send(request).await
    }

    /// Sends a request and waits for the whole answer. Fields that it does not have yet are added.
    ///
    /// # Errors
    /// [`FetchError`]; an answer with a status of failure is none.
    pub async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        if request.uri().scheme() == Some(&Scheme::HTTP)
            && let Some(proxy) = self.route.proxy_for(request.uri()).filter(|proxy| proxy.reads_requests())
            && let Some(authorization) = proxy.authorization()
            && let Ok(mut value) = HeaderValue::from_bytes(authorization)
        {
            value.set_sensitive(true);
            request.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        let exchange = async {
            let answer = self.inner.request(request.map(Full::new)).await;
            let (mut parts, body) = answer.map_err(|error| FetchError::Exchange(chain(&error)))?.into_parts();
            let body = Limited::new(body, self.answer_bytes_max).collect().await;
            let body = body.map_err(|error| FetchError::Answer(chain(&*error)))?;
            if let Some(trailers) = body.trailers() {
                parts.extensions.insert(Trailers(trailers.clone()));
            }
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(FetchError::Timeout(self.timeout)))
    }
}

/// Whether no TLS is spoken at an address.
fn is_plain(address: &str) -> bool {
    address.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

/// How to speak TLS with nobody at all.
fn trusting_nobody() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("invariant: the provider has suites for its own versions");
    Arc::new(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// An error with its causes, since hyper's own say little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some repeat their cause.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn client() -> Client {
        Client::to("http://a.test", || -> Result<_, ()> { panic!("nobody needs it") }).unwrap()
    }

    #[test]
    fn whom_to_trust_is_asked_for_tls_alone() {
        for address in ["https://a.test", "HTTPS://a.test", "a.test"] {
            assert_eq!(Client::to(address, || Err("asked")).unwrap_err(), "asked", "{address}");
        }
        assert!(Client::to("HTTP://a.test", || Err("asked")).is_ok());
    }

    /// What the client gets from a server that answers like this.
    fn answered(client: &Client, answer: &'static [u8]) -> Result<Response<Bytes>, FetchError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}/a?b", listener.local_addr().unwrap());
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let length = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
                assert!(head.starts_with("get /a?b http/1.1\r\n"), "{head}");
                assert!(head.contains("user-agent: tollgate/"), "{head}");
                stream.write_all(answer).await.unwrap();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                answer = client.get(&address) => answer,
                () = serve => unreachable!("it never ends"),
            }
        })
    }

    #[test]
    fn a_whole_answer() {
        let answer =
            answered(&client(), b"HTTP/1.1 404 No\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi").unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (404, &b"hi"[..]));
        assert_eq!(answer.headers()["x-a"], "b");
    }

    /// What a proxy at `scheme` gets to read when `url` is asked for by it; it says first what `tunnel` says.
    fn read_by_proxy(scheme: &str, url: &str) -> (String, Result<Response<Bytes>, FetchError>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let proxy = format!("{scheme}://u:p@{}", listener.local_addr().unwrap());
            let proxy = ForwardProxy::parse(&proxy, || Err("no TLS here")).unwrap();
            let client = Client::by(Proxies::Fixed(Arc::new(proxy)), trusting_nobody());
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let length = stream.read(&mut head).await.unwrap();
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
                stream.write_all(answer).await.unwrap();
                String::from_utf8_lossy(&head[..length]).to_lowercase()
            };
            tokio::join!(serve, client.get(url))
        })
    }

    #[test]
    fn a_proxy_reads_what_is_in_the_clear_and_opens_tunnels() {
        let (head, answer) = read_by_proxy("http", "http://nowhere.test/a");
        assert_eq!(&answer.unwrap().body()[..], b"hi");
        assert!(head.starts_with("get http://nowhere.test/a http/1.1\r\n"), "{head}");
        assert!(head.contains("proxy-authorization: basic dtpw\r\n"), "{head}");
        // What follows in the tunnel is TLS, which the proxy does not speak.
        let (head, answer) = read_by_proxy("http", "https://nowhere.test/a");
        assert!(answer.is_err());
        assert!(head.starts_with("connect nowhere.test:443 http/1.1\r\n"), "{head}");
        assert!(head.contains("proxy-authorization: basic dtpw\r\n"), "{head}");
        let (greeting, answer) = read_by_proxy("socks5", "http://nowhere.test/a");
        assert!(answer.is_err());
        assert_eq!(greeting.as_bytes(), [5, 2, 0, 2]);
    }

    #[test]
    fn a_proxy_over_tls_is_trusted_for_what_is_asked_for_in_the_clear() {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let trusting = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let proxy = format!("https://{}", listener.local_addr().unwrap());
            let variable = |name: &str| (name == "HTTP_PROXY").then(|| proxy.clone());
            let client =
                Client::in_environment("http://nowhere.test", variable, || Ok::<_, ()>(Arc::new(trusting)));
            let client = client.unwrap();
            let serve = async {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
                let mut stream = acceptor.accept(stream).await.unwrap();
                let mut head = [0; 1024];
                let length = stream.read(&mut head).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
                stream.flush().await.unwrap();
                String::from_utf8_lossy(&head[..length]).to_lowercase()
            };
            let (head, answer) = tokio::join!(serve, client.get("http://nowhere.test/a"));
            assert!(head.starts_with("get http://nowhere.test/a http/1.1\r\n"), "{head}");
            assert_eq!(&answer.unwrap().body()[..], b"hi");
            // Nobody is to be trusted where there is no such proxy.
            let variable = |name: &str| (name == "http_proxy").then(|| "proxy.test".to_owned());
            assert!(Client::in_environment("http://a.test", variable, || Err("asked")).is_ok());
            let variable = |name: &str| (name == "http_proxy").then(|| "HTTPS://proxy.test".to_owned());
            assert_eq!(
                Client::in_environment("http://a.test", variable, || Err("asked")).err(),
                Some("asked")
            );
        });
    }

    #[test]
    fn answers_have_bounds() {
        let small = client().with_answer_max(4);
        let error = answered(&small, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap_err();
        assert!(matches!(error, FetchError::Answer(_)), "{error}");
        let hasty = client().with_timeout(Duration::from_millis(50));
        let error = answered(&hasty, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell").unwrap_err();
        assert!(matches!(error, FetchError::Timeout(_)), "{error}");
    }
}
