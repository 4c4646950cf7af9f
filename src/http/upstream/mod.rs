//! Connections to the servers behind us, and one request over one of them.

mod decode;
mod dial;
mod encode;
mod error;
pub mod fastcgi;
mod h1;
mod h2;
#[cfg(any(test, fuzzing))]
pub mod laws;
mod pool;
mod proxy_header;
mod socket;
#[cfg(test)]
mod tests;
mod timed;
mod upload;

use std::borrow::Cow;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::io::AsyncWrite as _;

pub use dial::{Dial, TlsDial, UpstreamIo};
pub(super) use encode::field as write_field;
pub use error::{UpstreamError, UpstreamErrorKind};
pub use h1::UpstreamBody;

pub use proxy_header::ProxyVersion;

use h1::{H1, Head, Patience, ReadHead};
use pool::{IdleLimits, PoolKey, PoolLook};
use upload::{BodyLength, Upload};

use super::{Body, Response, buffers};
use crate::dns::Resolver;
use crate::fetch::ForwardProxy;

/// A body that is longer than this is not copied behind its head.
const JOINED_BODY_BYTES_MAX: usize = 4 * 1024;
/// So many interim answers (1xx) may come before the real one.
const INTERIM_MAX: usize = 32;

/// How a transport connects and what it grants upstreams.
#[derive(Clone)]
pub struct TransportOptions {
    /// A connection must stand within this time.
    pub dial_timeout: Option<Duration>,
    /// Of a name with addresses of both families, the second family is tried after this time; only
    /// after the first has failed if there is none.
    pub fallback_delay: Option<Duration>,
    /// The TLS handshake must be done within this time.
    pub handshake_timeout: Duration,
    /// TCP probes a silent connection this often.
    pub probe_interval: Option<Duration>,
    /// The upstream must send something within this time whenever it is waited for.
    pub read_timeout: Option<Duration>,
    /// The upstream must take something within this time whenever something is sent.
    pub write_timeout: Option<Duration>,
    /// The answer's head must have come within this time after the request was sent.
    pub response_header_timeout: Option<Duration>,
    /// Whether connections are kept for further requests.
    pub keep_alive: bool,
    /// An idle connection is kept this long.
    pub idle_keep: Duration,
    /// So many idle connections are kept for each upstream and worker.
    pub idle_max: usize,
    /// Bytes that the head of an answer, with all interim answers before it, may take.
    pub head_bytes_max: usize,
    /// TLS, if the upstream speaks it.
    pub tls: Option<TlsDial>,
    /// Speak HTTP/2 without TLS (`h2c`).
    pub h2c: bool,
    /// The version of the PROXY protocol that tells upstreams of the client.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Our own address towards upstreams; the system chooses one unless given.
    pub local_address: Option<SocketAddr>,
    /// Who is asked for addresses; the system unless given.
    pub resolver: Option<Arc<Resolver>>,
    /// Whom connections go through.
    pub forward_proxy: Option<Arc<ForwardProxy>>,
}

impl TransportOptions {
    /// Whether requests go out as HTTP/1 without TLS, which a forward proxy can read itself.
    fn speaks_in_the_clear(&self) -> bool {
        self.tls.is_none() && !self.h2c
    }

    /// What a forward proxy is told in each request, if it is to read them.
    fn via_proxy(&self, dial: &Dial) -> Option<encode::ViaProxy<'_>> {
        let proxy = self.forward_proxy.as_ref().filter(|proxy| proxy.reads_requests())?;
        let is_for_it = self.speaks_in_the_clear() && matches!(dial, Dial::Tcp { .. });
        is_for_it
            .then(|| encode::ViaProxy { upstream: dial.to_string(), authorization: proxy.authorization() })
    }
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            dial_timeout: Some(Duration::from_secs(3)),
            fallback_delay: Some(Duration::from_millis(300)),
            handshake_timeout: Duration::from_secs(10),
            probe_interval: Some(Duration::from_secs(30)),
            read_timeout: None,
            write_timeout: None,
            response_header_timeout: None,
            keep_alive: true,
            idle_keep: Duration::from_secs(120),
            idle_max: 32,
            head_bytes_max: 256 * 1024,
            tls: None,
            h2c: false,
            proxy_protocol: None,
            local_address: None,
            resolver: None,
            forward_proxy: None,
        }
    }
}

/// How to reach upstreams over HTTP. Connections are pooled by transport, upstream and worker.
pub struct Transport {
    id: u64,
    options: TransportOptions,
    /// Idle connections go once this is gone, since nobody can use them any more.
    alive: Arc<()>,
}

/// A request as an upstream is to see it.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a [u8],
    /// Header fields; those that `omit` or `extra` name are left out, and so is the framing.
    pub headers: &'a HeaderMap,
    /// Names in `headers` that are not sent.
    pub omit: &'a [HeaderName],
    /// Fields that are sent in the place of any of the same name, `Host` among them.
    pub extra: &'a [(HeaderName, Cow<'a, [u8]>)],
    /// Whether the client asked for an upgrade that may be passed on; without it a 101 is an error.
    pub upgrade: bool,
    /// The client's address, for upstreams that are told of it before anything else.
    pub client: Option<IpAddr>,
}

impl<'a> Outgoing<'a> {
    /// Whether a field of this name in `headers` is not sent.
    pub fn omits(&self, name: &HeaderName) -> bool {
        self.omit.contains(name) || self.extra.iter().any(|(extra, _)| extra == name)
    }

    /// The values that a field is sent with.
    pub fn values<'n>(&self, name: &'n HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let below = (!self.omits(name)).then(|| self.headers.get_all(name));
        let below = below.into_iter().flatten().map(HeaderValue::as_bytes);
        let extra = self.extra.iter().filter(move |(extra, _)| extra == name).map(|(_, value)| &**value);
        below.chain(extra)
    }
}

/// What a 101 leaves: a connection to tunnel through, and what the upstream has already sent on it.
/// It is found among the answer's extensions, and can be taken once.
#[derive(Clone)]
pub struct Upgraded(std::sync::Arc<std::sync::Mutex<Option<(UpstreamIo, Bytes)>>>);

impl Upgraded {
    /// The connection, for the first who asks.
    pub fn take(&self) -> Option<(UpstreamIo, Bytes)> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

/// The words behind an answer's status, found among its extensions if they are not the usual ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(pub Bytes);

/// Told of every interim answer.
pub type OnInterim<'a> = &'a mut (dyn FnMut(StatusCode, HeaderMap) + Send);

impl Transport {
    /// A transport with pools of its own.
    pub fn new(options: TransportOptions) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), options, alive: Arc::default() }
    }

    /// The options that it was made with.
    pub fn options(&self) -> &TransportOptions {
        &self.options
    }

    /// Sends one request to `dial` and waits for the head of the answer; its body streams.
    ///
    /// A kept connection that turns out dead is replaced once, if that is safe. Dropping the future
    /// or the answer's body before its end closes the connection, which tells the upstream.
    ///
    /// `body` is taken only when the request is really sent: after an error with
    /// [`UpstreamError::reached`] unset it is still whole.
    ///
    /// # Errors
    /// See [`UpstreamErrorKind`].
    pub async fn round_trip(
        &self,
        dial: &Dial,
        request: Outgoing<'_>,
        body: &mut Body,
        on_interim: OnInterim<'_>,
    ) -> Result<Response, UpstreamError> {
        // What one client's connection was opened with is not said for another.
        let client = request.client.filter(|_| self.options.proxy_protocol.is_some());
        let look = PoolLook { transport: self.id, dial, client };
        if (self.options.h2c || self.options.tls.is_some())
            && let Some(session) = h2::session(&look)
        {
            return Box::pin(h2::round_trip(session, &self.options, request, body)).await;
        }
        if let Some(conn) = pool::take(&look) {
            let bodiless = body.is_empty();
            match self.over_h1(conn, request, body, &mut *on_interim).await {
                Err(error) if stale(&error, request.method, bodiless) => {}
                result => return result,
            }
        }
        // From here on it is dear anyway, and boxed so that the usual way stays small.
        Box::pin(self.on_new(dial, look.to_key(), client, request, body, on_interim)).await
    }

    /// The same on a new connection.
    async fn on_new(
        &self,
        dial: &Dial,
        key: PoolKey,
        client: Option<IpAddr>,
        request: Outgoing<'_>,
        body: &mut Body,
        on_interim: OnInterim<'_>,
    ) -> Result<Response, UpstreamError> {
        let io = dial::connect(dial, &self.options, client).await?;
        if self.options.h2c || io.is_h2() {
            let session = h2::connect(&key, io, &self.options, Arc::downgrade(&self.alive)).await?;
            return h2::round_trip(session, &self.options, request, body).await;
        }
        let idle_max = if self.options.keep_alive { self.options.idle_max } else { 0 };
        let idle =
            IdleLimits { most: idle_max, keep: self.options.idle_keep, alive: Arc::downgrade(&self.alive) };
        let conn = Box::new(H1::new(io, key, idle));
        self.over_h1(conn, request, body, on_interim).await
    }

    async fn over_h1(
        &self,
        mut conn: Box<H1>,
        request: Outgoing<'_>,
        body: &mut Body,
        on_interim: OnInterim<'_>,
    ) -> Result<Response, UpstreamError> {
        let length = BodyLength::of(body);
        let mut head = buffers::take();
        let via_proxy = self.options.via_proxy(&conn.key.dial);
        encode::head(&mut head, &request, length, via_proxy.as_ref());
        // A short body that is there goes with the head.
        let whole = body.take_whole(JOINED_BODY_BYTES_MAX);
        head.extend_from_slice(whole.as_deref().unwrap_or_default());
        let is_all = length == BodyLength::None || whole.is_some();
        let sent = if is_all { send_now(&mut conn, &head).await } else { Ok(0) };
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => {
                // Nothing was sent, so whoever tries again has the whole body.
                if let Some(whole) = whole {
                    *body = Body::from(whole);
                }
                return Err(error);
            }
        };
        if sent < head.len() {
            let rest = Bytes::copy_from_slice(&head[sent..]);
            let length = if is_all { BodyLength::None } else { length };
            conn.upload = Some(Box::new(Upload::new(rest, sent > 0, std::mem::take(body), length)));
        }
        buffers::give_back(head);
        let head = self.answer(&mut conn, &request, on_interim).await.map_err(UpstreamError::sent)?;
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = head.headers;
        if let Some(reason) = head.reason {
            response.extensions_mut().insert(reason);
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = Upgraded(std::sync::Arc::new(std::sync::Mutex::new(Some(conn.into_upgraded()))));
            response.extensions_mut().insert(upgraded);
        } else {
            *response.body_mut() = conn.into_body();
        }
        Ok(response)
    }

    /// The head of the real answer, interim ones told of and passed over.
    async fn answer(
        &self,
        conn: &mut H1,
        request: &Outgoing<'_>,
        on_interim: OnInterim<'_>,
    ) -> Result<Head, UpstreamErrorKind> {
        let mut head_bytes_left = self.options.head_bytes_max;
        let mut patience = self.options.response_header_timeout.map(Patience::new);
        for _ in 0..INTERIM_MAX {
            let head = ReadHead {
                conn,
                head_bytes_left: &mut head_bytes_left,
                looked_at: 0,
                patience: &mut patience,
            };
            let head = head.await?;
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS if conn.upload.is_some() => {
                    return Err(UpstreamErrorKind::BadAnswer("101 in the middle of the request"));
                }
                StatusCode::SWITCHING_PROTOCOLS if request.upgrade => return Ok(head),
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(UpstreamErrorKind::BadAnswer("101 that nobody asked for"));
                }
                status if status.is_informational() => on_interim(status, head.headers),
                _ => {
                    conn.begin_body(request.method, &head)?;
                    return Ok(head);
                }
            }
        }
        Err(UpstreamErrorKind::BadAnswer("too many interim answers"))
    }
}

/// Closes idle connections that are too old, were closed from the other side, or that nobody can use any
/// more; to be called every second or so.
pub(crate) fn sweep() {
    pool::sweep();
    h2::sweep();
}

/// Writes as much of the head as the socket takes at once. Returns how much that was.
async fn send_now(conn: &mut H1, head: &[u8]) -> Result<usize, UpstreamError> {
    let sent = poll_fn(|cx| match Pin::new(conn.io()).poll_write(cx, head) {
        // A socket that takes nothing now gets the head with the body.
        Poll::Pending => Poll::Ready(Ok(0)),
        done => done,
    });
    let sent = sent.await.map_err(UpstreamError::unsent)?;
    if sent == head.len() && !conn.io().is_write_vectored() {
        poll_fn(|cx| Pin::new(conn.io()).poll_flush(cx)).await.map_err(UpstreamError::sent)?;
    }
    Ok(sent)
}

/// Whether a kept connection had died, so that a new one may take the request over: either nothing
/// was sent on it, or a second time does no harm (RFC 9110 section 9.2.2).
fn stale(error: &UpstreamError, method: &Method, bodiless: bool) -> bool {
    let dead = matches!(error.kind, UpstreamErrorKind::Closed | UpstreamErrorKind::Io(_));
    let idempotent = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    dead && (!error.reached || (idempotent && bodiless))
}
