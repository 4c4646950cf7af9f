//! HTTP/2 towards upstreams, by hyper's client: one session for each upstream and worker.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Uri};
use http_body::{Frame, SizeHint};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::oneshot;

use super::dial::UpstreamIo;
use super::error::{UpstreamError, UpstreamErrorKind};
use super::pool::{PoolKey, PoolLook};
use super::{Body, Outgoing, Response, TransportOptions};
use crate::http::BodyError;

thread_local! {
    /// Sessions that stand. One carries many requests, so there is at most one for each key.
    static SESSIONS: RefCell<HashMap<PoolKey, Session, RandomState>> = RefCell::default();
}

/// A session, which is kept as long as its transport is there.
struct Session {
    sender: SendRequest<Body>,
    alive: Weak<()>,
}

/// Lets go of sessions that have ended or that nobody can use any more. They end after their present requests.
pub(super) fn sweep() {
    SESSIONS.with_borrow_mut(|sessions| {
        sessions.retain(|_, session| !session.sender.is_closed() && session.alive.strong_count() > 0);
    });
}

/// A session that is still open.
pub(super) fn session(look: &PoolLook<'_>) -> Option<SendRequest<Body>> {
    SESSIONS.with_borrow(|sessions| {
        let open = sessions.get(look).filter(|session| !session.sender.is_closed());
        open.map(|session| session.sender.clone())
    })
}

/// Opens a session on `io` and keeps it for others.
pub(super) async fn connect(
    key: &PoolKey,
    io: UpstreamIo,
    options: &TransportOptions,
    alive: Weak<()>,
) -> Result<SendRequest<Body>, UpstreamError> {
    let shaking = handshake(TokioExecutor::new(), TokioIo::new(io));
    let limit = options.dial_timeout.unwrap_or(std::time::Duration::from_secs(30));
    let (session, connection) = tokio::time::timeout(limit, shaking)
        .await
        .map_err(|_| UpstreamError::unsent(UpstreamErrorKind::Timeout("HTTP/2 handshake")))?
        .map_err(|error| UpstreamError::unsent(UpstreamErrorKind::Http2(error.to_string())))?;
    // The task ends with the connection, or once no sender is left.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "HTTP/2 upstream session ended");
        }
    });
    if options.keep_alive {
        let kept = Session { sender: session.clone(), alive };
        SESSIONS.with_borrow_mut(|sessions| sessions.insert(key.clone(), kept));
    }
    Ok(session)
}

/// One request over a session.
pub(super) async fn round_trip(
    mut session: SendRequest<Body>,
    options: &TransportOptions,
    request: Outgoing<'_>,
    body: &mut Body,
) -> Result<Response, UpstreamError> {
    let failed = |error: hyper::Error| UpstreamErrorKind::Http2(error.to_string());
    session.ready().await.map_err(|error| UpstreamError::unsent(failed(error)))?;
    let sent = options.response_header_timeout.map(|limit| (limit, watch_end(body)));
    let request = assemble(&request, options.tls.is_some(), body)
        .map_err(|error| UpstreamError::unsent(UpstreamErrorKind::Http2(error.to_string())))?;
    let answer = session.send_request(request);
    let answer = match sent {
        None => answer.await,
        Some((limit, sent)) => tokio::select! {
            answer = answer => answer,
            () = async {
                sent.await;
                tokio::time::sleep(limit).await;
            } => return Err(UpstreamError::sent(UpstreamErrorKind::HeadLate)),
        },
    };
    let answer = answer.map_err(|error| UpstreamError::sent(failed(error)))?;
    Ok(answer.map(Body::Incoming))
}

/// Ready once `body` was sent, which is when the session lets go of it.
fn watch_end(body: &mut Body) -> impl Future<Output = ()> + use<> {
    let watched = (!body.is_empty()).then(|| {
        let (alive, gone) = oneshot::channel::<Infallible>();
        let inner = std::mem::take(body);
        *body = Body::stream(Watched { inner, _alive: alive });
        gone
    });
    async move {
        if let Some(gone) = watched {
            // Nothing is ever sent, so this ends when the sender is dropped.
            let _ = gone.await;
        }
    }
}

/// A body whose end can be waited for.
struct Watched {
    inner: Body,
    _alive: oneshot::Sender<Infallible>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The request in HTTP/2's terms: `Host` becomes `:authority`, framing fields vanish.
fn assemble(request: &Outgoing<'_>, tls: bool, body: &mut Body) -> Result<http::Request<Body>, http::Error> {
    let mut headers = HeaderMap::with_capacity(request.headers.len() + request.extra.len());
    for (name, value) in request.headers {
        if name != TRANSFER_ENCODING && !request.omits(name) {
            headers.append(name, value.clone());
        }
    }
    for (name, value) in request.extra {
        headers.append(name, HeaderValue::from_bytes(value)?);
    }
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(PathAndQuery::try_from(request.target)?);
    if let Some(host) = headers.remove(HOST) {
        uri.authority = Some(Authority::try_from(host.as_bytes())?);
        uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    }
    let mut assembled = http::Request::new(std::mem::take(body));
    *assembled.method_mut() = request.method.clone();
    *assembled.uri_mut() = Uri::from_parts(uri)?;
    *assembled.version_mut() = http::Version::HTTP_2;
    *assembled.headers_mut() = headers;
    Ok(assembled)
}
