//! Spans on their way to a collector: gathered on the control thread, and sent in batches.
//!
//! The queue is the process's, so that a reload loses none of it, and what waits at the end of the process is sent
//! before that. It has a bound: a collector that
//! does not keep up costs spans, and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::sync::{Mutex, mpsc};

use super::otlp;
use super::settings::{Protocol, Settings};
use super::span::{Span, Spans};
use crate::fetch::{Client, FetchError, Trailers};
use crate::http::{PRODUCT, Provision, ProvisionError};
use crate::tls::ClientOptions;

/// So many spans wait to be sent; further ones are dropped.
const QUEUE_SPANS_MAX: usize = 2048;
/// So many are sent at once.
const BATCH_SPANS_MAX: usize = 512;
/// A batch must be sent and answered within this time.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

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
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the collector answers {0}")]
    Refused(StatusCode),
    #[error("the collector answers with status {0} of gRPC")]
    RefusedByGrpc(String),
}

/// Where ended spans go, if anything is to be sent; with the work of sending them.
///
/// # Errors
/// The environment asks for what there isn't.
pub(super) fn provision(ctx: &mut Provision<'_>) -> Result<Option<Spans>, ProvisionError> {
    let variable = |name: &str| std::env::var_os(name).unwrap_or_default().to_string_lossy().into_owned();
    let Some(settings) = Settings::read(&variable)? else { return Ok(None) };
    let tls = || {
        let config = ctx.tls()?.client_config(&ClientOptions::default());
        config.map_err(|error| ProvisionError::invalid(error.to_string()))
    };
    let address = settings.endpoint.to_string();
    let client = match settings.protocol {
        Protocol::Http => Client::to(&address, tls)?,
        Protocol::Grpc => Client::by_http_2(&address, tls)?,
    };
    let client = client.with_timeout(SEND_TIMEOUT);
    let collector = Arc::new(Collector { settings, client });
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
    client: Client,
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
        let endpoint = &self.settings.endpoint;
        if let Err(error) = self.send(body).await {
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
        // What it says does not matter, but that it has said it does.
        let answer = self.client.send(self.request(body)).await?;
        if !answer.status().is_success() {
            return Err(SendError::Refused(answer.status()));
        }
        match self.settings.protocol {
            Protocol::Http => Ok(()),
            Protocol::Grpc => grpc_status(&answer),
        }
    }

    fn request(&self, body: Bytes) -> Request<Bytes> {
        let (body, content_type) = match self.settings.protocol {
            Protocol::Http => (body, "application/x-protobuf"),
            Protocol::Grpc => (grpc_message(&body), "application/grpc"),
        };
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.settings.endpoint.clone();
        let headers = request.headers_mut();
        for (name, value) in &self.settings.headers {
            headers.insert(name, value.clone());
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.settings.protocol == Protocol::Grpc {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
        request
    }
}

/// A message as gRPC frames it: not compressed, and so many bytes long.
fn grpc_message(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}

/// How a call went, which stands behind the answer; in its head, if there is nothing else.
fn grpc_status(answer: &Response<Bytes>) -> Result<(), SendError> {
    const STATUS: &str = "grpc-status";
    let behind = answer.extensions().get::<Trailers>().and_then(|trailers| trailers.0.get(STATUS));
    match behind.or_else(|| answer.headers().get(STATUS)) {
        Some(status) if status == "0" => Ok(()),
        Some(status) => {
            Err(SendError::RefusedByGrpc(String::from_utf8_lossy(status.as_bytes()).into_owned()))
        }
        None => Err(SendError::RefusedByGrpc("unknown".into())),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;

    /// Sends a body by gRPC to a collector that answers with this status; what it got.
    fn sent(status: &'static str) -> (Result<(), SendError>, Request<Bytes>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            let (tell, mut told) = mpsc::channel(1);
            tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let tell = tell.clone();
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        tell.send(Request::from_parts(parts, body)).await.unwrap();
                        let trailers = http::HeaderMap::from_iter([(
                            http::HeaderName::from_static("grpc-status"),
                            HeaderValue::from_static(status),
                        )]);
                        let body = Full::new(Bytes::from_static(&[0; 5]));
                        Ok::<_, std::convert::Infallible>(Response::new(
                            body.with_trailers(std::future::ready(Some(Ok(trailers)))),
                        ))
                    }
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                server.serve_connection(TokioIo::new(stream), answer).await.unwrap();
            });
            let variable = |name: &str| match name {
                "OTEL_EXPORTER_OTLP_PROTOCOL" => "grpc".to_owned(),
                "OTEL_EXPORTER_OTLP_ENDPOINT" => address.clone(),
                "OTEL_EXPORTER_OTLP_HEADERS" => "x-key=k".to_owned(),
                _ => String::new(),
            };
            let settings = Settings::read(&variable).unwrap().unwrap();
            let client = Client::by_http_2(&address, || Err("nobody needs it")).unwrap();
            let outcome = Collector { settings, client }.send(Bytes::from_static(b"spans")).await;
            (outcome, told.recv().await.unwrap())
        })
    }

    #[test]
    fn grpc_frames_what_http_sends_bare() {
        let (outcome, request) = sent("0");
        outcome.unwrap();
        assert_eq!(request.uri().path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        assert_eq!((request.method(), &request.body()[..]), (&Method::POST, &b"\0\0\0\0\x05spans"[..]));
        let field = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(
            [field("content-type"), field("te"), field("x-key")],
            ["application/grpc", "trailers", "k"]
        );
        assert_eq!(sent("14").0.unwrap_err().to_string(), "the collector answers with status 14 of gRPC");
    }
}
