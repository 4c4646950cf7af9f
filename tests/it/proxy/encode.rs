//! Answers that are compressed on their way: when their pieces arrive, and what becomes of everything around them.

use std::io::Read as _;

use super::{Gateway, Peer, Upstream, field};

/// Answers by the path: `/event-stream` and `/x-ndjson` with lines, each after a piece from the
/// client, and trailers; `/event` with one whose length is known, `/zip` with what is compressed already,
/// `/cut` with less than announced, `/slow` with the start of a long text, `/head` with what a long text's
/// head says, and the rest with that text.
fn by_path(peer: &mut Peer, tell: &std::sync::mpsc::SyncSender<String>) {
    loop {
        let head = peer.head();
        _ = tell.send(head.clone());
        let long = "compress me. ".repeat(1000);
        let length = long.len();
        let plain = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
        match head.split(' ').nth(1) {
            Some(lines @ ("/event-stream" | "/x-ndjson")) => {
                let kind = if lines == "/x-ndjson" { "application" } else { "text" };
                peer.send(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}{lines}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n",
                ));
                for n in 0..3 {
                    peer.chunk();
                    peer.send(&format!("9\r\ndata: {n}\n\n\r\n"));
                }
                peer.send("0\r\nX-Sum: 3\r\n\r\n");
                assert!(peer.is_closed());
                return;
            }
            Some("/event") => peer.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: 1\n\n",
            ),
            Some("/zip") => {
                peer.send(&format!("{plain}Content-Encoding: br\r\nContent-Length: {length}\r\n\r\n{long}"))
            }
            Some("/cut") => {
                peer.send(&format!("{plain}Content-Length: {}\r\n\r\n{long}", 2 * length));
                return;
            }
            Some("/slow") => {
                peer.send(&format!("{plain}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{long}\r\n"));
                assert!(peer.is_closed());
                _ = tell.send("left".into());
                return;
            }
            Some("/head") => peer.send(&format!("{plain}Content-Length: {length}\r\nETag: \"a\"\r\n\r\n")),
            Some(_) => peer.send(&format!("{plain}Content-Length: {length}\r\nETag: \"a\"\r\n\r\n{long}")),
            None => return,
        }
    }
}

fn gateway(upstream: &Upstream, directives: &str) -> Gateway {
    Gateway::with(&format!("{directives}\nreverse_proxy 127.0.0.1:{}", upstream.port))
}

/// A chunk's data; empty for the last one.
fn chunk(peer: &mut Peer) -> Vec<u8> {
    let size = usize::from_str_radix(peer.line().trim_end(), 16).unwrap();
    let mut data = vec![0; size];
    peer.reader.read_exact(&mut data).unwrap();
    if size > 0 {
        peer.bytes(2);
    }
    data
}

/// What `packed` says as far as it goes.
fn unpacked(coding: &str, packed: &[u8]) -> String {
    let mut reader: Box<dyn std::io::Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(packed)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(packed).unwrap()),
        _ => Box::new(brotli::Decompressor::new(packed, 4096)),
    };
    let (mut text, mut piece) = (Vec::new(), [0; 1000]);
    while let Ok(n @ 1..) = reader.read(&mut piece) {
        text.extend_from_slice(&piece[..n]);
    }
    String::from_utf8(text).unwrap()
}

/// Head and unpacked body of the answer to a GET.
fn get(gateway: &Gateway, target: &str, accept: &str, more: &str) -> (String, String) {
    let mut client = gateway.connect();
    client.send(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {accept}\r\n{more}\r\n"));
    let head = client.head();
    let mut body = Vec::new();
    match field(&head, "content-length") {
        Some(length) => {
            body.resize(length.parse().unwrap(), 0);
            client.reader.read_exact(&mut body).unwrap();
        }
        None => loop {
            let data = chunk(&mut client);
            if data.is_empty() {
                break;
            }
            body.extend_from_slice(&data);
        },
    }
    let text = match field(&head, "content-encoding") {
        Some(coding @ ("gzip" | "zstd")) => unpacked(coding, &body),
        _ => String::from_utf8(body).unwrap(),
    };
    (head, text)
}

#[test]
fn an_event_or_a_line_can_be_read_before_the_next_one_is_sent_and_trailers_pass() {
    let upstream = Upstream::playing(by_path);
    let codings = ["gzip", "zstd", "br"];
    for (coding, path) in
        codings.into_iter().flat_map(|coding| [(coding, "event-stream"), (coding, "x-ndjson")])
    {
        let directives =
            format!("encode {{\n{coding}\nminimum_length 8\nmatch header Content-Type */{path}\n}}");
        let gateway = gateway(&upstream, &directives);
        let mut client = gateway.connect();
        client.send(&format!(
            "POST /{path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        // The head of events leaves at once, that of lines with the first one.
        let head_before = if path == "event-stream" { client.head() } else { String::new() };
        let (mut packed, mut expected) = (Vec::new(), String::new());
        for n in 0..3 {
            client.send("1\r\nx\r\n");
            if n == 0 {
                let head = if head_before.is_empty() { client.head() } else { head_before.clone() };
                assert_eq!(field(&head, "content-encoding"), Some(coding), "{head}");
                assert_eq!(field(&head, "content-length"), None, "{head}");
            }
            expected += &format!("data: {n}\n\n");
            while unpacked(coding, &packed) != expected {
                packed.extend_from_slice(&chunk(&mut client));
            }
        }
        client.send("0\r\n\r\n");
        // The end of the compressed stream may come by itself.
        let mut line = client.line();
        while line != "0\r\n" {
            client.skip(usize::from_str_radix(line.trim_end(), 16).unwrap_or(0) + 2);
            line = client.line();
        }
        assert_eq!(client.head().to_lowercase(), "x-sum: 3\r\n\r\n", "the trailers");
    }
}

#[test]
fn a_short_result_has_its_length() {
    let upstream = Upstream::playing(by_path);
    let gateway = gateway(&upstream, "encode");
    let (head, text) = get(&gateway, "/", "gzip", "");
    assert_eq!(text, "compress me. ".repeat(1000));
    assert_eq!(field(&head, "etag"), Some("\"a-gzip\""));
    let length: usize = field(&head, "content-length").unwrap().parse().unwrap();
    assert!(length < 2048, "{head}");
    assert!(
        upstream.next_head().contains("Accept-Encoding: gzip\r\n"),
        "the upstream sees what the client wants"
    );
    let (head, _) = get(&gateway, "/", "zstd", "If-None-Match: \"a-zstd\"\r\n");
    assert_eq!(field(&head, "content-encoding"), Some("zstd"));
    assert!(upstream.next_head().contains("If-None-Match: \"a\"\r\n"));
}

#[test]
fn an_upstreams_events_stay_a_stream() {
    let upstream = Upstream::playing(by_path);
    let gateway = gateway(&upstream, "encode");
    let (head, text) = get(&gateway, "/event", "gzip", "");
    assert_eq!(text, "data: 1\n\n");
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
}

#[test]
fn what_is_compressed_already_and_what_has_no_body_stays() {
    let upstream = Upstream::playing(by_path);
    let gateway = gateway(&upstream, "encode");
    let (head, text) = get(&gateway, "/zip", "gzip", "");
    assert_eq!(field(&head, "content-encoding"), Some("br"));
    assert_eq!(text, "compress me. ".repeat(1000));
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("HEAD /head HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        let head = client.head();
        assert_eq!(field(&head, "content-encoding"), Some("gzip"), "{head}");
        assert_eq!(field(&head, "etag"), Some("\"a-gzip\""), "{head}");
        assert_eq!(field(&head, "content-length"), None, "{head}");
        assert_eq!(field(&head, "transfer-encoding"), None, "{head}");
    }
}

#[test]
fn an_answer_cut_short_is_not_passed_off_as_whole() {
    let upstream = Upstream::playing(by_path);
    let gateway = gateway(&upstream, "encode");
    let mut client = gateway.connect();
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let mut rest = String::new();
    let head = client.head();
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
    let packed = chunk(&mut client);
    assert!(unpacked("gzip", &packed).starts_with("compress me. "));
    _ = client.reader.read_to_string(&mut rest);
    assert!(!rest.ends_with("0\r\n\r\n"), "{rest:?}");
}

#[test]
fn a_client_that_leaves_ends_the_upstreams_request() {
    let upstream = Upstream::playing(by_path);
    let gateway = gateway(&upstream, "encode");
    let mut client = gateway.connect();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    client.head();
    assert!(unpacked("gzip", &chunk(&mut client)).starts_with("compress me. "));
    upstream.next_head();
    drop(client);
    assert_eq!(upstream.next_head(), "left");
}

#[test]
fn it_goes_with_what_else_looks_at_answers() {
    let upstream = Upstream::playing(by_path);
    let (long, tag) = ("x".repeat(600), "{{.Req.Method}}");
    let gateway = gateway(
        &upstream,
        &format!(
            "encode gzip\nheader >X-Late 1\nheader >X-Coded {{http.response.header.Content-Encoding}}\n\
             handle /intercepted {{\nintercept {{\nreplace_status 203\n}}\nreverse_proxy 127.0.0.1:{port}\n}}\n\
             handle /replaced {{\nintercept {{\nhandle_response {{\nrespond {long} 202\n}}\n}}\nrespond x\n}}\n\
             handle /template {{\ntemplates\nrespond \"{tag}{long}\"\n}}\n\
             handle /failed {{\nerror 404\n}}\nhandle_errors {{\nrespond {long}\n}}",
            port = upstream.port
        ),
    );
    for (target, status, coding, expected) in [
        ("/intercepted", "203", Some("gzip"), "compress me. ".repeat(1000)),
        ("/replaced", "202", Some("gzip"), long.clone()),
        ("/template", "200", Some("gzip"), format!("GET{long}")),
        ("/failed", "404", None, long.clone()),
        ("/", "200", Some("gzip"), "compress me. ".repeat(1000)),
    ] {
        let (head, text) = get(&gateway, target, "gzip", "");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {head}");
        assert_eq!(field(&head, "content-encoding"), coding, "{target}: {head}");
        assert_eq!(text, expected, "{target}");
        assert_eq!(field(&head, "x-late").is_some(), target != "/failed", "{target}: {head}");
    }
}
