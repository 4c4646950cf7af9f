//! HTTP/2 towards upstreams, by hyper's client: one session for each upstream and worker.

use std::cell::RefCell;
use std::collections::HashMap;

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Uri};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::dial::UpstreamIo;
use super::error::{UpstreamError, UpstreamErrorKind};
use super::pool::PoolKey;
use super::{Body, Outgoing, Response, TransportOptions};

thread_local! {
    /// Sessions that stand. One carries many requests, so there is at most one for each key.
    static SESSIONS: RefCell<HashMap<PoolKey, SendRequest<Body>>> = RefCell::new(HashMap::new());
}

/// A session that is still open.
pub(super) fn session(key: &PoolKey) -> Option<SendRequest<Body>> {
    SESSIONS.with_borrow_mut(|sessions| {
        sessions.retain(|_, session| !session.is_closed());
        sessions.get(key).cloned()
    })
}

/// Opens a session on `io` and keeps it for others.
pub(super) async fn connect(
    key: &PoolKey,
    io: UpstreamIo,
    options: &TransportOptions,
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
        SESSIONS.with_borrow_mut(|sessions| sessions.insert(key.clone(), session.clone()));
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
    let request = assemble(&request, options.tls.is_some(), body)
        .map_err(|error| UpstreamError::unsent(UpstreamErrorKind::Http2(error.to_string())))?;
    let answer = session.send_request(request);
    let answer = match options.response_header_timeout {
        None => answer.await,
        Some(limit) => tokio::time::timeout(limit, answer)
            .await
            .map_err(|_| UpstreamError::sent(UpstreamErrorKind::Timeout("waiting for the answer's head")))?,
    };
    let answer = answer.map_err(|error| UpstreamError::sent(failed(error)))?;
    Ok(answer.map(Body::Incoming))
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
