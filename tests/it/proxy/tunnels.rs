//! Connections that change their protocol.

use super::{Gateway, Upstream, field};

const ASK: &str = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Agrees to a change of protocol, sends something at once, and repeats what it gets.
fn echoing() -> Upstream {
    Upstream::playing(|peer, tell| {
        _ = tell.send(peer.head());
        peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst\n",
        );
        loop {
            match peer.line() {
                line if line.is_empty() || line == "bye\n" => return,
                line => peer.send(&line),
            }
        }
    })
}

#[test]
fn bytes_pass_both_ways_until_a_side_ends() {
    let upstream = echoing();
    let gateway = Gateway::with(&format!("reverse_proxy 127.0.0.1:{}", upstream.port));
    let mut client = gateway.connect();
    client.send(ASK);
    let seen = upstream.next_head();
    assert_eq!(field(&seen, "upgrade"), Some("websocket"), "{seen}");
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(client.line(), "first\n");
    for text in ["hello\n", "again\n"] {
        client.send(text);
        assert_eq!(client.line(), text);
    }
    client.send("bye\n");
    assert!(client.is_closed());
}

#[test]
fn what_is_said_before_the_protocol_is_agreed_on_goes_into_the_tunnel() {
    let upstream = echoing();
    let gateway = Gateway::with(&format!("reverse_proxy 127.0.0.1:{}", upstream.port));
    let mut client = gateway.connect();
    client.send(&format!("{ASK}early\n"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(client.line(), "first\n");
    assert_eq!(client.line(), "early\n");
}

#[test]
fn a_change_that_nobody_asked_for_is_a_bad_answer() {
    let upstream = echoing();
    let gateway = Gateway::with(&format!("reverse_proxy 127.0.0.1:{}", upstream.port));
    assert!(gateway.get("/", "").starts_with("HTTP/1.1 502 "));
    // Inside h2c, requests would meet no key check.
    let h2c =
        gateway.get("/", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n");
    assert!(h2c.starts_with("HTTP/1.1 502 "), "{h2c}");
    upstream.next_head();
    let seen = upstream.next_head();
    assert_eq!((field(&seen, "upgrade"), field(&seen, "http2-settings")), (None, None), "{seen}");
}

#[test]
fn a_tunnel_ends_when_its_time_is_up() {
    let upstream = echoing();
    let proxy = format!("reverse_proxy 127.0.0.1:{} {{\n\tstream_timeout 100ms\n}}", upstream.port);
    let gateway = Gateway::with(&proxy);
    let mut client = gateway.connect();
    client.send(ASK);
    client.head();
    assert_eq!(client.line(), "first\n");
    assert!(client.is_closed());
}
