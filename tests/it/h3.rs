//! HTTP/3 over real sockets: who is told of it, who is let in, and what is said of it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf as _;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::support::{PATIENCE, eventually, get};
use crate::tls::{GIVEN, Gateway, INTERNAL, client, pair, trusting};

/// A client's socket, whose connections remember sessions if they are made by the same configuration.
struct Quic {
    runtime: tokio::runtime::Runtime,
    endpoint: quinn::Endpoint,
    address: SocketAddr,
}

/// An answer: its status, and its body.
type Answer = (u16, String);

impl Quic {
    fn new(gateway: &Gateway) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let endpoint = runtime.block_on(async { quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()) });
        let address = (Ipv4Addr::LOCALHOST, gateway.port).into();
        Self { runtime, endpoint: endpoint.expect("a socket"), address }
    }

    /// Shakes hands under `name`, and asks for `/` of each of these hosts.
    fn ask(&self, tls: &Arc<ClientConfig>, name: &str, hosts: &[&str]) -> Result<Vec<Answer>, String> {
        let mut tls = ClientConfig::clone(tls);
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a suite")));
        let asking = async {
            let connecting = self.endpoint.connect_with(config, self.address, name).expect("a name");
            let connection = connecting.await.map_err(|error| error.to_string())?;
            let connection = h3_quinn::Connection::new(connection);
            let (mut driver, mut send) =
                h3::client::new(connection).await.map_err(|error| error.to_string())?;
            let driver =
                tokio::spawn(
                    async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await.to_string() },
                );
            let mut answers = Vec::new();
            for host in hosts {
                let request = http::Request::get(format!("https://{host}/")).body(()).expect("a request");
                answers.push(answer(&mut send, request).await.map_err(|error| error.to_string())?);
            }
            drop(send);
            drop(driver);
            Ok(answers)
        };
        self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err("nothing came".to_owned()))
        })
    }

    /// The same, for one answer.
    fn get(&self, tls: &Arc<ClientConfig>, name: &str, host: &str) -> Result<Answer, String> {
        self.ask(tls, name, &[host]).map(|mut answers| answers.remove(0))
    }
}

async fn answer(
    send: &mut h3::client::SendRequest<h3_quinn::OpenStreams, bytes::Bytes>,
    request: http::Request<()>,
) -> Result<Answer, h3::error::StreamError> {
    let mut stream = send.send_request(request).await?;
    stream.finish().await?;
    let head = stream.recv_response().await?;
    assert!(!head.headers().contains_key("alt-svc"), "who has come knows the way");
    let mut text = String::new();
    while let Some(mut part) = stream.recv_data().await? {
        text.push_str(&String::from_utf8_lossy(&part.copy_to_bytes(part.remaining())));
    }
    Ok((head.status().as_u16(), text))
}

fn offer(port: u16) -> String {
    format!("Alt-Svc: h3=\":{port}\"; ma=2592000\r\n")
}

#[test]
fn other_versions_tell_of_it_unless_that_is_taken_back() {
    let site = "\trespond \"hello {host}\"\n";
    let others = "\t@wild host a.wild.test\n\theader @wild -Alt-Svc\n\t@ip host 127.0.0.1\n\terror @ip 418\n";
    let gateway = Gateway::start(&INTERNAL.replace(site, &format!("{others}{site}")), &[]);
    let answer = gateway.ask(&gateway.client(), "localhost", "localhost").unwrap();
    assert!(answer.text.contains(&offer(gateway.port)), "{}", answer.text);
    for (host, status, is_told) in [("a.wild.test", 200, false), ("127.0.0.1", 418, true)] {
        let answer = gateway.ask(&gateway.client(), host, host).unwrap();
        assert_eq!((answer.status, answer.text.contains(&offer(gateway.port))), (status, is_told), "{host}");
    }
    // Plain HTTP's server speaks no HTTP/3.
    assert!(!get(gateway.http_port, "/", &[]).unwrap().text.contains("Alt-Svc"));
    let quic = Quic::new(&gateway);
    let hosts = ["localhost", "a.wild.test"];
    for name in hosts {
        assert_eq!(quic.get(&gateway.client(), name, name).unwrap(), (200, format!("hello {name}")));
    }
    assert!(quic.get(&gateway.client(), "other.test", "other.test").is_err(), "no certificate");
}

#[test]
fn client_certificates_count_as_over_tcp() {
    let (a, b, own) = (pair(&["a.test"]), pair(&["b.test"]), pair(&["client.test"]));
    let files =
        [("a.crt", a.0.as_str()), ("a.key", &a.1), ("b.crt", &b.0), ("b.key", &b.1), ("client.crt", &own.0)];
    let gateway = Gateway::start(GIVEN, &files);
    let quic = Quic::new(&gateway);
    let root = CertificateDer::from_pem_slice(b.0.as_bytes()).unwrap();
    let (open, bare) = (trusting(&a.0), trusting(&b.0));
    let (known, stranger) = (client(&root, Some(&own)), client(&root, Some(&a)));
    // Twice each: a session that is resumed lets nobody in either.
    for _ in 0..2 {
        assert_eq!(quic.get(&open, "a.test", "a.test").unwrap(), (200, "site a".to_owned()));
        assert_eq!(quic.get(&known, "b.test", "b.test").unwrap(), (200, "site b".to_owned()));
        let refused = quic.get(&bare, "b.test", "b.test").unwrap_err();
        assert!(refused.to_lowercase().contains("certificate"), "{refused}");
        let refused = quic.get(&stranger, "b.test", "b.test").unwrap_err();
        assert_ne!(refused, "nothing came");
        // Who shook hands for one site gets no other: else the certificate could be left out.
        assert_eq!(quic.ask(&open, "a.test", &["b.test", "a.test"]).unwrap()[0].0, 421);
        assert!(quic.get(&open, "c.test", "a.test").is_err(), "an unknown name");
    }
}

#[test]
fn its_requests_are_logged_and_named() {
    let site = "\trespond \"{http.request.proto} {http.request.tls.proto} {http.request.tls.resumed} \
                {http.request.tls.cipher_suite} {http.request.local.port} {remote_host}\"\n";
    let log = "\tlog {\n\t\toutput file access.log\n\t}\n";
    let gateway = Gateway::start(
        &INTERNAL
            .replace("\trespond \"hello {host}\"\n", &format!("{log}{site}"))
            .replace("https://*.wild.test:{PORT}, ", ""),
        &[],
    );
    let quic = Quic::new(&gateway);
    let tls = gateway.client();
    let (_, first) = quic.get(&tls, "localhost", "localhost").unwrap();
    assert!(first.starts_with("HTTP/3.0 h3 false TLS_"), "{first}");
    assert!(first.ends_with(&format!(" {} 127.0.0.1", gateway.port)), "{first}");
    let (_, second) = quic.get(&tls, "localhost", "localhost").unwrap();
    assert!(second.starts_with("HTTP/3.0 h3 true TLS_"), "{second}");
    let path = gateway.path("access.log");
    let line = eventually("an entry", || {
        let text = fs::read_to_string(&path).ok()?;
        text.lines().nth(1).map(str::to_owned)
    });
    let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(entry["request"]["proto"], "HTTP/3.0");
    assert_eq!(entry["request"]["tls"]["proto"], "h3");
    assert_eq!((&entry["status"], &entry["size"]), (&200.into(), &second.len().into()));
}

#[test]
fn a_reload_opens_and_closes_it() {
    let without = INTERNAL.replacen('{', "{\n\tservers {\n\t\tprotocols h1 h2\n\t}", 1);
    let only = INTERNAL.replacen('{', "{\n\tservers {\n\t\tprotocols h3\n\t}", 1);
    let gateway = Gateway::start(&without, &[]);
    let tls = gateway.client();
    let told =
        || gateway.ask(&tls, "localhost", "localhost").map(|answer| answer.text.contains("Alt-Svc")).ok();
    let speaks = || {
        let answer = Quic::new(&gateway).get(&tls, "localhost", "localhost");
        answer.is_ok_and(|(status, _)| status == 200)
    };
    assert_eq!(told(), Some(false));
    assert!(gateway.reload(INTERNAL).status.success());
    assert_eq!((told(), speaks()), (Some(true), true));
    assert!(gateway.reload(&only).status.success());
    assert!(speaks());
    eventually("TCP is closed", || told().is_none().then_some(()));
    assert!(gateway.reload(INTERNAL).status.success());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!((told(), speaks()), (Some(true), true));
}

/// Allows names that begin with `ok`, each after a moment.
fn doorkeeper() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.expect("a connection");
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).expect("a request");
                std::thread::sleep(Duration::from_millis(700));
                let status = if line.contains("domain=ok") { "200 OK" } else { "403 Forbidden" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    port
}

#[test]
fn handshakes_wait_for_a_certificate_as_over_tcp() {
    let caddyfile = format!(
        "{{\n\tskip_install_trust\n\thttp_port {{HTTP_PORT}}\n\ton_demand_tls {{\n\t\task http://127.0.0.1:{}/ask\n\t}}\n}}\n\
         https://:{{PORT}} {{\n\tbind 127.0.0.1\n\ttls internal {{\n\t\ton_demand\n\t}}\n\trespond \"hello {{host}}\"\n}}\n",
        doorkeeper()
    );
    let gateway = Gateway::start(&caddyfile, &[]);
    let tls = gateway.client();
    // More than wait before addresses have to be proven, and each name for several clients.
    std::thread::scope(|scope| {
        for at in 0..60 {
            let (gateway, tls) = (&gateway, &tls);
            scope.spawn(move || {
                let name = format!("ok{}.test", at % 20);
                let answer = Quic::new(gateway).get(tls, &name, &name);
                assert_eq!(answer, Ok((200, format!("hello {name}"))));
            });
        }
    });
    let begin = Instant::now();
    let refused = Quic::new(&gateway).get(&tls, "no.test", "no.test").unwrap_err();
    assert_ne!(refused, "nothing came");
    assert!(begin.elapsed() > Duration::from_millis(500), "it was asked for: {refused}");
}
