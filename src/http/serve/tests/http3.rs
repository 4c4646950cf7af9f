//! HTTP/3 clients: what they send and get, how they leave, and how they are told to go.

use bytes::{Buf as _, Bytes};
use h3::client::RequestStream;
use quinn::crypto::rustls::QuicClientConfig;

use super::relay::{Upstream, time_to_end};
use super::*;
use crate::tls::{App, ConnectionPolicies, FileStorage, HttpVersions, careless_client};

const SOON: Duration = Duration::from_millis(500);
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// These policies, with a certificate for `h`.
fn policies(said: serde_json::Value) -> Arc<ConnectionPolicies> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["h".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pair = serde_json::json!({"certificate": certificate.pem(), "key": key.serialize_pem()});
    let config = serde_json::json!({"certificates": {"load_pem": [pair]}});
    let config = serde_json::from_value(config).unwrap();
    let app = App::provision(Some(&config), None, FileStorage::shared("/nowhere"), &Arc::default()).unwrap();
    let versions = HttpVersions { http1: true, http2: true };
    let said: Vec<_> = serde_json::from_value(said).unwrap();
    Arc::new(app.connection_policies(&said, versions).unwrap())
}

/// A gate with TLS.
pub(super) fn gate(settings: &str) -> Gate {
    gate_with(settings, serde_json::json!([{}]))
}

/// The same with these policies.
pub(super) fn gate_with(settings: &str, said: serde_json::Value) -> Gate {
    let gate = Gate::start(settings);
    serve(&gate, settings, said);
    gate
}

fn serve(gate: &Gate, settings: &str, said: serde_json::Value) {
    let listen = Listen {
        address: gate.address.to_string().parse().unwrap(),
        server: server(settings),
        tls: Some(policies(said)),
        protocols: ALL,
    };
    gate.runtime.block_on(gate.engine.apply(vec![listen])).unwrap();
}

type Sender = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;
type Stream = RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// What a client speaks that takes any certificate, and offers these protocols.
pub(super) fn config(protocols: &[&[u8]]) -> quinn::ClientConfig {
    let mut tls = careless_client();
    tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

/// A client whose connection lives on a thread of its own.
pub(super) struct Client {
    events: tokio::runtime::Handle,
    _stop: tokio::sync::oneshot::Sender<()>,
    pub(super) endpoint: quinn::Endpoint,
}

/// A connection of a client's.
pub(super) struct Visit {
    connection: quinn::Connection,
    send: Sender,
    /// Ends with the connection; says why.
    driver: tokio::task::JoinHandle<h3::error::ConnectionError>,
}

impl Client {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = runtime.block_on(async {
            let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
            endpoint.set_default_client_config(config(&[b"h3"]));
            endpoint
        });
        let events = runtime.handle().clone();
        let (_stop, stopped) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || runtime.block_on(stopped));
        Self { events, _stop, endpoint }
    }

    /// Runs something on the client's thread, and waits for it.
    pub(super) fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.events.spawn(async move { sender.send(task.await) });
        receiver.recv_timeout(PATIENCE).unwrap()
    }

    pub(super) fn dial(&self, gate: &Gate) -> quinn::Connection {
        let (endpoint, address) = (self.endpoint.clone(), gate.address);
        self.run(async move { endpoint.connect(address, "h").unwrap().await }).unwrap()
    }

    /// Shakes hands under a name.
    pub(super) fn shake_hands(
        &self,
        gate: &Gate,
        config: quinn::ClientConfig,
        name: &'static str,
    ) -> Result<quinn::Connection, quinn::ConnectionError> {
        let (endpoint, address) = (self.endpoint.clone(), gate.address);
        self.run(async move { endpoint.connect_with(config, address, name).unwrap().await })
    }

    pub(super) fn visit(&self, gate: &Gate) -> Visit {
        let connection = self.dial(gate);
        self.run(async move {
            let (mut driver, send) =
                h3::client::new(h3_quinn::Connection::new(connection.clone())).await.unwrap();
            let driver = tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
            Visit { connection, send, driver }
        })
    }

    /// Begins a request.
    fn ask(&self, visit: &Visit, request: http::request::Builder) -> Stream {
        let mut send = visit.send.clone();
        let request = request.body(()).unwrap();
        self.run(async move { send.send_request(request).await }).unwrap()
    }

    /// Asks for something without a body, and waits for the whole answer.
    pub(super) fn get(&self, visit: &Visit, uri: &str) -> (StatusCode, String) {
        let stream = self.ask(visit, http::Request::get(uri));
        self.run(async move { whole(stream).await }).unwrap()
    }
}

/// Ends the request and reads the answer.
async fn whole(mut stream: Stream) -> Result<(StatusCode, String), h3::error::StreamError> {
    stream.finish().await?;
    answer(stream).await
}

async fn answer(mut stream: Stream) -> Result<(StatusCode, String), h3::error::StreamError> {
    let answer = stream.recv_response().await?;
    assert_eq!(answer.version(), http::Version::HTTP_3);
    let mut text = String::new();
    while let Some(mut part) = stream.recv_data().await? {
        text.push_str(std::str::from_utf8(&part.copy_to_bytes(part.remaining())).unwrap());
    }
    Ok((answer.status(), text))
}

#[test]
fn requests_are_answered_beside_each_other() {
    let gate = gate("{}");
    let client = Client::new();
    let visit = client.visit(&gate);
    assert_eq!(client.get(&visit, "https://h/a?b"), (StatusCode::OK, "GET /a?b 0".to_owned()));
    let slow = client.ask(&visit, http::Request::post("https://h/upload"));
    assert_eq!(client.get(&visit, "https://h/c").1, "GET /c 0");
    let uploaded = client.run(async move {
        let mut slow = slow;
        for _ in 0..100 {
            slow.send_data(Bytes::from(vec![b'x'; 10_000])).await.unwrap();
        }
        let mut trailers = http::HeaderMap::new();
        trailers.insert("t", HeaderValue::from_static("v"));
        slow.send_trailers(trailers).await.unwrap();
        whole(slow).await.unwrap()
    });
    assert_eq!(uploaded.1, "POST /upload 1000000");
    let early = client.ask(&visit, http::Request::post("https://h/early"));
    let early = client.run(async move {
        let mut early = early;
        // It may have been told already that nobody waits for more.
        let _ = early.send_data(Bytes::from_static(b"nobody reads this")).await;
        let _ = early.finish().await;
        answer(early).await.unwrap()
    });
    assert_eq!(early.1, "early");
}

#[test]
fn every_part_of_a_stream_goes_on_as_it_comes() {
    let upstream = Upstream::start();
    let gate = gate(&upstream.settings());
    let client = Client::new();
    let visit = client.visit(&gate);
    let mut stream = client.ask(&visit, http::Request::post("https://h/both"));
    // The upload.
    stream = client.run(async move {
        stream.send_data(Bytes::from_static(b"hello")).await.unwrap();
        stream
    });
    let mut behind = upstream.accept();
    assert!(read_until(&mut behind, "5\r\nhello\r\n").contains("POST /both HTTP/1.1"));
    stream = client.run(async move {
        stream.send_data(Bytes::from_static(b"world!")).await.unwrap();
        stream
    });
    read_until(&mut behind, "6\r\nworld!\r\n");
    // The answer, while the upload is still open.
    behind.write_all(STREAM).unwrap();
    for part in ["one", "three"] {
        write!(behind, "{:x}\r\n{part}\r\n", part.len()).unwrap();
        let (next, text) = client.run(async move {
            if part == "one" {
                stream.recv_response().await.unwrap();
            }
            let mut data = stream.recv_data().await.unwrap().unwrap();
            (stream, data.copy_to_bytes(data.remaining()))
        });
        (stream, _) = (next, assert_eq!(text, part));
    }
    behind.write_all(b"0\r\nt: v\r\n\r\n").unwrap();
    let trailers = client.run(async move {
        // After the answer's end it may have been told that nobody waits for more.
        let _ = stream.finish().await;
        assert!(stream.recv_data().await.unwrap().is_none());
        stream.recv_trailers().await.unwrap()
    });
    assert_eq!(trailers.unwrap()["t"], "v");
}

#[test]
fn a_stream_that_breaks_off_does_not_look_whole() {
    let upstream = Upstream::start();
    let gate = gate(&upstream.settings());
    let client = Client::new();
    let visit = client.visit(&gate);
    let stream = client.ask(&visit, http::Request::get("https://h/broken"));
    let mut behind = upstream.accept_head();
    behind.write_all(STREAM).unwrap();
    behind.write_all(b"3\r\none\r\n").unwrap();
    drop(behind);
    assert!(client.run(async move { whole(stream).await }).is_err());
    assert!(visit.connection.close_reason().is_none(), "the others go on");
}

#[test]
fn leaving_ends_the_upstream_request_in_every_phase() {
    let upstream = Upstream::start();
    let gate = gate(&upstream.settings());
    // The request alone is given up, or the whole connection.
    for reset in [true, false] {
        for phase in ["waiting", "uploading", "streaming"] {
            let client = Client::new();
            let visit = client.visit(&gate);
            let mut stream = client.ask(&visit, http::Request::post("https://h/x"));
            stream = client.run(async move {
                stream.send_data(Bytes::from_static(b"hello")).await.unwrap();
                stream
            });
            let mut behind = upstream.accept();
            read_until(&mut behind, "hello\r\n");
            if phase != "uploading" {
                stream = client.run(async move {
                    stream.finish().await.unwrap();
                    stream
                });
                read_until(&mut behind, "0\r\n\r\n");
            }
            if phase == "streaming" {
                behind.write_all(STREAM).unwrap();
                stream = client.run(async move {
                    stream.recv_response().await.unwrap();
                    stream
                });
            }
            let connection = visit.connection.clone();
            client.run(async move {
                if reset {
                    stream.stop_stream(h3::error::Code::H3_REQUEST_CANCELLED);
                    stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
                } else {
                    connection.close(0_u32.into(), b"");
                }
            });
            assert!(time_to_end(&mut behind) < SOON, "{phase}, {reset}");
        }
    }
}

#[test]
fn a_stream_whose_body_does_not_come_or_that_is_not_read_is_reset() {
    let upstream = Upstream::start();
    let settings = upstream.settings();
    let settings =
        settings.replacen('{', r#"{"read_idle_timeout":1000000000,"write_idle_timeout":1000000000,"#, 1);
    let gate = gate(&settings);
    let client = Client::new();
    let visit = client.visit(&gate);
    let stuck = client.ask(&visit, http::Request::post("https://h/stuck"));
    let mut behind = upstream.accept();
    assert!(time_to_end(&mut behind) < PATIENCE);
    drop(stuck);
    let unread = client.ask(&visit, http::Request::get("https://h/unread"));
    let mut unread = client.run(async move {
        let mut unread = unread;
        unread.finish().await.unwrap();
        unread
    });
    let mut behind = upstream.accept_head();
    behind.write_all(STREAM).unwrap();
    behind.set_write_timeout(Some(PATIENCE)).unwrap();
    let chunk = [b"8000\r\n", &[b'x'; 0x8000][..], b"\r\n"].concat();
    // Nobody takes more than the windows hold.
    let error = (0..10_000).find_map(|_| behind.write_all(&chunk).err()).unwrap();
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
    // The head may be lost together with what is behind it.
    client.run(async move { unread.recv_response().await.map(drop) }).ok();
    assert!(visit.connection.close_reason().is_none(), "the others go on");
}

#[test]
fn a_client_keeps_its_connections_when_its_port_changes() {
    let gate = gate("{}");
    let client = Client::new();
    // As many as make it likely that each worker has some.
    let visits: Vec<_> = (0..16).map(|_| client.visit(&gate)).collect();
    for turn in 0..3 {
        for visit in &visits {
            assert_eq!(client.get(visit, &format!("https://h/{turn}")).1, format!("GET /{turn} 0"));
        }
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let endpoint = client.endpoint.clone();
        client.run(async move { endpoint.rebind(socket) }).unwrap();
    }
}

#[test]
fn a_client_whose_address_changes_has_to_come_anew() {
    let gate = gate("{}");
    let client = Client::new();
    let visit = client.visit(&gate);
    let mut slow = client.ask(&visit, http::Request::get("https://h/slow"));
    slow = client.run(async move {
        slow.finish().await.unwrap();
        slow
    });
    // It is to be there before the address changes.
    std::thread::sleep(SOON);
    let socket = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
    let endpoint = client.endpoint.clone();
    client.run(async move { endpoint.rebind(socket) }).unwrap();
    let next = client.ask(&visit, http::Request::get("https://h/next"));
    assert!(client.run(async move { whole(next).await }).is_err());
    // What has begun goes on.
    assert_eq!(client.run(async move { answer(slow).await }).unwrap().1, "GET /slow 0");
    assert_eq!(client.get(&client.visit(&gate), "https://h/anew").1, "GET /anew 0");
    assert!(client.run(async move { visit.driver.await.unwrap() }).is_h3_no_error());
}

#[test]
fn a_reload_keeps_sockets_and_connections() {
    let gate = gate("{}");
    let client = Client::new();
    let visit = client.visit(&gate);
    for turn in 0..10 {
        serve(&gate, "{}", serde_json::json!([{}]));
        assert_eq!(client.get(&visit, &format!("https://h/{turn}")).1, format!("GET /{turn} 0"));
        assert_eq!(client.get(&client.visit(&gate), "https://h/new").1, "GET /new 0");
    }
}

#[test]
fn an_address_that_is_gone_lets_requests_end_and_takes_no_more() {
    let gate = gate("{}");
    let client = Client::new();
    let visit = client.visit(&gate);
    let slow = client.ask(&visit, http::Request::get("https://h/slow"));
    std::thread::sleep(SOON);
    gate.serve(&[], "{}");
    assert_eq!(client.run(async move { whole(slow).await }).unwrap().1, "GET /slow 0");
    let Visit { connection, driver, .. } = visit;
    let (endpoint, address) = (client.endpoint.clone(), gate.address);
    let (ended, again) = client.run(async move {
        let ended = driver.await.unwrap();
        let again = tokio::time::timeout(SOON, endpoint.connect(address, "h").unwrap()).await;
        (ended, again.is_ok_and(|connected| connected.is_ok()))
    });
    assert!(ended.is_h3_no_error(), "{ended}");
    assert!(connection.close_reason().is_some() && !again);
}

#[test]
fn stopping_waits_for_what_has_begun() {
    let gate = gate("{}");
    let client = Client::new();
    let (visit, idle) = (client.visit(&gate), client.visit(&gate));
    let mut slow = client.ask(&visit, http::Request::get("https://h/slow"));
    slow = client.run(async move {
        slow.finish().await.unwrap();
        slow
    });
    std::thread::sleep(SOON);
    let Gate { engine, runtime, .. } = gate;
    let started = Instant::now();
    runtime.block_on(engine.shutdown(Some(PATIENCE)));
    assert!(started.elapsed() < PATIENCE);
    assert_eq!(client.run(async move { answer(slow).await }).unwrap().1, "GET /slow 0");
    assert!(client.run(async move { idle.driver.await.unwrap() }).is_h3_no_error());
}

#[test]
fn an_idle_connection_is_closed() {
    let gate = gate(r#"{"idle_timeout":1000000000}"#);
    let client = Client::new();
    let visit = client.visit(&gate);
    assert_eq!(client.get(&visit, "https://h/a").1, "GET /a 0");
    assert!(client.run(async move { visit.driver.await.unwrap() }).is_h3_no_error());
}
