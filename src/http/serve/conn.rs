//! One connection from its first byte to its last: which protocol it speaks, and what answers its
//! requests.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::listener::{Bound, Rewind, Slot, Transport};
use super::streams::StreamClock;
use super::{h1, h2};
use crate::http::conn_info::TlsInfo;
use crate::http::reading::read_little;
use crate::http::{Body, BodyError, ConnInfo, Exchange, Interims, header_maps};
use crate::tls::challenges::ACME_TLS;
use crate::tls::{ConnectionPolicies, Selected};

/// A TLS handshake must be done within this time.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// hyper gathers this much of an answer over HTTP/2 at most before the client has to take some.
pub(super) const WRITE_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// What a listener with TLS says to a client without, as Go does.
const PLAIN_ON_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// The fatal alert `internal_error` (RFC 8446 section 6), for clients that no policy is for.
const NO_POLICY: &[u8] = &[21, 3, 3, 0, 2, 2, 80];
/// What Go takes for HTTP there; whatever else a client may begin with, it is left without an answer.
pub(super) const PLAIN_STARTS: [&[u8]; 5] = [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"];
/// How an HTTP/2 connection begins (RFC 9113 section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection that has just been accepted, to its end.
pub(super) async fn serve<T>(mut io: T, conn: ConnInfo, slot: Arc<Slot>)
where
    T: Transport + 'static,
{
    let bound = slot.bound();
    if !bound.server.wrappers().are_none() {
        return Box::pin(serve_wrapped(io, conn, slot, &bound)).await;
    }
    let Ok(first) = first_bytes(&mut io, bound.limits.head_timeout).await else { return };
    serve_from(io, first, conn, slot, &bound).await;
}

/// Serves a connection that listener wrappers look at before.
async fn serve_wrapped<T>(mut io: T, mut conn: ConnInfo, slot: Arc<Slot>, bound: &Bound)
where
    T: Transport + 'static,
{
    let (wrappers, limit) = (bound.server.wrappers(), bound.limits.head_timeout);
    let has_tls = bound.tls.is_some();
    let Ok(first) = wrappers.before_tls(&mut io, &mut conn, limit, has_tls).await else { return };
    if first.is_empty() {
        let Ok(bytes) = first_bytes(&mut io, limit).await else { return };
        return serve_from(io, bytes, conn, slot, bound).await;
    }
    serve_from(io, first.into(), conn, slot, bound).await;
}

/// Serves a connection that begins with these bytes.
async fn serve_from<T>(io: T, first: Bytes, conn: ConnInfo, slot: Arc<Slot>, bound: &Bound)
where
    T: Transport + 'static,
{
    if first.is_empty() {
        return;
    }
    let Some(tls) = &bound.tls else {
        if (bound.protocols.h2 || bound.protocols.h2c) && is_preface(&first) {
            return Box::pin(h2::serve(Rewind::new(io, first), conn, slot)).await;
        }
        if bound.protocols.h1 {
            h1::serve(io, first, conn, slot, false).await;
        }
        return;
    };
    // What only some connections need is boxed, so that plain ones stay small.
    Box::pin(serve_tls(io, first, conn, slot, tls)).await;
}

/// Serves a connection on a listener with TLS.
async fn serve_tls<T>(mut io: T, first: Bytes, mut conn: ConnInfo, slot: Arc<Slot>, tls: &ConnectionPolicies)
where
    T: Transport + 'static,
{
    if first[0] != TLS_HANDSHAKE {
        if PLAIN_STARTS.iter().any(|start| first.starts_with(start)) {
            let _ = tokio::time::timeout(HANDSHAKE_TIMEOUT, io.write_all(PLAIN_ON_TLS)).await;
        }
        return;
    }
    let ends = crate::tls::Ends { local: conn.local, peer: conn.peer };
    let Some(mut io) = handshake(Rewind::new(io, first), tls, ends).await else { return };
    let session = io.get_ref().1;
    let info = tls_info(session, session.server_name());
    if info.alpn.as_deref() == Some(ACME_TLS) {
        // The authority has seen what it wanted to see.
        return;
    }
    let speaks_h2 = info.alpn.as_deref() == Some(b"h2");
    conn.tls = Some(Arc::new(info));
    let bound = slot.bound();
    // A client that names no protocol means HTTP/1.
    if !speaks_h2 && !bound.protocols.h1 {
        return;
    }
    if bound.server.wrappers().are_behind_tls() {
        let limit = bound.limits.head_timeout;
        let looking = bound.server.wrappers().behind_tls(&mut io, &mut conn, limit);
        let Ok(first) = looking.await else { return };
        let io = Rewind::new(io, first.into());
        return if speaks_h2 {
            h2::serve(io, conn, slot).await
        } else {
            h1::serve(io, Bytes::new(), conn, slot, true).await
        };
    }
    if speaks_h2 {
        h2::serve(io, conn, slot).await;
    } else {
        h1::serve(io, Bytes::new(), conn, slot, true).await;
    }
}

/// The content type of a TLS handshake record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;

type TlsStream<T> = tokio_rustls::server::TlsStream<T>;

/// Shakes hands by the connection policy that the client's hello asks for.
async fn handshake<T>(io: T, policies: &ConnectionPolicies, ends: crate::tls::Ends) -> Option<TlsStream<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = tokio::time::Instant::now() + HANDSHAKE_TIMEOUT;
    let acceptor = tokio_rustls::LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io);
    let start = told(tokio::time::timeout_at(deadline, acceptor).await.ok()?)?;
    let selected = policies.select(&start.client_hello(), ends);
    let (config, deadline) = match selected {
        Selected::Ready(config) => (Some(config), deadline),
        Selected::Refused => (None, deadline),
        // The client can do nothing for it to be faster.
        Selected::Later(later) => (later.await, tokio::time::Instant::now() + HANDSHAKE_TIMEOUT),
    };
    let Some(config) = config else {
        tracing::debug!("no TLS connection policy for this client");
        let mut io = start.io;
        // The client learns of it sooner by the alert, but is refused without it too.
        let _ = tokio::time::timeout_at(deadline, io.write_all(NO_POLICY)).await;
        return None;
    };
    told(tokio::time::timeout_at(deadline, start.into_stream(config)).await.ok()?)
}

/// What a step of a handshake came to; why it failed is told.
fn told<S>(step: io::Result<S>) -> Option<S> {
    step.inspect_err(|error| tracing::debug!(%error, "TLS handshake failed")).ok()
}

/// What is known of a session with a client that asked for `server_name`.
pub(super) fn tls_info(session: &rustls::CommonState, server_name: Option<&str>) -> TlsInfo {
    TlsInfo {
        version: session.protocol_version(),
        cipher_suite: session.negotiated_cipher_suite().map(|suite| suite.suite()),
        alpn: session.alpn_protocol().map(<[u8]>::to_vec),
        server_name: server_name.map(str::to_ascii_lowercase),
        resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        client_certificates: session
            .peer_certificates()
            .map(|chain| chain.iter().map(|cert| cert.clone().into_owned()).collect())
            .unwrap_or_default(),
    }
}

/// Waits for the first bytes, which tell what the client speaks. Until they come the connection
/// costs no buffer.
async fn first_bytes<T: AsyncRead + Unpin>(io: &mut T, limit: Option<Duration>) -> io::Result<Bytes> {
    let early = poll_fn(|cx| Poll::Ready(read_little(io, cx))).await;
    if let Poll::Ready(bytes) = early {
        return bytes;
    }
    // Timers are dear, and the client has usually spoken by now; only who waits pays for one.
    let waiting = poll_fn(|cx| read_little(io, cx));
    match limit {
        Some(limit) => tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| Ok(Bytes::new())),
        None => waiting.await,
    }
}

fn is_preface(first: &[u8]) -> bool {
    first.len() >= 3 && first.starts_with(&H2_PREFACE[..first.len().min(H2_PREFACE.len())])
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the handler aborted the connection")]
pub(super) struct Aborted;

/// An answer whose body is still to be sent.
pub(super) struct Responded {
    pub(super) parts: http::response::Parts,
    pub(super) body: Body,
}

/// Answers a request, whichever version of HTTP it came by, with what is `bound` when it comes. Interim
/// answers go to `interims` if they are given.
pub(super) async fn respond(
    request: http::Request<Body>,
    conn: Arc<ConnInfo>,
    bound: &Bound,
    interims: Option<Arc<Interims>>,
) -> Result<Responded, Aborted> {
    let is_connect = *request.method() == Method::CONNECT;
    let mut x = Exchange::new(request, conn);
    x.interims = interims;
    let response = bound.server.serve(&mut x).await;
    if x.abort {
        return Err(Aborted);
    }
    if !x.body.is_empty()
        && x.version == http::Version::HTTP_11
        && !x.close_connection
        // Reading would ask the client for what nobody wanted.
        && !x.headers.contains_key(header::EXPECT)
    {
        skip_rest(&mut x.body).await;
    }
    let (mut parts, body) = response.into_parts();
    if x.close_connection && x.version < http::Version::HTTP_2 {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if is_connect && parts.status.is_success() {
        // Such an answer has no body (RFC 9110 section 9.3.6), and hyper refuses to send it with one.
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::TRANSFER_ENCODING);
    }
    header_maps::give_back(std::mem::take(&mut x.headers));
    header_maps::give_back(std::mem::take(&mut x.response_headers));
    Ok(Responded { parts, body })
}

/// The same for a request on a stream of its own (HTTP/2, HTTP/3), whose client `clock` watches.
pub(super) async fn respond_on_stream(
    request: http::Request<Body>,
    conn: Arc<ConnInfo>,
    bound: Arc<Bound>,
    clock: Arc<StreamClock>,
    interims: Option<Arc<Interims>>,
) -> Result<http::Response<Answer>, Aborted> {
    conn.wire.begin();
    // From here on `Answer` sees to it that the request counts as ended.
    let mut answer = Answer { body: Body::Empty, conn: conn.clone(), clock: clock.clone() };
    if let limit @ Some(_) = bound.limits.write_timeout {
        clock.limit_answer(limit);
    }
    let Responded { parts, body } = respond(request, conn, &bound, interims).await?;
    answer.body = body;
    Ok(http::Response::from_parts(parts, answer))
}

/// Reads the rest of a small body that nobody wanted, if it is there anyway: the connection can then
/// serve the next request. The answer does not wait for a client that is still sending.
async fn skip_rest(body: &mut Body) {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;
    const LOOKS_MAX: usize = 16;
    for _ in 0..LOOKS_MAX {
        match body.frame().now_or_never() {
            Some(Some(Ok(_))) => {}
            Some(_) => return,
            // What has just come the reactor tells of on its next turn.
            None => tokio::task::yield_now().await,
        }
    }
}

/// The body of an answer on a stream. While it lives its request is in flight.
pub(super) struct Answer {
    body: Body,
    conn: Arc<ConnInfo>,
    /// Watches whether the client takes it.
    clock: Arc<StreamClock>,
}

impl Answer {
    /// All of the body is on its way. The request stays in flight until this is dropped.
    pub(super) fn sent(&mut self) {
        self.body = Body::Empty;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.conn.wire.end();
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        // Who asks for more has sent what there was.
        this.clock.taken();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        this.clock.limit_taking();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
