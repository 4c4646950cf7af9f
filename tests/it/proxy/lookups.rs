//! Upstreams that are looked up, and the ways to reach them: DNS servers, addresses of ours, forward proxies.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{Gateway, Peer, Upstream, field};
use crate::support::{PATIENCE, eventually};

/// A DNS server that knows one host, `up.test`, at 127.0.0.1, and one service there, `_up._tcp.test`.
struct Dns {
    address: String,
    /// The service's port; 0 makes the server fail.
    port: Arc<AtomicU16>,
    questions: Arc<AtomicUsize>,
}

impl Dns {
    fn with_service(port: u16) -> Dns {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let port = Arc::new(AtomicU16::new(port));
        let questions = Arc::new(AtomicUsize::new(0));
        let (service, counter) = (port.clone(), questions.clone());
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                counter.fetch_add(1, Ordering::Relaxed);
                let answer = answer(&buffer[..length], service.load(Ordering::Relaxed));
                socket.send_to(&answer, from).unwrap();
            }
        });
        Dns { address, port, questions }
    }
}

fn answer(question: &[u8], port: u16) -> Vec<u8> {
    let question_end = question.len() - 11;
    let asked = &question[12..question_end];
    let records: Vec<(u8, Vec<u8>)> = if asked == b"\x02up\x04test\0\0\x01\0\x01" {
        vec![(1, vec![127, 0, 0, 1])]
    } else if asked == b"\x03_up\x04_tcp\x04test\0\0\x21\0\x01" && port > 0 {
        vec![(33, [&[0, 1, 0, 1][..], &port.to_be_bytes(), b"\x02up\x04test\0"].concat())]
    } else {
        Vec::new()
    };
    let code = if port == 0 && records.is_empty() { 0x82 } else { 0x80 };
    let mut out =
        [&question[..2], &[0x81, code, 0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]].concat();
    out.extend_from_slice(asked);
    for (kind, data) in records {
        out.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).unwrap()]);
        out.extend_from_slice(&data);
    }
    out
}

#[test]
fn named_dns_servers_are_asked_for_addresses() {
    let upstream = Upstream::echo();
    let dns = Dns::with_service(1);
    let (resolver, port) = (&dns.address, upstream.port);
    for site in [
        format!("reverse_proxy up.test:{port} {{\ntransport http {{\nresolvers {resolver}\n}}\n}}"),
        format!("reverse_proxy {{\ndynamic a up.test {port} {{\nresolvers {resolver}\n}}\n}}"),
    ] {
        let gateway = Gateway::with(&site);
        assert!(gateway.get("/", "").starts_with("HTTP/1.1 200 "), "{site}");
        assert!(dns.questions.swap(0, Ordering::Relaxed) > 0, "{site}");
        assert_eq!(field(&upstream.next_head(), "host"), Some("gate.test"));
    }
}

#[test]
fn a_service_is_followed_and_outlives_its_dns_server_for_a_while() {
    let (one, two) = (Upstream::echo(), Upstream::echo());
    let dns = Dns::with_service(one.port);
    let resolver = &dns.address;
    let gateway = Gateway::with(&format!(
        "reverse_proxy {{\ndynamic srv {{\nservice up\nproto tcp\nname test\nrefresh 200ms\ngrace_period 1h\n\
         resolvers {resolver}\n}}\ntransport http {{\nresolvers {resolver}\n}}\n}}"
    ));
    assert!(gateway.get("/", "").starts_with("HTTP/1.1 200 "));
    assert_eq!(one.requests(), 1);
    dns.port.store(two.port, Ordering::Relaxed);
    eventually("the other is asked", || {
        assert!(gateway.get("/", "").starts_with("HTTP/1.1 200 "));
        (two.requests() > 0).then_some(())
    });
    dns.port.store(0, Ordering::Relaxed);
    thread::sleep(std::time::Duration::from_millis(300));
    let asked = dns.questions.swap(0, Ordering::Relaxed);
    for _ in 0..5 {
        assert!(gateway.get("/", "").starts_with("HTTP/1.1 200 "));
    }
    assert!(asked > 0 && two.requests() >= 5);
}

#[test]
fn upstreams_see_the_address_that_was_chosen() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{port} {{\ntransport http {{\nlocal_address 127.0.0.5\n}}\n}}"
    ));
    let asking = thread::spawn(move || gateway.get("/", ""));
    let (stream, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), Ipv4Addr::new(127, 0, 0, 5));
    let mut upstream = Peer::new(stream);
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert!(asking.join().unwrap().starts_with("HTTP/1.1 200 "));
}

/// A forward proxy that takes `CONNECT`, whole URLs and SOCKS 5, and keeps what it was told.
struct ForwardProxy {
    port: u16,
    told: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    /// Tunnels lead to this port, wherever they are meant to.
    fn to(target: u16) -> ForwardProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = told.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let keep = keep.clone();
                thread::spawn(move || serve(stream, target, &keep));
            }
        });
        ForwardProxy { port, told }
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, target: u16, told: &Mutex<Vec<String>>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut first = [0];
    if stream.peek(&mut first).unwrap_or(0) == 0 {
        return;
    }
    if first[0] == 5 {
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [5, 2, 0, 2]);
        stream.write_all(&[5, 2]).unwrap();
        let mut login = [0; 7];
        stream.read_exact(&mut login).unwrap();
        assert_eq!(&login, b"\x01\x02me\x02pw");
        stream.write_all(&[1, 0]).unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[..4], [5, 1, 0, 3]);
        let mut rest = vec![0; usize::from(head[4]) + 2];
        stream.read_exact(&mut rest).unwrap();
        let port = rest.split_off(rest.len() - 2);
        let port = u16::from_be_bytes([port[0], port[1]]);
        told.lock().unwrap().push(format!("socks {}:{port}", String::from_utf8(rest).unwrap()));
        stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1]).unwrap();
        return tunnel(stream, target);
    }
    let mut peer = Peer::new(stream);
    loop {
        let head = peer.head();
        if head.is_empty() {
            return;
        }
        told.lock().unwrap().push(head.clone());
        if head.starts_with("CONNECT ") {
            if !head.contains("Proxy-Authorization: Basic bWU6cHc=\r\n") {
                return peer.send("HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n");
            }
            peer.send("HTTP/1.1 200 Connected\r\n\r\n");
            return tunnel(peer.reader.into_inner(), target);
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nvia");
    }
}

fn tunnel(client: TcpStream, target: u16) {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || _ = std::io::copy(&mut from, &mut to));
    let (mut from, mut to) = (server, client);
    _ = std::io::copy(&mut from, &mut to);
}

fn via(url: &str, upstream: &str) -> Gateway {
    Gateway::with(&format!("reverse_proxy {upstream} {{\ntransport http {{\nnetwork_proxy url {url}\n}}\n}}"))
}

#[test]
fn a_forward_proxy_reads_requests_that_are_in_the_clear() {
    let proxy = ForwardProxy::to(1);
    let gateway = via(&format!("http://me:pw@127.0.0.1:{}", proxy.port), "up.test:8080");
    for _ in 0..2 {
        let answer = gateway.get("/p?q", "Proxy-Authorization: Basic forged\r\n");
        assert!(answer.ends_with("via"), "{answer}");
    }
    for head in proxy.told() {
        assert!(head.starts_with("GET http://up.test:8080/p?q HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "host"), Some("gate.test"));
        assert_eq!(field(&head, "proxy-authorization"), Some("Basic bWU6cHc="));
    }
}

#[test]
fn a_forward_proxy_opens_a_tunnel_for_tls() {
    let proxy = ForwardProxy::to(1);
    let gateway = via(&format!("http://127.0.0.1:{}", proxy.port), "https://up.test:8443");
    assert!(gateway.get("/", "").starts_with("HTTP/1.1 502 "));
    let told = proxy.told();
    assert!(told[0].starts_with("CONNECT up.test:8443 HTTP/1.1\r\nHost: up.test:8443\r\n"), "{told:?}");
}

#[test]
fn a_socks_proxy_opens_a_tunnel_for_everything() {
    let upstream = Upstream::echo();
    let proxy = ForwardProxy::to(upstream.port);
    let gateway = via(&format!("socks5://me:pw@127.0.0.1:{}", proxy.port), "up.test:8080");
    for _ in 0..2 {
        assert!(gateway.get("/p", "").starts_with("HTTP/1.1 200 "));
        assert!(upstream.next_head().starts_with("GET /p HTTP/1.1\r\n"));
    }
    assert!(proxy.told().contains(&"socks up.test:8080".to_owned()));
}
