//! HTTP/2 clients that read nothing, send nothing, or leave.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::relay::{Upstream, time_to_end};
use super::*;

const SOON: Duration = Duration::from_millis(500);
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Nothing at all, or a little and then never any more.
enum Sent {
    Nothing,
    Little(Option<Bytes>),
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Nothing => Poll::Ready(None),
            Self::Little(bytes) => {
                bytes.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

type Task = tokio::task::JoinHandle<hyper::Result<http::Response<hyper::body::Incoming>>>;

/// A client's socket that it stops reading from when it is told to.
struct Deaf {
    io: tokio::net::TcpStream,
    deaf: Arc<AtomicBool>,
}

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.deaf.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A client whose connection lives on a thread of its own; dropping it closes the connection.
struct Client {
    events: tokio::runtime::Handle,
    _stop: tokio::sync::oneshot::Sender<()>,
    send: SendRequest<Sent>,
    deaf: Arc<AtomicBool>,
}

impl Client {
    fn connect(gate: &Gate, window: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let deaf = Arc::new(AtomicBool::new(false));
        let send = runtime.block_on(async {
            let io = tokio::net::TcpStream::connect(gate.address).await.unwrap();
            let (send, connection) = Builder::new(TokioExecutor::new())
                .initial_stream_window_size(window)
                .initial_connection_window_size(window.max(1 << 20))
                .handshake(TokioIo::new(Deaf { io, deaf: deaf.clone() }))
                .await
                .unwrap();
            tokio::spawn(connection);
            send
        });
        let events = runtime.handle().clone();
        let (_stop, stopped) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || runtime.block_on(stopped));
        Self { events, _stop, send, deaf }
    }

    /// Sends a request; its answer comes in the background.
    fn send(&mut self, request: http::request::Builder, body: Sent) -> Task {
        self.events.spawn(self.send.send_request(request.body(body).unwrap()))
    }

    fn get(&mut self, uri: &str) -> Task {
        self.send(http::Request::get(uri), Sent::Nothing)
    }

    /// A request whose body begins and does not go on.
    fn post(&mut self) -> Task {
        self.send(http::Request::post("http://h/post"), Sent::Little(Some(Bytes::from_static(b"hello"))))
    }

    fn wait<T: Send + 'static>(&self, task: tokio::task::JoinHandle<T>) -> T {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.events.spawn(async move { sender.send(task.await.unwrap()) });
        receiver.recv_timeout(PATIENCE).unwrap()
    }
}

fn with_timeout(upstream: &Upstream, name: &str) -> String {
    upstream.settings().replacen('{', &format!("{{\"{name}\":1000000000,"), 1)
}

/// Writes until the other side closes.
fn write_on(behind: &mut TcpStream) {
    behind.set_write_timeout(Some(PATIENCE)).unwrap();
    let chunk = [b"8000\r\n", &[b'x'; 0x8000][..], b"\r\n"].concat();
    loop {
        match behind.write_all(&chunk) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nobody closes"),
            Err(_) => return,
        }
    }
}

#[test]
fn a_stream_that_its_client_does_not_read_is_reset_and_the_others_go_on() {
    let upstream = Upstream::start();
    let gate = Gate::start(&with_timeout(&upstream, "write_idle_timeout"));
    let mut client = Client::connect(&gate, 65_535);
    let stuck = client.get("http://h/stuck");
    let mut behind = upstream.accept_head();
    behind.write_all(STREAM).unwrap();
    let _unread = client.wait(stuck).unwrap();
    let other = client.get("http://h/other");
    let mut other_behind = upstream.accept_head();
    write_on(&mut behind);
    other_behind.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    assert_eq!(client.wait(other).unwrap().status(), StatusCode::OK);
}

#[test]
fn a_connection_that_its_client_does_not_read_from_is_closed() {
    let upstream = Upstream::start();
    let gate = Gate::start(&with_timeout(&upstream, "write_idle_timeout"));
    let mut client = Client::connect(&gate, 1 << 30);
    let stuck = client.get("http://h/stuck");
    let mut behind = upstream.accept_head();
    behind.write_all(STREAM).unwrap();
    let _unread = client.wait(stuck).unwrap();
    client.deaf.store(true, Ordering::Relaxed);
    write_on(&mut behind);
}

#[test]
fn a_stream_whose_body_does_not_come_is_reset() {
    let upstream = Upstream::start();
    let gate = Gate::start(&with_timeout(&upstream, "read_idle_timeout"));
    let mut client = Client::connect(&gate, 65_535);
    let stuck = client.post();
    let mut behind = upstream.accept();
    assert!(time_to_end(&mut behind) < PATIENCE);
    assert!(client.wait(stuck).is_err());
}

#[test]
fn a_silent_but_healthy_stream_goes_on() {
    let upstream = Upstream::start();
    let mut settings = with_timeout(&upstream, "write_idle_timeout");
    settings = settings.replacen('{', "{\"read_idle_timeout\":1000000000,", 1);
    let gate = Gate::start(&settings);
    let mut client = Client::connect(&gate, 65_535);
    let quiet = client.get("http://h/quiet");
    let mut behind = upstream.accept_head();
    std::thread::sleep(Duration::from_millis(2500));
    behind.write_all(STREAM).unwrap();
    behind.write_all(b"3\r\none\r\n").unwrap();
    let answer = client.wait(quiet).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    behind.write_all(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
    let body = client.wait(client.events.spawn(answer.into_body().collect())).unwrap();
    assert_eq!(body.to_bytes(), "onetwo");
}

#[test]
fn a_connection_that_never_says_hello_is_closed() {
    let gate = Gate::start(r#"{"idle_timeout":1000000000}"#);
    let mut half = gate.connect();
    half.write_all(b"PRI * HT").unwrap();
    let mut silent = gate.connect();
    // Hello and empty settings, and then nothing.
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    assert!(time_to_end(&mut half) < PATIENCE);
    assert!(time_to_end(&mut silent) < PATIENCE);
}

#[test]
fn leaving_ends_the_upstream_request_in_every_phase() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    // The request alone is given up, or the whole connection.
    for reset in [true, false] {
        // Waiting for the head.
        let mut client = Client::connect(&gate, 65_535);
        let waiting = client.get("http://h/waiting");
        let mut behind = upstream.accept_head();
        waiting.abort();
        let kept = reset.then_some(client);
        assert!(time_to_end(&mut behind) < SOON);
        drop(kept);
        // In an upload.
        let mut client = Client::connect(&gate, 65_535);
        let uploading = client.post();
        let mut behind = upstream.accept();
        read_until(&mut behind, "hello\r\n");
        uploading.abort();
        let kept_too = reset.then_some(client);
        assert!(time_to_end(&mut behind) < SOON);
        drop(kept_too);
        // In the stream.
        let mut client = Client::connect(&gate, 65_535);
        let streaming = client.get("http://h/streaming");
        let mut behind = upstream.accept_head();
        behind.write_all(STREAM).unwrap();
        let answer = client.wait(streaming).unwrap();
        if reset {
            drop(answer);
            assert!(time_to_end(&mut behind) < SOON);
        } else {
            drop(client);
            assert!(time_to_end(&mut behind) < SOON);
            drop(answer);
        }
    }
}

#[test]
fn targets_that_no_head_of_http_1_can_have_are_refused() {
    let gate = Gate::start("{}");
    let mut client = Client::connect(&gate, 65_535);
    for (uri, status) in [
        ("http://u:p@h/x", 400),
        ("http://h/x", 200),
        ("http://[::1]:80/x", 200),
        // As in an HTTP/1 head, what is no escape can be read in several ways, but not in a query.
        ("http://h/x%zz", 400),
        ("http://h/x%4", 400),
        ("http://h/x%41?%zz", 200),
    ] {
        let answer = client.get(uri);
        assert_eq!(client.wait(answer).unwrap().status(), status, "{uri}");
    }
    for hosts in [&["a", "b"][..], &["a b"], &["u@a"], &["a", "a"]] {
        // Without an authority the target is a path alone.
        let mut request = http::Request::get("/x");
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let answer = client.send(request, Sent::Nothing);
        // A client library may refuse to send it.
        if let Ok(answer) = client.wait(answer) {
            assert_eq!(answer.status(), 400, "{hosts:?}");
        }
    }
}

#[test]
fn cookies_that_were_taken_apart_are_put_together() {
    let mut headers = http::HeaderMap::new();
    for (cookies, expected) in
        [(&[][..], &[][..]), (&["a=b"], &["a=b"]), (&["a=b", "c=d", "e=f; g=h"], &["a=b; c=d; e=f; g=h"])]
    {
        headers.clear();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_static(cookie));
        }
        super::super::h2::join_cookies(&mut headers);
        assert_eq!(headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), expected);
    }
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    let mut client = Client::connect(&gate, 65_535);
    let request =
        http::Request::get("http://h/x").header(header::COOKIE, "a=b").header(header::COOKIE, "c=d");
    let _answer = client.send(request, Sent::Nothing);
    let head = read_until(&mut upstream.accept(), "\r\n\r\n").to_ascii_lowercase();
    assert!(head.contains("\r\ncookie: a=b; c=d\r\n"), "{head}");
}

#[test]
fn what_is_expected_over_http_2_is_ignored_as_in_go() {
    let gate = Gate::start("{}");
    let mut client = Client::connect(&gate, 65_535);
    let answer = client.send(http::Request::get("http://h/x").header(header::EXPECT, "x"), Sent::Nothing);
    assert_eq!(client.wait(answer).unwrap().status(), StatusCode::OK);
}
