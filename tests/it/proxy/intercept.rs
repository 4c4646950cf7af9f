//! Answers that are replaced on their way: what becomes of the upstream's body, and of its connection.

use super::{Gateway, Peer, Upstream, field};

/// Answers by the path, as often as it is asked: `/error` with a status of 500 and five bytes, `/zip` with
/// what claims to be compressed, and `/slow` in three pieces, each after a line from the client.
fn by_path(peer: &mut Peer, tell: &std::sync::mpsc::SyncSender<String>) {
    _ = tell.send("connected".into());
    loop {
        let head = peer.head();
        match head.split(' ').nth(1) {
            Some("/error") => {
                peer.send("HTTP/1.1 500 Oops\r\nX-Up: 1\r\nContent-Length: 5\r\n\r\nwrong");
            }
            Some("/zip") => peer.send(
                "HTTP/1.1 503 Busy\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n\x1fzip",
            ),
            Some("/slow") => {
                peer.send("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n");
                for n in 0..3 {
                    peer.chunk();
                    peer.send(&format!("2\r\n{n}\n\r\n"));
                }
                peer.send("0\r\n\r\n");
                assert_eq!(peer.line(), "0\r\n");
                peer.head();
            }
            Some(_) => peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"),
            None => return,
        }
    }
}

fn gateway(upstream: &Upstream, inner: &str) -> Gateway {
    let port = upstream.port;
    Gateway::with(&format!("intercept {{\n{inner}\n}}\nreverse_proxy 127.0.0.1:{port}"))
}

#[test]
fn a_replaced_body_has_its_own_length_and_no_coding() {
    let upstream = Upstream::playing(by_path);
    let gateway = gateway(
        &upstream,
        "@e status 5xx\nhandle_response @e {\nrespond \"sorry, it said {resp.status_code}\" 502\n}",
    );
    for target in ["/error", "/zip"] {
        let answer = gateway.get(target, "");
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert_eq!(field(&answer, "content-encoding"), None, "{answer}");
        let said = if target == "/zip" { "503" } else { "500" };
        assert!(answer.ends_with(&format!("\r\n\r\nsorry, it said {said}")), "{answer}");
    }
    let answer = gateway.get("/error", "");
    assert_eq!((field(&answer, "x-up"), field(&answer, "via")), (Some("1"), Some("1.1 Caddy")), "{answer}");
    assert!(gateway.get("/", "").ends_with("\r\n\r\nok"));
}

#[test]
fn the_upstreams_connection_outlives_a_replaced_answer() {
    let upstream = Upstream::playing(by_path);
    let gateway = gateway(&upstream, "@e status 5xx\nhandle_response @e {\nrespond \"sorry\" 502\n}");
    let mut client = gateway.connect();
    for _ in 0..5 {
        client.send("GET /error HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.answer().ends_with("sorry"));
    }
    assert_eq!(upstream.requests(), 1, "connections");
}

#[test]
fn another_status_does_not_hold_the_body_up() {
    let upstream = Upstream::playing(by_path);
    for (inner, status) in [
        ("@missing status 404\nreplace_status @missing 410", "410"),
        ("@missing status 404\nhandle_response @missing {\nheader X-Seen {resp.status_code}\n}", "404"),
        ("@other status 200\nreplace_status @other 201", "404"),
    ] {
        let gateway = gateway(&upstream, inner);
        let mut client = gateway.connect();
        client.send("POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let head = client.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        // If anything on the way held pieces back, both sides would wait for each other.
        for n in 0..3 {
            client.send("1\r\nx\r\n");
            assert_eq!(client.chunk(), format!("{n}\n"));
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.line(), "0\r\n");
    }
}
