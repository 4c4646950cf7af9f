//! Requests over real sockets to upstreams that follow a script.

mod hostile;
mod patience;

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;

use super::*;
use crate::http::BodyError;

const PATIENCE: Duration = Duration::from_secs(10);

/// An upstream that answers each read with the next bytes of its script, on one connection after the
/// other; an empty entry closes the connection. What it read comes out at the other end.
struct Upstream {
    dial: Dial,
    seen: mpsc::Receiver<(usize, String)>,
}

impl Upstream {
    fn start(script: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, seen) = mpsc::sync_channel(64);
        let mut script = Vec::from(script).into_iter();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if !Self::follow(number, stream.unwrap(), &mut script, &sender) {
                    return;
                }
            }
        });
        Self { dial: Dial::Tcp { host: "127.0.0.1".into(), port }, seen }
    }

    /// Serves one connection; whether to take another.
    fn follow(
        number: usize,
        mut stream: TcpStream,
        script: &mut impl Iterator<Item = &'static str>,
        sender: &mpsc::SyncSender<(usize, String)>,
    ) -> bool {
        let mut buffer = [0; 65536];
        loop {
            let length = stream.read(&mut buffer).unwrap_or(0);
            if sender.send((number, String::from_utf8_lossy(&buffer[..length]).into_owned())).is_err() {
                return false;
            }
            if length == 0 {
                return true;
            }
            match script.next() {
                Some("") => return true,
                Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                None => {}
            }
        }
    }

    /// The number of the connection, and what came on it.
    fn saw(&self) -> (usize, String) {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(PATIENCE, future).await.unwrap() })
}

async fn send(
    transport: &Transport,
    dial: &Dial,
    method: Method,
    body: Body,
) -> Result<Response, UpstreamError> {
    let headers = HeaderMap::new();
    let request = Outgoing {
        method: &method,
        target: b"/",
        headers: &headers,
        omit: &[],
        extra: &[],
        upgrade: false,
        client: None,
    };
    transport.round_trip(dial, request, &mut { body }, &mut |_, _| {}).await
}

async fn text(response: Response) -> Result<String, BodyError> {
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec()).unwrap())
}

async fn get(transport: &Transport, dial: &Dial) -> Result<String, String> {
    let response =
        send(transport, dial, Method::GET, Body::Empty).await.map_err(|error| error.to_string())?;
    text(response).await.map_err(|error| error.to_string())
}

fn transport() -> Transport {
    Transport::new(TransportOptions::default())
}

#[test]
fn idle_connections_go_with_their_transport() {
    let upstream = Upstream::start(&["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"; 2]);
    block_on(async {
        let (first, second) = (transport(), transport());
        get(&first, &upstream.dial).await.unwrap();
        assert_eq!(upstream.saw().0, 0);
        sweep();
        // As long as the transport is there, nothing happens to its connection.
        assert!(upstream.seen.try_recv().is_err());
        let answer = send(&first, &upstream.dial, Method::GET, Body::Empty).await.unwrap();
        drop(first);
        sweep();
        assert_eq!(text(answer).await.unwrap(), "one");
        assert_eq!(upstream.saw().0, 0);
        sweep();
        assert_eq!(upstream.saw(), (0, String::new()));
        drop(second);
    });
}

#[test]
fn a_kept_connection_serves_the_next_request() {
    let script = [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nfour",
    ];
    let upstream = Upstream::start(&script);
    block_on(async {
        let transport = transport();
        for expected in ["one", "two", "", "four"] {
            assert_eq!(get(&transport, &upstream.dial).await.unwrap(), expected);
            assert_eq!(upstream.saw(), (0, "GET / HTTP/1.1\r\n\r\n".into()));
        }
    });
}

#[test]
fn a_connection_in_doubt_is_not_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let upstream = Upstream::start(&[answer, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"]);
        block_on(async {
            let transport = transport();
            assert_ne!(get(&transport, &upstream.dial).await.unwrap(), "evil");
            assert_eq!(get(&transport, &upstream.dial).await.unwrap(), "two", "{answer}");
        });
    }
}

#[test]
fn a_kept_connection_that_died_is_replaced() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    // The second request is read and the connection closed without an answer.
    let upstream = Upstream::start(&[ok, "", ok]);
    block_on(async {
        let transport = transport();
        assert_eq!(get(&transport, &upstream.dial).await.unwrap(), "ok");
        assert_eq!(get(&transport, &upstream.dial).await.unwrap(), "ok");
    });
    let connections: Vec<usize> = (0..3).map(|_| upstream.saw().0).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[test]
fn what_may_have_had_an_effect_is_not_sent_twice() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let upstream = Upstream::start(&[ok, "", ok]);
    block_on(async {
        let transport = transport();
        get(&transport, &upstream.dial).await.unwrap();
        let error = send(&transport, &upstream.dial, Method::POST, Body::from("x")).await.unwrap_err();
        assert!(error.reached, "{error}");
        assert_eq!(error.to_string(), "EOF");
    });
}

#[test]
fn head_and_body_of_a_small_request_go_together() {
    let upstream = Upstream::start(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    block_on(async {
        let response = send(&transport(), &upstream.dial, Method::POST, Body::from("hello")).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "ok");
    });
    assert_eq!(upstream.saw().1, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
}

#[test]
fn chunks_come_out_as_they_went_in() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n3\r\n{}\n\r\n0\r\n\r\n";
    let upstream = Upstream::start(&[answer]);
    let frames = block_on(async {
        let mut body =
            send(&transport(), &upstream.dial, Method::GET, Body::Empty).await.unwrap().into_body();
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            frames.push(frame.unwrap().into_data().unwrap());
        }
        frames
    });
    assert_eq!(frames, ["{}", "{}\n"]);
}

#[test]
fn an_answer_that_breaks_off_is_an_error() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let upstream = Upstream::start(&[answer]);
        block_on(async {
            let response = send(&transport(), &upstream.dial, Method::GET, Body::Empty).await.unwrap();
            let mut body = response.into_body();
            // The script is over, but only the upstream's end of the connection could tell.
            let read = tokio::time::timeout(Duration::from_millis(300), async {
                while let Some(frame) = body.frame().await {
                    frame?;
                }
                Ok::<_, BodyError>(())
            });
            assert!(!matches!(read.await, Ok(Ok(()))), "{answer}");
        });
    }
}

#[test]
fn doubtful_answers_are_refused() {
    let flood = Box::leak("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(INTERIM_MAX + 1).into_boxed_str());
    let endless = Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(60_000)).into_boxed_str());
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        flood,
        endless,
    ] {
        let upstream = Upstream::start(&[answer]);
        block_on(async {
            let options = TransportOptions { head_bytes_max: 32 * 1024, ..TransportOptions::default() };
            let error =
                send(&Transport::new(options), &upstream.dial, Method::GET, Body::Empty).await.unwrap_err();
            assert!(matches!(error.kind, UpstreamErrorKind::BadAnswer(_)), "{error}");
        });
    }
}

#[test]
fn interim_answers_are_told_and_an_upgrade_is_handed_over() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\nhi";
    let upstream = Upstream::start(&[answer]);
    block_on(async {
        let (headers, mut told) = (HeaderMap::new(), Vec::new());
        let method = Method::GET;
        let request = Outgoing {
            method: &method,
            target: b"/",
            headers: &headers,
            omit: &[],
            extra: &[],
            upgrade: true,
            client: None,
        };
        let mut interim = |status: StatusCode, headers: HeaderMap| told.push((status, headers.len()));
        let transport = transport();
        let response =
            transport.round_trip(&upstream.dial, request, &mut Body::Empty, &mut interim).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(told, [(StatusCode::EARLY_HINTS, 1)]);
        let upgraded = response.extensions().get::<Upgraded>().unwrap();
        assert_eq!(upgraded.take().unwrap().1, "hi");
        assert!(upgraded.take().is_none());
    });
}

#[test]
fn nobody_there_is_an_error_that_nothing_reached() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dial = Dial::Tcp { host: "127.0.0.1".into(), port };
    let error =
        block_on(async { send(&transport(), &dial, Method::POST, Body::from("x")).await }).unwrap_err();
    assert!(matches!(error.kind, UpstreamErrorKind::Dial { .. }) && !error.reached, "{error}");
    assert_eq!(error.to_string(), format!("dial tcp 127.0.0.1:{port}: connect: connection refused"));
}

#[test]
fn giving_up_a_request_closes_its_connection() {
    let upstream = Upstream::start(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"]);
    block_on(async {
        let response = send(&transport(), &upstream.dial, Method::GET, Body::Empty).await.unwrap();
        assert_eq!(upstream.saw().1, "GET / HTTP/1.1\r\n\r\n");
        drop(response);
        // The upstream reads the end of the connection.
        assert_eq!(upstream.saw(), (0, String::new()));
    });
}
