//! One connection from its first byte to its last: which protocol it speaks, and hyper's service
//! for it.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::guard::Guard;
use super::h2;
use super::head::Refusal;
use super::listener::{Bound, Rewind, Slot, Transport};
use super::streams::{StreamClock, Upload};
use super::wire::Registered;
use crate::http::conn_info::TlsInfo;
use crate::http::{Body, BodyError, ConnInfo, Exchange};
use crate::tls::challenges::ACME_TLS;
use crate::tls::{ConnectionPolicies, Selected};

/// A TLS handshake must be done within this time.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// hyper gathers this much of an answer at most before the client has to take some.
pub(super) const WRITE_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// hyper has room for so many header fields, less what could be lines of anything else.
const FIELDS_USUAL_MAX: usize = 90;
/// A header field takes so many bytes at least: a letter, a colon and the line's end.
const FIELD_BYTES_MIN: usize = 4;
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
    let Ok(mut first) = wrappers.before_tls(&mut io, &mut conn, limit, has_tls).await else { return };
    if first.is_empty() {
        let Ok(bytes) = first_bytes(&mut io, limit).await else { return };
        first = bytes;
    }
    serve_from(io, first, conn, slot, bound).await;
}

/// Serves a connection that begins with these bytes.
async fn serve_from<T>(io: T, first: Vec<u8>, conn: ConnInfo, slot: Arc<Slot>, bound: &Bound)
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
            h1(io, first, conn, slot, false).await;
        }
        return;
    };
    // What only some connections need is boxed, so that plain ones stay small.
    Box::pin(serve_tls(io, first, conn, slot, tls)).await;
}

/// Serves a connection on a listener with TLS.
async fn serve_tls<T>(
    mut io: T,
    first: Vec<u8>,
    mut conn: ConnInfo,
    slot: Arc<Slot>,
    tls: &ConnectionPolicies,
) where
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
        let io = Rewind::new(io, first);
        return if speaks_h2 {
            h2::serve(io, conn, slot).await
        } else {
            h1(io, Vec::new(), conn, slot, true).await
        };
    }
    if speaks_h2 {
        h2::serve(io, conn, slot).await;
    } else {
        h1(io, Vec::new(), conn, slot, true).await;
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
/// costs neither a buffer nor hyper's state.
async fn first_bytes<T: AsyncRead + Unpin>(io: &mut T, limit: Option<Duration>) -> io::Result<Vec<u8>> {
    thread_local! {
        static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into());
    }
    let mut read = |cx: &mut Context<'_>| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            Pin::new(&mut *io).poll_read(cx, &mut buf).map_ok(|()| buf.filled().to_vec())
        })
    };
    let early = poll_fn(|cx| Poll::Ready(read(cx))).await;
    if let Poll::Ready(bytes) = early {
        return bytes;
    }
    // Timers are dear, and the client has usually spoken by now; only who waits pays for one.
    let waiting = poll_fn(read);
    match limit {
        Some(limit) => tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| Ok(Vec::new())),
        None => waiting.await,
    }
}

fn is_preface(first: &[u8]) -> bool {
    first.len() >= 3 && first.starts_with(&H2_PREFACE[..first.len().min(H2_PREFACE.len())])
}

/// HTTP/1: hyper behind a guard.
async fn h1<T>(io: T, first: Vec<u8>, conn: ConnInfo, slot: Arc<Slot>, must_shut: bool)
where
    T: Transport + 'static,
{
    let conn = Arc::new(conn);
    let limits = slot.bound().limits.clone();
    let registered = Registered::new(conn.clone(), slot.id());
    if slot.is_closed() {
        conn.wire.drain();
    }
    let head_bytes_max = limits.head_bytes_max;
    let many_fields = memchr::memchr_iter(b'\n', &first).count() > FIELDS_USUAL_MAX;
    let mut guard = Guard::new(io, conn.clone(), limits, must_shut);
    guard.prime(first);
    let service = {
        let conn = conn.clone();
        service_fn(move |request| answer(request, conn.clone(), slot.bound(), None))
    };
    let mut builder = hyper::server::conn::http1::Builder::new();
    if many_fields {
        // hyper's own room costs nothing; more of it is made only for who needs it.
        builder.max_headers(head_bytes_max / FIELD_BYTES_MIN);
    }
    let connection = builder
        .title_case_headers(true)
        .max_buf_size(WRITE_BUFFER_BYTES_MAX.max(head_bytes_max * 2))
        .serve_connection(TokioIo::new(guard), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut draining = false;
    let ended = poll_fn(|cx| {
        conn.wire.register(cx.waker());
        if conn.wire.is_draining() && !draining {
            draining = true;
            connection.as_mut().graceful_shutdown();
        }
        let ended = connection.as_mut().poll(cx);
        if ended.is_pending() && conn.wire.needs_watching() {
            return connection.as_mut().poll(cx);
        }
        ended
    });
    if let Err(error) = ended.await {
        tracing::trace!(%error, "connection ended");
    }
    drop(registered);
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the handler aborted the connection")]
pub(super) struct Aborted;

/// hyper's service: a request in, an answer out.
pub(super) fn answer(
    request: http::Request<Incoming>,
    conn: Arc<ConnInfo>,
    bound: Arc<Bound>,
    clock: Option<Arc<StreamClock>>,
) -> impl Future<Output = Result<http::Response<Answer>, Aborted>> {
    let request = request.map(|body| match &clock {
        _ if http_body::Body::is_end_stream(&body) => Body::Empty,
        Some(clock) => Body::stream(Upload::new(body, clock.clone())),
        None => Body::Incoming(body),
    });
    respond(request, conn, bound, clock)
}

/// Answers a request, whichever version of HTTP it came by, with what is `bound` when it comes.
pub(super) async fn respond(
    request: http::Request<Body>,
    conn: Arc<ConnInfo>,
    bound: Arc<Bound>,
    clock: Option<Arc<StreamClock>>,
) -> Result<http::Response<Answer>, Aborted> {
    let refusal = conn.wire.begin();
    // From here on `Answer` sees to it that the request counts as ended.
    let mut answer = Answer {
        body: Body::Empty,
        failure: None,
        takes_trailers: false,
        conn: conn.clone(),
        clock: clock.clone(),
    };
    if let Some(refusal) = refusal {
        return Ok(refused(refusal, answer));
    }
    if let limit @ Some(_) = bound.limits.write_timeout {
        match &clock {
            Some(clock) => clock.limit_answer(limit),
            None => conn.wire.limit_answer(limit),
        }
    }
    let is_connect = *request.method() == Method::CONNECT;
    let mut x = Exchange::new(request, conn);
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
    answer.body = body;
    answer.takes_trailers =
        x.version == http::Version::HTTP_11 && !parts.headers.contains_key(header::CONTENT_LENGTH);
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
            // hyper reads on when it is asked again.
            None => tokio::task::yield_now().await,
        }
    }
}

/// The answer to a request that was refused before it was one.
fn refused(refusal: Refusal, mut answer: Answer) -> http::Response<Answer> {
    let (status, text) = refusal.answer();
    answer.body = Body::from(text);
    let mut response = http::Response::new(answer);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A body on its way to the client. While it lives its request is in flight.
pub(super) struct Answer {
    body: Body,
    /// Why it broke off, until that is told.
    failure: Option<BodyError>,
    /// Whether it ends in a way that has room for trailers of ours: in chunks.
    takes_trailers: bool,
    conn: Arc<ConnInfo>,
    /// With HTTP/2 and HTTP/3: watches whether the client takes it.
    clock: Option<Arc<StreamClock>>,
}

impl Answer {
    /// All of the body is on its way. The request stays in flight until this is dropped.
    pub(super) fn sent(&mut self) {
        self.body = Body::Empty;
    }
}

/// The last chunk of an answer, with trailers. What would change how the message is read, or is too
/// much, is left out (RFC 9110 section 6.5.1).
fn trailer_section(trailers: &http::HeaderMap) -> Vec<u8> {
    const BYTES_MAX: usize = 16 * 1024;
    let framing = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TRAILER,
        header::CONNECTION,
        header::HOST,
        header::UPGRADE,
        header::TE,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
    ];
    let mut section = b"0\r\n".to_vec();
    for (name, value) in trailers.iter().filter(|(name, _)| !framing.contains(name)) {
        if section.len() + name.as_str().len() + value.len() < BYTES_MAX {
            crate::http::upstream::write_field(&mut section, name, value.as_bytes());
        }
    }
    section.extend_from_slice(b"\r\n");
    section
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
        if let Some(error) = this.failure.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(clock) = &this.clock {
            // Who asks for more has sent what there was.
            clock.taken();
        }
        match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            // hyper drops what it has not sent yet when a body breaks off. Told a moment later, it
            // has sent the head and all that came before.
            Some(Err(error)) => {
                this.failure = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Ok(frame)) if frame.is_trailers() && this.takes_trailers => {
                if let Ok(trailers) = frame.into_trailers() {
                    this.conn.wire.end_with_trailers(trailer_section(&trailers));
                }
                Poll::Ready(None)
            }
            frame => {
                if let Some(clock) = &this.clock {
                    clock.limit_taking();
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
