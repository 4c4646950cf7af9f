//! How long an upstream may think, and when the clock starts.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

const LIMIT: Duration = Duration::from_millis(60);

fn impatient(h2c: bool) -> Transport {
    Transport::new(TransportOptions {
        response_header_timeout: Some(LIMIT),
        h2c,
        ..TransportOptions::default()
    })
}

/// A body of one frame that comes only after several times the limit.
struct Slow {
    ready: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Slow {
    fn body() -> Body {
        Body::stream(Self { ready: Some(Box::pin(tokio::time::sleep(4 * LIMIT))) })
    }
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(ready) = &mut self.ready else { return Poll::Ready(None) };
        std::task::ready!(ready.as_mut().poll(cx));
        self.ready = None;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"late")))))
    }
}

/// An HTTP/2 upstream that reads whole requests, and answers only those with a body.
async fn h2_upstream() -> Dial {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            if body.is_empty() {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(http::Response::new(http_body_util::Full::new(body)))
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        // It ends with the test.
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    });
    Dial::Tcp { host: "127.0.0.1".into(), port }
}

/// Sends a request with a `Host`, which HTTP/2 needs for its target.
async fn ask(transport: &Transport, dial: &Dial, mut body: Body) -> Result<Response, UpstreamError> {
    let headers = HeaderMap::from_iter([(http::header::HOST, http::HeaderValue::from_static("test"))]);
    let method = if body.is_empty() { Method::GET } else { Method::POST };
    let request = Outgoing {
        method: &method,
        target: b"/",
        headers: &headers,
        omit: &[],
        extra: &[],
        upgrade: false,
        client: None,
    };
    transport.round_trip(dial, request, &mut body, &mut |_, _| {}).await
}

#[test]
fn an_upstream_that_says_nothing_is_given_up_in_time() {
    let upstream = Upstream::start(&[]);
    block_on(async {
        let h2 = h2_upstream().await;
        for (transport, dial) in [(impatient(false), &upstream.dial), (impatient(true), &h2)] {
            let error = ask(&transport, dial, Body::Empty).await.unwrap_err();
            assert!(matches!(error.kind, UpstreamErrorKind::HeadLate) && error.reached, "{error}");
        }
    });
}

#[test]
fn a_client_that_sends_slowly_is_not_the_upstreams_fault() {
    // It reads the head, which it takes note of, and then the body, which it answers.
    let upstream = Upstream::start(&[
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate",
    ]);
    block_on(async {
        let h2 = h2_upstream().await;
        for (transport, dial) in [(impatient(false), &upstream.dial), (impatient(true), &h2)] {
            let response = ask(&transport, dial, Slow::body()).await.unwrap();
            assert_eq!(text(response).await.unwrap(), "late");
        }
    });
}
