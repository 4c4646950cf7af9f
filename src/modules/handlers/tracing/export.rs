//! Spans on their way to a collector: gathered on the control thread, and sent in batches.
//!
//! The queue is the process's, so that a reload loses none of it, and what waits at the end of the process is sent
//! before that. It has a bound: a collector that
//! does not keep up costs spans, and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio_rustls::TlsConnector;

use super::otlp;
use super::settings::Settings;
use super::span::{Span, Spans};
use crate::http::{PRODUCT, Provision, ProvisionError};
use crate::tls::ClientOptions;

/// So many spans wait to be sent; further ones are dropped.
const QUEUE_SPANS_MAX: usize = 2048;
/// So many are sent at once.
const BATCH_SPANS_MAX: usize = 512;
/// A batch must be sent and answered within this time.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer may have this many bytes; nobody reads it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The way from requests to the collector.
struct Queue {
    spans: Spans,
    /// For the configuration in force.
    waiting: Mutex<Waiting>,
}

/// What is to be sent.
struct Waiting {
    spans: mpsc::Receiver<Span>,
    /// What is being sent. It stays here until it has arrived, or can't: a reload may come between.
    batch: Vec<Span>,
}

static QUEUE: LazyLock<Queue> = LazyLock::new(|| {
    let (spans, waiting) = mpsc::channel(QUEUE_SPANS_MAX);
    Queue { spans, waiting: Mutex::new(Waiting { spans: waiting, batch: Vec::new() }) }
});

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Counts a span for which there was no place.
pub(super) fn dropped() {
    DROPPED.fetch_add(1, Ordering::Relaxed);
}

/// Why a batch did not arrive.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("connecting: {0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Exchange(#[from] hyper::Error),
    #[error("it took too long")]
    Timeout,
    #[error("the collector answers {0}")]
    Refused(StatusCode),
}

/// Where ended spans go, if anything is to be sent; with the work of sending them.
///
/// # Errors
/// The environment asks for what there isn't.
pub(super) fn provision(ctx: &mut Provision<'_>) -> Result<Option<Spans>, ProvisionError> {
    let variable = |name: &str| std::env::var_os(name).unwrap_or_default().to_string_lossy().into_owned();
    let Some(settings) = Settings::read(&variable)? else { return Ok(None) };
    let tls = match settings.endpoint.scheme_str() {
        Some("https") => {
            let config = ctx.tls()?.client_config(&ClientOptions::default());
            Some(config.map_err(|error| ProvisionError::invalid(error.to_string()))?)
        }
        _ => None,
    };
    let collector = Arc::new(Collector { settings, tls: tls.map(TlsConnector::from) });
    let last = collector.clone();
    ctx.run_at_the_end(async move {
        let mut waiting = QUEUE.waiting.lock().await;
        waiting.take_what_is_there();
        if !waiting.batch.is_empty() {
            last.send_batch(&mut waiting).await;
        }
    });
    ctx.run_in_background(async move {
        // Several handlers send by the same queue; one of them is enough.
        let mut waiting = QUEUE.waiting.lock().await;
        loop {
            collector.send_next(&mut waiting).await;
        }
    });
    Ok(Some(QUEUE.spans.clone()))
}

impl Waiting {
    /// Adds to the batch what can be had without waiting.
    fn take_what_is_there(&mut self) {
        while self.batch.len() < QUEUE_SPANS_MAX
            && let Ok(span) = self.spans.try_recv()
        {
            self.batch.push(span);
        }
    }
}

struct Collector {
    settings: Settings,
    tls: Option<TlsConnector>,
}

impl Collector {
    /// Gathers a batch and sends it.
    async fn send_next(&self, waiting: &mut Waiting) {
        let Waiting { spans, batch } = waiting;
        if batch.is_empty() && spans.recv_many(batch, BATCH_SPANS_MAX).await == 0 {
            // The sender is static, so this doesn't happen.
            return std::future::pending().await;
        }
        let gather = async {
            while batch.len() < BATCH_SPANS_MAX {
                let room = BATCH_SPANS_MAX - batch.len();
                spans.recv_many(batch, room).await;
            }
        };
        // It ends when the time is up, or the batch is full.
        _ = tokio::time::timeout(self.settings.gather, gather).await;
        self.send_batch(waiting).await;
    }

    async fn send_batch(&self, waiting: &mut Waiting) {
        let batch = &waiting.batch;
        let body = Bytes::from(otlp::request(&self.settings.resource, batch));
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.send(body)).await;
        let endpoint = &self.settings.endpoint;
        if let Err(error) = sent.unwrap_or(Err(SendError::Timeout)) {
            let spans = batch.len();
            tracing::error!(target: "tracing", %endpoint, spans, %error, "spans could not be sent");
        }
        waiting.batch.clear();
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(target: "tracing", %endpoint, dropped, "spans came faster than they could be sent");
        }
    }

    async fn send(&self, body: Bytes) -> Result<(), SendError> {
        let endpoint = &self.settings.endpoint;
        let host = endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = endpoint.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        match &self.tls {
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
                self.exchange(tls.connect(name, stream).await?, body).await
            }
            None => self.exchange(stream, body).await,
        }
    }

    async fn exchange<S>(&self, stream: S, body: Bytes) -> Result<(), SendError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let answer = sender.send_request(self.request(body)).await?;
            let status = answer.status();
            // What it says does not matter, but that it has said it does.
            _ = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            if status.is_success() { Ok(()) } else { Err(SendError::Refused(status)) }
        };
        tokio::select! {
            sent = exchange => sent,
            ended = connection => Err(ended.err().map_or(SendError::Timeout, SendError::Exchange)),
        }
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let endpoint = &self.settings.endpoint;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.path_and_query().cloned().map(Into::into).unwrap_or_default();
        let headers = request.headers_mut();
        for (name, value) in &self.settings.headers {
            headers.insert(name, value.clone());
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
        let host = endpoint.authority().map(|authority| authority.as_str()).unwrap_or_default();
        // After an `@` stands what the address is.
        let host = host.rsplit('@').next().unwrap_or_default();
        if let Ok(host) = HeaderValue::from_str(host) {
            headers.insert(HOST, host);
        }
        request
    }
}
