//! Requests to the admin endpoint of a running instance.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Failure;
use crate::app::admin;
use crate::config::{Admin, NetworkAddress};

/// How long connecting may take; the endpoint is mostly on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer may have this many bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where the admin endpoint is: where `flag` says, else the configuration, else the default.
pub(super) fn address(flag: Option<&str>, config: &Value) -> Result<NetworkAddress, Failure> {
    let said = flag.filter(|flag| !flag.is_empty());
    let said = said.or_else(|| config.get("admin")?.get("listen")?.as_str()).unwrap_or_default();
    Ok(admin::address(&Admin { listen: said.to_owned(), ..Admin::default() })?)
}

/// A request to be sent.
pub(super) struct Request {
    request: http::Request<Full<Bytes>>,
    path: http::uri::PathAndQuery,
}

impl Request {
    /// A request without a body.
    pub(super) fn new(method: Method, path: &'static str) -> Self {
        Self::to(method, http::uri::PathAndQuery::from_static(path))
    }

    /// The same with a path that is not known beforehand.
    pub(super) fn to(method: Method, path: http::uri::PathAndQuery) -> Self {
        let mut request = http::Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = path.clone().into();
        Self { request, path }
    }

    /// With a body.
    pub(super) fn json(mut self, body: &Value) -> Self {
        *self.request.body_mut() = Full::from(body.to_string());
        self.request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self
    }

    /// With a field; a value that no field can hold is left out.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Sends it, and returns the body of the answer.
    ///
    /// An instance that stops or loads may take its time, so there is no deadline for the answer.
    pub(super) fn send(self, address: &NetworkAddress) -> Result<Bytes, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::io("starting the runtime", error))?;
        let doing = format!("{} {} at {address}", self.request.method(), self.path);
        let (status, body) = runtime
            .block_on(self.exchange(address))
            .map_err(|source| Failure::Admin { doing: doing.clone(), source })?;
        if status.is_client_error() || status.is_server_error() {
            return Err(Failure::other(format!("{doing}: HTTP {}: {}", status.as_u16(), error_of(&body))));
        }
        Ok(body)
    }

    async fn exchange(mut self, address: &NetworkAddress) -> Result<(StatusCode, Bytes), AdminError> {
        // On a Unix socket the host doesn't matter, but there has to be one.
        let host = if address.is_unix() { "127.0.0.1".to_owned() } else { address.join_host_port() };
        let headers = self.request.headers_mut();
        if !address.is_unix() {
            headers.insert(ORIGIN, HeaderValue::try_from(format!("http://{host}"))?);
        }
        headers.insert(HOST, HeaderValue::try_from(host)?);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect(address)).await;
        let stream =
            TokioIo::new(stream.map_err(|_| AdminError::ConnectTimeout)?.map_err(AdminError::Connect)?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(self.request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(AdminError::Body)?.to_bytes();
        connection.abort();
        Ok((status, body))
    }
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// Nobody is there.
    #[error("connecting: {0}")]
    Connect(std::io::Error),
    /// Nobody answers there.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// The address can't stand in a header field.
    #[error("the address can't be a Host: {0}")]
    Host(#[from] http::header::InvalidHeaderValue),
    /// The exchange broke off.
    #[error(transparent)]
    Exchange(#[from] hyper::Error),
    /// The answer broke off, or is too long.
    #[error("reading the answer: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(address: &NetworkAddress) -> std::io::Result<Box<dyn Stream>> {
    if address.is_unix() {
        let (path, _) = address.unix_path().map_err(std::io::Error::other)?;
        return Ok(Box::new(UnixStream::connect(path).await?));
    }
    // An endpoint on every interface is on this machine's own address too.
    let host = if address.host.is_empty() { "localhost" } else { address.host.as_str() };
    Ok(Box::new(TcpStream::connect((host, address.start_port)).await?))
}

/// The `error` of a refusal; its whole text if it has none.
fn error_of(body: &[u8]) -> String {
    let error = serde_json::from_slice::<Value>(body).ok();
    let error = error.as_ref().and_then(|body| body.get("error")?.as_str().map(str::to_owned));
    error.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_flag_comes_before_the_configuration() {
        let config = json!({"admin": {"listen": "127.0.0.1:2"}});
        assert_eq!(address(Some("127.0.0.1:1"), &config).unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(address(None, &config).unwrap().to_string(), "127.0.0.1:2");
        assert_eq!(address(Some(""), &config).unwrap().to_string(), "127.0.0.1:2");
        assert!(address(Some("127.0.0.1:1-2"), &config).is_err());
    }

    #[test]
    fn a_refusal_says_why() {
        assert_eq!(error_of(br#"{"error":"no such thing"}"#), "no such thing");
        assert_eq!(error_of(b"nonsense\n"), "nonsense");
    }
}
