//! The engine over real sockets.

mod early;
mod h1;
mod h2;
mod h2_upstream;
mod http3;
mod http3_frames;
mod http3_handshakes;
mod leaving;
mod relay;
mod stapled;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;

use super::{Engine, Listen, Protocols};
use crate::config::{NetworkAddress, http::Server as ServerConfig};
use crate::http::{
    Body, Exchange, Handler, HandlerError, HandlerType, Outcome, Provision, Response, Server, Step,
};

const ALL: Protocols = Protocols { h1: true, h2: true, h2c: true, h3: true };

/// A wait longer than this means that nothing will come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers with what it saw: method, target and the length of the body.
struct Echo;

impl Handler for Echo {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        if x.uri.path() == "/early" {
            // An answer before the body was read.
            return Step::Now(Outcome::Respond(Response::new(Body::from("early"))));
        }
        Step::Later(Box::pin(async move {
            if x.uri.path() == "/hints" {
                let mut hints = http::HeaderMap::new();
                hints.insert(header::LINK, HeaderValue::from_static("</a>"));
                x.interim_way().send(StatusCode::EARLY_HINTS, &hints);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if x.uri.path() == "/slow" {
                tokio::time::sleep(Duration::from_millis(2500)).await;
            }
            let body = match std::mem::take(&mut x.body).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) => return Outcome::Fail(HandlerError::new(StatusCode::BAD_REQUEST, error)),
            };
            x.abort = x.uri.path() == "/abort";
            x.close_connection = x.uri.path() == "/close";
            let text = format!("{} {} {}", x.method, x.uri, body.len());
            Outcome::Respond(Response::new(Body::from(text.into_bytes())))
        }))
    }
}

static ECHO: HandlerType = HandlerType { id: "echo", provision: |_, _| Ok(Box::new(Echo)) };

/// A server with some settings; it echoes if they name no routes.
fn server(settings: &str) -> Arc<Server> {
    let mut config: ServerConfig = serde_json::from_str(settings).unwrap();
    if config.routes.is_empty() {
        config.routes = serde_json::from_str(r#"[{"handle":[{"handler":"echo"}]}]"#).unwrap();
    }
    let handlers =
        [&ECHO, &relay::RELAY, &relay::SILENT, &relay::STATUS].map(|handler| (handler.id, handler));
    let (handlers, matchers) = (HashMap::from(handlers), HashMap::new());
    Arc::new(Server::provision("test", &config, &mut Provision::new(&handlers, &matchers)).unwrap())
}

/// An engine with one listener on a port of the kernel's choice.
struct Gate {
    engine: Engine,
    address: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

impl Gate {
    fn start(settings: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let engine = Engine::start(2.try_into().unwrap()).unwrap();
        let port = {
            let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            probe.local_addr().unwrap().port()
        };
        let gate = Self { engine, address: SocketAddr::from(([127, 0, 0, 1], port)), runtime };
        gate.serve(&[port], settings);
        gate
    }

    fn serve(&self, ports: &[u16], settings: &str) {
        let listen = |port: &u16| Listen {
            address: format!("127.0.0.1:{port}").parse::<NetworkAddress>().unwrap(),
            server: server(settings),
            tls: None,
            protocols: Protocols::of(&serde_json::from_str(settings).unwrap()).unwrap(),
        };
        self.runtime.block_on(self.engine.apply(ports.iter().map(listen).collect())).unwrap();
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends `request` in pieces of `step` bytes and reads to the end of the connection.
    fn ask(&self, request: &[u8], step: usize) -> String {
        let mut stream = self.connect();
        for piece in request.chunks(step) {
            // The gate may have hung up already.
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        read_all(&mut stream)
    }
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("after {:?}: {error}", String::from_utf8_lossy(&all)),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until `end` has come.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut all = String::new();
    let mut buffer = [0; 4096];
    while !all.ends_with(end) {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the connection ended after {all:?}");
        all.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    all
}

const LAST: &str = "GET /close HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn requests_on_a_kept_connection_are_told_apart_however_they_are_cut() {
    let gate = Gate::start("{}");
    let requests = [
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n",
        "GET /c HTTP/1.1\r\nHost: h\r\n\r\n",
        LAST,
    ]
    .concat();
    for step in [1, 7, 64, requests.len()] {
        let answers = gate.ask(requests.as_bytes(), step);
        for answer in ["POST /a 5", "POST /b 5", "GET /c 0", "GET /close 0"] {
            assert!(answers.contains(answer), "{step}: {answer} is not in {answers}");
        }
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 4, "{answers}");
    }
}

#[test]
fn what_is_refused_is_said_and_ends_the_connection() {
    let gate = Gate::start("{}");
    for (request, line) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 "),
        ("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 400 "),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 "),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501 "),
    ] {
        // A request behind a doubtful one is never answered.
        let both = format!("{request}{LAST}");
        for step in [1, both.len()] {
            let answers = gate.ask(both.as_bytes(), step);
            assert!(answers.starts_with(line), "{request:?}: {answers}");
            assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
        }
    }
}

#[test]
fn a_refusal_keeps_its_place_behind_earlier_answers() {
    let gate = Gate::start("{}");
    let answers =
        gate.ask(b"GET /first HTTP/1.1\r\nHost: h\r\n\r\nGET /second HTTP/1.1\r\nHost : h\r\n\r\n", 1000);
    let (first, second) = answers.split_once("GET /first 0").unwrap();
    assert!(first.starts_with("HTTP/1.1 200"), "{answers}");
    assert!(second.ends_with("400 Bad Request: invalid header name"), "{answers}");
}

#[test]
fn broken_chunks_end_the_connection_and_nothing_behind_them_is_read() {
    let gate = Gate::start("{}");
    let request = format!(
        "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n{LAST}"
    );
    for step in [1, 60, request.len()] {
        let answers = gate.ask(request.as_bytes(), step);
        assert!(!answers.contains("/close"), "{step}: {answers}");
        assert!(!answers.contains("200 OK"), "{step}: {answers}");
    }
}

#[test]
fn heads_have_a_bound() {
    let gate = Gate::start(r#"{"max_header_bytes":1024}"#);
    let head = |length| format!("GET /close HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(length));
    assert!(gate.ask(head(4096).as_bytes(), 512).starts_with("HTTP/1.1 200 "));
    for step in [512, 8192] {
        let answer = gate.ask(head(6000).as_bytes(), step);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

#[test]
fn a_head_may_have_many_fields() {
    let gate = Gate::start("{}");
    let fields: String = (0..900).map(|number| format!("A{number}: b\r\n")).collect();
    let answer = gate.ask(format!("GET /close HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes(), 100_000);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let gate = Gate::start("{}");
    let mut stream = gate.connect();
    stream.write_all(b"POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n").unwrap();
    stream.write_all(&[b'x'; 30000]).unwrap();
    let answer = read_until(&mut stream, "early");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // What was not read is never taken for the next request.
    let _ = stream.write_all(LAST.as_bytes());
    let rest = read_all(&mut stream);
    assert!(!rest.contains("HTTP/1.1"), "{rest}");
}

#[test]
fn interim_answers_come_before_the_real_one() {
    let gate = Gate::start("{}");
    let answers = gate.ask(format!("GET /hints HTTP/1.1\r\nHost: h\r\n\r\n{LAST}").as_bytes(), 1000);
    assert!(
        answers.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK"),
        "{answers}"
    );
}

#[test]
fn an_aborted_request_gets_no_answer() {
    let gate = Gate::start("{}");
    assert_eq!(gate.ask(b"GET /abort HTTP/1.1\r\nHost: h\r\n\r\n", 1000), "");
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let gate = Gate::start(r#"{"read_header_timeout":1000000000}"#);
    let mut slow = gate.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    let mut silent = gate.connect();
    let started = Instant::now();
    assert_eq!(read_all(&mut slow), "");
    assert_eq!(read_all(&mut silent), "");
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn a_connection_that_waits_too_long_for_its_next_request_is_closed() {
    let gate = Gate::start(r#"{"idle_timeout":1000000000}"#);
    let mut stream = gate.connect();
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert!(read_all(&mut stream).ends_with("GET /a 0"));
}

#[test]
fn a_connection_whose_client_waits_for_its_answer_is_not_idle() {
    let gate = Gate::start(r#"{"idle_timeout":1000000000}"#);
    let mut stream = gate.connect();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert!(read_until(&mut stream, " 0").ends_with("GET /slow 0"));
}

#[test]
fn a_client_that_owes_a_body_and_stalls_is_given_up() {
    let gate = Gate::start(r#"{"read_idle_timeout":1000000000}"#);
    let answers = gate.ask(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhello", 1000);
    assert!(!answers.contains("200 OK"), "{answers}");
}

#[test]
fn requests_and_answers_have_deadlines_as_a_whole() {
    let gate = Gate::start(r#"{"read_timeout":1000000000,"write_timeout":1000000000}"#);
    let mut stream = gate.connect();
    stream.write_all(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n").unwrap();
    // A client that always sends a little, and never all.
    let started = Instant::now();
    while stream.write_all(b"x").is_ok() && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(started.elapsed() < PATIENCE / 2);
    // In time all is well, as often as one likes.
    let answers = gate.ask(format!("GET /a HTTP/1.1\r\nHost: h\r\n\r\n{LAST}").as_bytes(), 1000);
    assert_eq!(answers.matches("200 OK").count(), 2, "{answers}");
}

#[test]
fn a_reload_keeps_sockets_and_connections() {
    let gate = Gate::start("{}");
    let mut stream = gate.connect();
    for turn in 0..20 {
        gate.serve(&[gate.address.port()], "{}");
        write!(stream, "GET /{turn} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let answer = read_until(&mut stream, " 0");
        assert!(answer.contains(&format!("GET /{turn} 0")), "{answer}");
        assert!(gate.ask(LAST.as_bytes(), 1000).contains("200 OK"));
    }
}

#[test]
fn an_address_that_is_gone_is_closed_and_its_connections_end() {
    let gate = Gate::start("{}");
    let mut stream = gate.connect();
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    read_until(&mut stream, " 0");
    gate.serve(&[], "{}");
    assert_eq!(read_all(&mut stream), "");
    let closed = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        TcpStream::connect(gate.address).is_err()
    });
    assert!(closed, "the port still accepts");
}

#[test]
fn an_address_that_cannot_be_bound_changes_nothing() {
    let gate = Gate::start("{}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listens = [gate.address.port(), taken.local_addr().unwrap().port()].map(|port| Listen {
        address: format!("127.0.0.1:{port}").parse().unwrap(),
        server: server("{}"),
        tls: None,
        protocols: ALL,
    });
    let error = gate.runtime.block_on(gate.engine.apply(listens.into())).unwrap_err();
    assert!(error.to_string().contains(&taken.local_addr().unwrap().port().to_string()), "{error}");
    assert!(gate.ask(LAST.as_bytes(), 1000).contains("200 OK"));
}

#[test]
fn http_2_without_tls_is_taken_from_clients_that_begin_with_it() {
    let gate = Gate::start("{}");
    let answer = gate.runtime.block_on(async {
        let io = tokio::net::TcpStream::connect(gate.address).await.unwrap();
        let (mut send, connection) = hyper::client::conn::http2::handshake(
            hyper_util::rt::TokioExecutor::new(),
            hyper_util::rt::TokioIo::new(io),
        )
        .await
        .unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::get("http://h/x").body(Body::Empty).unwrap();
        let answer = send.send_request(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        connection.abort();
        body
    });
    assert_eq!(answer, "GET /x 0");
    let plain = Gate::start(r#"{"protocols":["h1"]}"#);
    let answer = plain.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1000);
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
}

#[test]
fn stopping_waits_for_what_has_begun() {
    let Gate { engine, address, runtime } = Gate::start("{}");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /hints HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    read_until(&mut stream, "</a>\r\n\r\n");
    runtime.block_on(engine.shutdown(Some(PATIENCE)));
    assert!(read_all(&mut stream).ends_with("GET /hints 0"));
    assert!(TcpStream::connect(address).is_err());
}
