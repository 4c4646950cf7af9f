//! Several upstreams: which one gets a request, and what happens when one fails.

use super::{Gateway, Upstream, field};
use crate::support::{eventually, free_port};

#[test]
fn upstreams_take_turns_and_who_refuses_is_left_out() {
    let (one, two) = (Upstream::echo(), Upstream::echo());
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{} 127.0.0.1:{} 127.0.0.1:{} {{\n\tlb_policy round_robin\n\tlb_retries 2\n\tfail_duration 1h\n}}",
        one.port,
        free_port(),
        two.port
    ));
    for _ in 0..6 {
        assert!(gateway.get("/", "").starts_with("HTTP/1.1 200 "));
    }
    assert_eq!((one.requests(), two.requests()), (3, 3));
}

#[test]
fn an_upstream_that_is_down_is_502_first_and_then_503() {
    let gateway =
        Gateway::with(&format!("reverse_proxy 127.0.0.1:{} {{\n\tfail_duration 1h\n}}", free_port()));
    assert!(gateway.get("/", "").starts_with("HTTP/1.1 502 "));
    assert!(gateway.get("/", "").starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_slow_client_makes_no_slow_upstream() {
    let upstream = Upstream::echo();
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{} {{\n\trequest_buffers 1MB\n\tfail_duration 1h\n\tunhealthy_latency 1s\n}}",
        upstream.port
    ));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo");
    std::thread::sleep(std::time::Duration::from_millis(1200));
    client.send("dy");
    assert!(client.answer().starts_with("HTTP/1.1 200 "));
    assert!(gateway.get("/", "").starts_with("HTTP/1.1 200 "));
}

/// Answers one request on a connection, and then ends it at the next one without a word.
fn one_and_no_more() -> Upstream {
    Upstream::playing(|peer, tell| {
        let head = peer.head();
        if head.is_empty() {
            return;
        }
        _ = tell.send(head);
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok");
        let next = peer.head();
        if !next.is_empty() {
            _ = tell.send(next);
        }
    })
}

#[test]
fn a_kept_connection_that_died_costs_nothing_but_is_no_reason_to_send_twice() {
    let upstream = one_and_no_more();
    // With retries by configuration, a GET finds a new connection, and a POST is not sent again.
    let gateway = Gateway::with(&format!("reverse_proxy 127.0.0.1:{} {{\n\tlb_retries 2\n}}", upstream.port));
    let mut client = gateway.connect();
    let mut ask = |method: &str| {
        client.send(&format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
        client.answer()
    };
    assert!(ask("GET").starts_with("HTTP/1.1 200 "));
    upstream.next_head();
    assert!(ask("GET").starts_with("HTTP/1.1 200 "));
    // The second one died with the kept connection and went out once more.
    assert_eq!(upstream.requests(), 2);
    let posted = ask("POST");
    assert!(posted.starts_with("HTTP/1.1 502 "), "{posted}");
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn a_body_survives_an_upstream_that_cannot_be_reached() {
    let upstream = Upstream::echo();
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{} 127.0.0.1:{} {{\n\tlb_policy first\n\tlb_retries 1\n\tfail_duration 1h\n}}",
        free_port(),
        upstream.port
    ));
    let answer = gateway.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nkept");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(field(&upstream.next_head(), "content-length"), Some("4"));
}

#[test]
fn an_upstream_that_is_ill_gets_no_requests() {
    let ill = Upstream::playing(|peer, tell| {
        while !peer.head().is_empty() {
            _ = tell.send(String::new());
            peer.send("HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let well = Upstream::echo();
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{} 127.0.0.1:{} {{\n\tlb_policy first\n\thealth_uri /health\n\thealth_interval 20ms\n}}",
        ill.port, well.port
    ));
    ill.next_head();
    let checked = well.next_head();
    assert!(checked.starts_with("GET /health HTTP/1.1\r\n"), "{checked}");
    eventually("the ill one is left out", || gateway.get("/", "").starts_with("HTTP/1.1 200 ").then_some(()));
    assert!(gateway.get("/again", "").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_full_upstream_gets_no_more_requests() {
    let (one, two) = (
        Upstream::playing(|peer, tell| {
            let head = peer.head();
            if !head.is_empty() {
                _ = tell.send(head);
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                peer.is_closed();
            }
        }),
        Upstream::echo(),
    );
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{} 127.0.0.1:{} {{\n\tlb_policy first\n\tunhealthy_request_count 1\n}}",
        one.port, two.port
    ));
    let mut long = gateway.connect();
    long.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(long.head().starts_with("HTTP/1.1 200 "));
    assert!(gateway.get("/short", "").starts_with("HTTP/1.1 200 "));
    assert!(two.next_head().starts_with("GET /short "));
    assert_eq!(one.requests(), 1);
}
