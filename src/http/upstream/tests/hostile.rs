//! Upstreams that mean harm, or are broken in ways that could hurt the next client.

use std::sync::Arc;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn lengths_and_codings_in_doubt_are_refused() {
    for answer in [
        // More than a signed number holds is read as something else by too many.
        "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nok",
        // HTTP/1.0 knows no chunks (RFC 9112 section 6.1).
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    ] {
        let upstream = Upstream::start(&[answer]);
        block_on(async {
            let error = send(&transport(), &upstream.dial, Method::GET, Body::Empty).await.unwrap_err();
            assert!(matches!(error.kind, UpstreamErrorKind::BadAnswer(_)), "{answer:?}: {error}");
        });
    }
}

#[test]
fn a_connection_that_may_be_a_tunnel_serves_nobody_else() {
    // Behind a 2xx to CONNECT an upstream may take what comes as the tunnel's bytes.
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::start(&[answer, OK]);
    block_on(async {
        let transport = transport();
        let response = send(&transport, &upstream.dial, Method::CONNECT, Body::Empty).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "");
        assert_eq!(get(&transport, &upstream.dial).await.unwrap(), "ok");
    });
    let connections: Vec<usize> = std::iter::from_fn(|| upstream.seen.try_recv().ok())
        .filter(|(_, text)| text.contains("HTTP/1.1"))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(connections, [0, 1]);
}

#[test]
fn a_204_that_announces_a_body_ends_its_connection() {
    for answer in [
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let upstream = Upstream::start(&[answer, OK]);
        block_on(async {
            let transport = transport();
            assert_eq!(get(&transport, &upstream.dial).await.unwrap(), "");
            assert_eq!(upstream.saw().0, 0);
            assert_eq!(get(&transport, &upstream.dial).await.unwrap(), "ok");
            // The end of the first connection, then the second one.
            assert!((0..2).any(|_| upstream.saw().0 == 1), "{answer}");
        });
    }
}

#[test]
fn a_change_of_protocol_in_the_middle_of_an_upload_is_refused() {
    let upstream = Upstream::start(&["HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"]);
    block_on(async {
        let headers = HeaderMap::new();
        let method = Method::POST;
        let request = Outgoing {
            method: &method,
            target: b"/",
            headers: &headers,
            omit: &[],
            extra: &[],
            upgrade: true,
            client: None,
        };
        // A body that never ends.
        let mut body = Body::stream(Endless);
        let error = transport().round_trip(&upstream.dial, request, &mut body, &mut |_, _| {}).await;
        assert!(matches!(error.unwrap_err().kind, UpstreamErrorKind::BadAnswer(_)));
    });
}

/// Begins and never goes on.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        Poll::Pending
    }
}

#[test]
fn a_head_may_trickle_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sending = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        for byte in b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok" {
            stream.write_all(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_micros(300));
        }
    });
    let dial = Dial::Tcp { host: "127.0.0.1".into(), port };
    block_on(async { assert_eq!(get(&transport(), &dial).await.unwrap(), "ok") });
    sending.join().unwrap();
}

#[test]
fn what_comes_unasked_over_tls_is_no_answer_either() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (unasked, sent) = mpsc::sync_channel(1);
    let server = std::thread::spawn(move || {
        let config = tls_server();
        let answers = ["one", "two"];
        for (number, answer) in answers.into_iter().enumerate() {
            let (tcp, _) = listener.accept().unwrap();
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::StreamOwned::new(session, tcp);
            let mut buffer = [0; 1024];
            assert!(tls.read(&mut buffer).unwrap() > 0);
            write!(tls, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{answer}").unwrap();
            if number == 0 {
                std::thread::sleep(Duration::from_millis(50));
                write!(tls, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").unwrap();
                unasked.send(()).unwrap();
                // Until the other side closes, or asks once more on this connection.
                let _ = tls.read(&mut buffer);
            }
        }
    });
    let dial = Dial::Tcp { host: "localhost".into(), port };
    let tls = TlsDial { config: Arc::new(crate::tls::careless_client()), server_name: None };
    let transport = Transport::new(TransportOptions { tls: Some(tls), ..TransportOptions::default() });
    block_on(async {
        assert_eq!(get(&transport, &dial).await.unwrap(), "one");
        tokio::task::spawn_blocking(move || sent.recv_timeout(PATIENCE).unwrap()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(get(&transport, &dial).await.unwrap(), "two");
    });
    server.join().unwrap();
}

fn tls_server() -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(crate::tls::provider().clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    Arc::new(config.unwrap())
}

#[test]
fn a_kept_connection_over_tls_is_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let mut tls = rustls::StreamOwned::new(rustls::ServerConnection::new(tls_server()).unwrap(), tcp);
        let mut buffer = [0; 1024];
        for answer in ["one", "two"] {
            // Session tickets come along with the first answer.
            assert!(tls.read(&mut buffer).unwrap() > 0);
            write!(tls, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{answer}").unwrap();
        }
    });
    let dial = Dial::Tcp { host: "localhost".into(), port };
    let tls = TlsDial { config: Arc::new(crate::tls::careless_client()), server_name: None };
    let transport = Transport::new(TransportOptions { tls: Some(tls), ..TransportOptions::default() });
    block_on(async {
        assert_eq!(get(&transport, &dial).await.unwrap(), "one");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(get(&transport, &dial).await.unwrap(), "two");
    });
    server.join().unwrap();
}

/// What an upstream does on the first of two connections: it answers a request, and then, when told
/// to, sends an answer that nobody asked for. The reactor of the runtime can't have seen that yet.
fn unasked_between_two_requests(method: &Method, body: impl Fn() -> Body) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (now, told) = mpsc::sync_channel(0);
    let (done, sent) = mpsc::sync_channel(0);
    let dial = Dial::Tcp { host: "127.0.0.1".into(), port };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            let mut buffer = [0; 1024];
            assert!(first.read(&mut buffer).unwrap() > 0);
            first.write_all(OK.as_bytes()).unwrap();
            told.recv().unwrap();
            first.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").unwrap();
            done.send(()).unwrap();
            let (mut second, _) = listener.accept().unwrap();
            assert!(second.read(&mut buffer).unwrap() > 0);
            second.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood").unwrap();
        });
        let answer = block_on(async {
            let transport = transport();
            assert_eq!(get(&transport, &dial).await.unwrap(), "ok");
            now.send(()).unwrap();
            sent.recv().unwrap();
            text(send(&transport, &dial, method.clone(), body()).await.unwrap()).await.unwrap()
        });
        // If nobody has opened the second connection, the upstream waits no longer for it.
        drop(TcpStream::connect(("127.0.0.1", port)));
        answer
    })
}

#[test]
fn what_came_before_a_request_was_sent_is_not_its_answer() {
    assert_eq!(unasked_between_two_requests(&Method::GET, || Body::Empty), "good");
    assert_eq!(unasked_between_two_requests(&Method::POST, || Body::from("x")), "good");
}
