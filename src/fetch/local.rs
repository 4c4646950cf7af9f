//! Asking a service of this machine at its Unix socket.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::{AGENT, ANSWER_BYTES_MAX, FetchError, chain};

/// Asks whoever listens at a socket for what is at `target`, a path with or without a query, under the name `host`.
///
/// # Errors
/// [`FetchError`]; an answer with a status of failure is none.
pub async fn get_local(
    socket: &Path,
    host: &'static str,
    target: &str,
    timeout: Duration,
) -> Result<Response<Bytes>, FetchError> {
    let uri: Uri = target.parse().map_err(|error| FetchError::Address(target.to_owned(), error))?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    request.headers_mut().insert(HOST, HeaderValue::from_static(host));
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let exchange = async {
        let at = |problem: String| FetchError::Exchange(format!("{}: {problem}", socket.display()));
        let stream = UnixStream::connect(socket).await.map_err(|error| at(error.to_string()))?;
        let failed = |error: hyper::Error| at(chain(&error));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // It ends with the set: one connection is for one exchange.
        let mut connected = JoinSet::new();
        connected.spawn(connection);
        let (parts, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| FetchError::Answer(chain(&*error)))?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(FetchError::Timeout(timeout)))
}
