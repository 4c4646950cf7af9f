//! QUIC handshakes: which policy answers, and who does not get in.

use std::fmt;
use std::io::IoSliceMut;
use std::pin::Pin;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ConnectionError, Runtime as _, TokioRuntime, UdpPoller};
use serde_json::json;

use super::http3::{Client, config, gate, gate_with};
use super::*;

/// The code of a connection that ends with this TLS alert (RFC 9001 section 4.8).
fn alert(alert: u64) -> u64 {
    0x100 + alert
}

/// What a handshake is refused with.
fn refusal(error: &ConnectionError) -> u64 {
    match error {
        ConnectionError::ConnectionClosed(close) => close.error_code.into(),
        other => panic!("{other}"),
    }
}

#[test]
fn the_hello_chooses_the_policy() {
    let gate = gate_with(
        "{}",
        json!([
            {"match": {"sni": ["dropped.test"]}, "drop": true},
            {"match": {"sni": ["old.test"]}, "protocol_max": "tls1.2"},
            {"match": {"remote_ip": {"ranges": ["192.0.2.0/24"]}}},
            {"match": {"sni": ["h"], "local_ip": {"ranges": ["127.0.0.0/8"]}}, "alpn": ["http/1.1"]},
        ]),
    );
    let client = Client::new();
    // Whatever a policy offers over TCP.
    assert!(client.shake_hands(&gate, config(&[b"h3"]), "h").is_ok());
    for (name, code) in [("dropped.test", alert(80)), ("none.test", alert(80)), ("old.test", alert(70))] {
        let error = client.shake_hands(&gate, config(&[b"h3"]), name).unwrap_err();
        assert_eq!(refusal(&error), code, "{name}: {error}");
    }
    for protocols in [&[&b"h2"[..]][..], &[b"http/1.1"], &[b"h3-29"], &[]] {
        let error = client.shake_hands(&gate, config(protocols), "h").unwrap_err();
        assert_eq!(refusal(&error), alert(120), "{protocols:?}: {error}");
    }
}

#[test]
fn a_hello_may_come_in_many_packets_and_has_a_bound() {
    let gate = gate("{}");
    let client = Client::new();
    let with = |count: usize| {
        let names: Vec<Vec<u8>> = (0..count).map(|at| format!("{at:0>200}").into_bytes()).collect();
        let mut names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        names.push(b"h3");
        config(&names)
    };
    assert!(client.shake_hands(&gate, with(40), "h").is_ok());
    let error = client.shake_hands(&gate, with(100), "h").unwrap_err();
    assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{error}");
}

/// A client's socket that hears nothing.
struct Deaf(Arc<dyn AsyncUdpSocket>);

impl fmt::Debug for Deaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsyncUdpSocket for Deaf {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.0.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> std::io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Pending
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[test]
fn handshakes_that_do_not_go_on_keep_nobody_out() {
    /// More than the workers begin with clients whose address may not be theirs.
    const DEAF: usize = 600;
    let gate = gate("{}");
    let (client, address) = (Client::new(), gate.address);
    let deaf = client.run(async move {
        let socket = TokioRuntime.wrap_udp_socket(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            quinn::EndpointConfig::default(),
            None,
            Arc::new(Deaf(socket)),
            Arc::new(TokioRuntime),
        );
        let endpoint = endpoint.unwrap();
        let config = config(&[b"h3"]);
        let mut connecting = Vec::with_capacity(DEAF);
        for _ in 0..DEAF {
            connecting.push(endpoint.connect_with(config.clone(), address, "h").unwrap());
            tokio::task::yield_now().await;
        }
        connecting
    });
    std::thread::sleep(Duration::from_millis(500));
    let visit = client.visit(&gate);
    assert_eq!(client.get(&visit, "https://h/a").1, "GET /a 0");
    drop(deaf);
}

/// A client's configuration with so little room.
fn narrow(streams: u32, stream_bytes: u32) -> quinn::ClientConfig {
    let mut transport = quinn::TransportConfig::default();
    transport.max_concurrent_uni_streams(streams.into()).stream_receive_window(stream_bytes.into());
    let mut config = config(&[b"h3"]);
    config.transport_config(Arc::new(transport));
    config
}

#[test]
fn a_client_without_room_for_a_control_stream_is_closed() {
    let gate = gate("{}");
    let client = Client::new();
    let connection = client.shake_hands(&gate, narrow(0, 64 * 1024), "h").unwrap();
    let closed = client.run(async move { connection.closed().await });
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed}");
}

#[test]
fn an_answer_whose_head_is_not_taken_is_reset() {
    let gate = gate(r#"{"write_idle_timeout": 1000000000}"#);
    let client = Client::new();
    // Room for our settings, and then for nothing.
    let connection = client.shake_hands(&gate, narrow(8, 16), "h").unwrap();
    let reset = client.run(async move {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        // GET https://h/ in HEADERS, by the static table (RFC 9204 appendix A).
        let section = [0, 0, 0xc0 | 17, 0xc0 | 23, 0xc0 | 1, 0x50, 1, b'h'];
        send.write_all(&[&[1, section.len() as u8][..], &section].concat()).await.unwrap();
        send.finish().unwrap();
        recv.received_reset().await.unwrap()
    });
    assert!(reset.is_some(), "it ended as if all had been well");
}
