//! HTTP/1 clients before an HTTP/2 upstream: their bodies are read by another task than the connection's.

use std::sync::mpsc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

/// Within this time the upstream is told.
const SOON: Duration = Duration::from_millis(500);

/// What the upstream does with each request.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Reads the body to its end, and then says nothing.
    Thinks,
    /// Reads nothing of the body, and says nothing.
    Ignores,
    /// Answers at once, and reads the body behind it.
    Answers,
}

/// What it tells of.
#[derive(Debug, PartialEq)]
enum Told {
    /// The body has been read to its end.
    Read,
    /// The request is over: its stream was reset, or answered.
    Over,
}

struct Request(mpsc::SyncSender<Told>);

impl Drop for Request {
    fn drop(&mut self) {
        let _ = self.0.send(Told::Over);
    }
}

/// Starts an upstream; returns the settings of a server that relays to it, and what it tells.
fn upstream(manner: Manner) -> (String, mpsc::Receiver<Told>) {
    let (tell, told) = mpsc::sync_channel(16);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((io, _)) = listener.accept().await {
                let tell = tell.clone();
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let request_over = Request(tell.clone());
                    let tell = tell.clone();
                    async move {
                        let mut body = request.into_body();
                        if manner == Manner::Answers {
                            tokio::spawn(async move {
                                while let Some(Ok(_)) = body.frame().await {}
                                drop(request_over);
                            });
                            return Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(
                                "early",
                            )));
                        }
                        if manner == Manner::Thinks {
                            while let Some(Ok(_)) = body.frame().await {}
                            let _ = tell.send(Told::Read);
                        }
                        let _held = (body, request_over);
                        std::future::pending().await
                    }
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(io), service));
            }
        });
    });
    let settings = format!(
        r#"{{"read_idle_timeout":2000000000,"routes":[{{"handle":[{{"handler":"relay","port":{port},"h2c":true}}]}}]}}"#
    );
    (settings, told)
}

#[test]
fn a_client_that_leaves_once_its_body_was_read_ends_the_request() {
    let (settings, told) = upstream(Manner::Thinks);
    let gate = Gate::start(&settings);
    for framing in ["Content-Length: 2", "Transfer-Encoding: chunked"] {
        let mut client = gate.connect();
        write!(client, "POST /a HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let body = if framing.starts_with('C') { "hi" } else { "2\r\nhi\r\n0\r\n\r\n" };
        client.write_all(body.as_bytes()).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Told::Read));
        std::thread::sleep(Duration::from_millis(100));
        drop(client);
        assert_eq!(told.recv_timeout(SOON), Ok(Told::Over), "{framing}");
    }
}

#[test]
fn a_client_that_leaves_while_the_upstream_takes_nothing_ends_the_request() {
    let (settings, told) = upstream(Manner::Ignores);
    let gate = Gate::start(&settings);
    let mut client = gate.connect();
    // More than the upstream's windows, less than what fills the sockets.
    let length = 200_000;
    write!(client, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 2 * length).unwrap();
    client.write_all(&vec![b'x'; length]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(client);
    assert_eq!(told.recv_timeout(SOON), Ok(Told::Over));
}

#[test]
fn an_upload_that_stalls_behind_its_answer_keeps_no_connection() {
    let (settings, told) = upstream(Manner::Answers);
    let gate = Gate::start(&settings);
    let mut client = gate.connect();
    client.write_all(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc").unwrap();
    assert!(read_until(&mut client, "early").starts_with("HTTP/1.1 200 OK\r\n"));
    let began = Instant::now();
    assert_eq!(read_all(&mut client), "");
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Told::Over));
}
