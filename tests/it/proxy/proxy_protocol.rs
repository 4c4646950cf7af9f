//! The PROXY protocol, from clients and to upstreams, and `http_redirect`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::{Gateway, Upstream, field};
use crate::support::PATIENCE;

/// A gateway that tells who its client is, behind these listener wrappers.
fn behind(wrappers: &str) -> Gateway {
    Gateway::with_options(
        &format!("servers {{\nlistener_wrappers {{\n{wrappers}\n}}\n}}"),
        "respond \"{remote} at {http.request.local}\"",
    )
}

/// All that comes back for these bytes.
fn exchange(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A connection that is turned away may be reset.
    _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbb";

fn asked_with(gateway: &Gateway, header: &[u8]) -> String {
    exchange(gateway, &[header, REQUEST].concat())
}

#[test]
fn whoever_is_allowed_says_who_the_client_is() {
    let gateway = behind("proxy_protocol {\nallow 127.0.0.0/8\n}");
    for header in [V1, V2] {
        let answer = asked_with(&gateway, header);
        assert!(answer.ends_with("192.0.2.7:4711 at 198.51.100.1:443"), "{answer}");
    }
    for header in [&b""[..], b"PROXY UNKNOWN\r\n"] {
        let answer = asked_with(&gateway, header);
        assert!(answer.contains("\r\n\r\n127.0.0.1:"), "{answer}");
    }
    for header in [&b"PROXY TCP4 x y 1 2\r\n"[..], b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n"] {
        assert_eq!(asked_with(&gateway, header), "");
    }
}

#[test]
fn a_header_may_come_in_pieces_but_not_too_late() {
    let gateway = behind("proxy_protocol {\nallow 127.0.0.0/8\ntimeout 1s\n}");
    let mut client = gateway.connect();
    for part in [V1, REQUEST].concat().chunks(11) {
        client.send(std::str::from_utf8(part).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(client.answer().ends_with("192.0.2.7:4711 at 198.51.100.1:443"));
    let mut client = gateway.connect();
    client.send("PROXY TCP4 ");
    assert!(client.is_closed());
}

#[test]
fn the_policy_settles_what_others_may_say() {
    for (policy, without, with) in [
        ("", "127.0.0.1:", "127.0.0.1:"),
        ("fallback_policy ignore", "127.0.0.1:", "127.0.0.1:"),
        ("fallback_policy use", "127.0.0.1:", "192.0.2.7:4711 at"),
        ("fallback_policy require", "", "192.0.2.7:4711 at"),
        ("fallback_policy reject", "127.0.0.1:", ""),
        ("fallback_policy skip", "127.0.0.1:", "400 Bad Request"),
        ("allow 0.0.0.0/0\ndeny 127.0.0.1/32", "127.0.0.1:", ""),
        ("allow 192.0.2.0/24", "127.0.0.1:", "127.0.0.1:"),
    ] {
        let gateway = behind(&format!("proxy_protocol {{\n{policy}\n}}"));
        for (header, expected) in [(&b""[..], without), (V1, with)] {
            let answer = asked_with(&gateway, header);
            assert_eq!(answer.is_empty(), expected.is_empty(), "{policy}: {answer}");
            assert!(answer.contains(expected), "{policy}: {answer}");
        }
    }
}

#[test]
fn plain_http_is_redirected_where_tls_is_spoken() {
    let gateway = behind("http_redirect\ntls");
    let answer = exchange(&gateway, b"GET /a?b=c HTTP/1.1\r\nHost: h.test:81\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 308 Permanent Redirect\r\n"), "{answer}");
    assert_eq!(field(&answer, "location"), Some("https://h.test:81/a?b=c"));
    for bad in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b/c\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        assert_eq!(exchange(&gateway, bad.as_bytes()), "", "{bad}");
    }
}

#[test]
fn upstreams_are_told_who_the_client_is() {
    for (version, expected) in [
        ("v1", &b"PROXY TCP4 127.0.0.1 0.0.0.0 0 0\r\n"[..]),
        ("v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\0\0\0\0\0\0\0\0"),
    ] {
        let upstream = Upstream::playing(|peer, tell| {
            _ = tell.send(peer.start());
            loop {
                let head = peer.head();
                if head.is_empty() {
                    return;
                }
                _ = tell.send(head);
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        let gateway = Gateway::with(&format!(
            "reverse_proxy 127.0.0.1:{} {{\ntransport http {{\nproxy_protocol {version}\n}}\n}}",
            upstream.port
        ));
        let mut client = gateway.connect();
        for _ in 0..2 {
            client.send("GET /p HTTP/1.1\r\nHost: h\r\n\r\n");
            assert!(client.answer().ends_with("ok"));
        }
        assert_eq!(upstream.next_head().as_bytes(), expected);
        // It is said once for each connection, and the connection is kept for this client.
        assert!(upstream.next_head().starts_with("GET /p "));
        assert!(upstream.next_head().starts_with("GET /p "));
    }
}
