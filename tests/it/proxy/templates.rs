//! Answers of upstreams that are templates, with files and requests of their own.

use super::{Gateway, Peer, Upstream, field};

/// Answers with a template that asks for what the path says.
fn pages(peer: &mut Peer, tell: &std::sync::mpsc::SyncSender<String>) {
    loop {
        let head = peer.head();
        let Some(path) = head.split(' ').nth(1).map(str::to_owned) else { return };
        _ = tell.send(head);
        let (kind, page) = match path.as_str() {
            "/page" => {
                ("text/html", "<{{.Req.Method}} {{.Req.Header.Get \"X-In\"}} {{httpInclude \"/part?x=1\"}}>")
            }
            "/data" => ("application/json", "{{.Req.Method}}"),
            "/broken" => ("text/html", "{{.Nope"),
            "/gone" => ("text/html", "{{httpError 410}}"),
            "/endless" => ("text/html", "{{range 1000000000}}{{end}}"),
            "/circle" => ("text/html", "{{httpInclude \"/circle\"}}"),
            _ => ("text/html", "?"),
        };
        peer.send(&format!(
            "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        ));
    }
}

fn gateway(upstream: &Upstream) -> Gateway {
    Gateway::with(&format!(
        "root * .\ntemplates\nrespond /part* `part of {{{{.Req.URL.Path}}}} {{query.x}} {{{{fileExists \"Caddyfile\"}}}}`\nreverse_proxy 127.0.0.1:{}",
        upstream.port
    ))
}

#[test]
fn an_upstreams_page_is_filled_in() {
    let upstream = Upstream::playing(pages);
    let answer = gateway(&upstream).get("/page", "X-In: in\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n<GET in part of /part 1 true>"), "{answer}");
    assert_eq!((field(&answer, "etag"), field(&answer, "last-modified")), (None, None), "{answer}");
}

#[test]
fn other_answers_are_left_alone() {
    let upstream = Upstream::playing(pages);
    let answer = gateway(&upstream).get("/data", "");
    assert!(answer.ends_with("\r\n\r\n{{.Req.Method}}"), "{answer}");
    assert_eq!(field(&answer, "etag"), Some("\"1\""), "{answer}");
}

#[test]
fn what_is_broken_or_without_end_is_an_error() {
    let upstream = Upstream::playing(pages);
    let gateway = gateway(&upstream);
    // On one connection, whose framing has to stay sound.
    let mut client = gateway.connect();
    for (path, status) in
        [("/broken", 500), ("/gone", 410), ("/endless", 500), ("/circle", 500), ("/page", 200)]
    {
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    let circles = upstream.heads.try_iter().filter(|head| head.starts_with("GET /circle ")).count();
    assert_eq!(circles, 4, "the first, and three within");
}
