//! Bodies pass as they come, both ways, and who leaves is noticed.

use super::{Gateway, Peer, Upstream, field};

/// Sends three lines, each only when the client has asked for it on a second connection... which is
/// this: the upstream waits for a byte of the request's body before each.
fn line_by_line(peer: &mut Peer, tell: &std::sync::mpsc::SyncSender<String>) {
    let head = peer.head();
    if head.is_empty() {
        return;
    }
    _ = tell.send(head);
    peer.send("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
    for n in 0..3 {
        peer.chunk();
        peer.send(&format!("2\r\n{n}\n\r\n"));
    }
    peer.send("0\r\nX-Sum: 3\r\n\r\n");
}

#[test]
fn each_piece_passes_when_it_comes_in_either_direction() {
    let upstream = Upstream::playing(line_by_line);
    let gateway = Gateway::with(&format!("reverse_proxy 127.0.0.1:{}", upstream.port));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    // If anything on the way held pieces back, both sides would wait for each other.
    for n in 0..3 {
        client.send("1\r\nx\r\n");
        assert_eq!(client.chunk(), format!("{n}\n"));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.line(), "0\r\n");
    assert_eq!(client.head().to_lowercase(), "x-sum: 3\r\n\r\n", "the trailers");
}

/// Says what it does by its heads: `begun` after a first piece, `left` when the other side has gone.
fn endless(peer: &mut Peer, tell: &std::sync::mpsc::SyncSender<String>) {
    let head = peer.head();
    if head.is_empty() {
        return;
    }
    if head.starts_with("GET /begin ") {
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n");
    }
    _ = tell.send("begun".into());
    assert!(peer.is_closed());
    _ = tell.send("left".into());
}

#[test]
fn a_client_that_leaves_ends_the_upstreams_request() {
    let upstream = Upstream::playing(endless);
    let gateway = Gateway::with(&format!("reverse_proxy 127.0.0.1:{}", upstream.port));
    for target in ["/begin", "/think"] {
        let mut client = gateway.connect();
        client.send(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(upstream.next_head(), "begun", "{target}");
        drop(client);
        assert_eq!(upstream.next_head(), "left", "{target}");
    }
}

#[test]
fn an_answer_cut_short_is_not_passed_off_as_whole() {
    let upstream = Upstream::playing(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nonly this");
    });
    let gateway = Gateway::with(&format!("reverse_proxy 127.0.0.1:{}", upstream.port));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(field(&client.head(), "content-length"), Some("100"));
    assert_eq!(client.bytes(9), "only this");
    assert!(client.is_closed());
}

#[test]
fn a_large_body_that_is_refused_early_leaves_the_upstream_alone() {
    let upstream = Upstream::playing(|peer, tell| {
        let head = peer.head();
        if !head.is_empty() {
            _ = tell.send(head);
            // It answers before it has read the body, as for a body that is too large.
            peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let gateway = Gateway::with(&format!("reverse_proxy 127.0.0.1:{}", upstream.port));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin");
    assert!(client.head().starts_with("HTTP/1.1 413 "));
    // What the client still sends must not be taken for a request.
    assert!(client.is_closed());
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn early_hints_pass_before_the_answer() {
    let upstream = Upstream::playing(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\nConnection: close\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok");
    });
    let gateway = Gateway::with(&format!("reverse_proxy 127.0.0.1:{}", upstream.port));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let interim = client.head();
    assert!(interim.starts_with("HTTP/1.1 103 ") && !interim.contains("close"), "{interim}");
    assert_eq!(field(&interim, "link"), Some("</s.css>"));
    assert!(client.answer().ends_with("\r\n\r\nok"));
}
