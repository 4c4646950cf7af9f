//! Requests that two servers in a row could read differently.

use super::*;

/// What an attacker wants to get past the gate, inside of something else.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n";
/// A request that goes before the doubtful part: line, host and key.
const POST: &str = "POST /first HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n";
/// What a well-behaved client asks next.
const NEXT: &str =
    "GET /next HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\nConnection: close\r\n\r\n";

/// Header lines that end in the empty one, each with a doubt about where the body ends.
const FRAMINGS: &[&str] = &[
    "Content-Length: 0\r\nContent-Length: 91\r\n\r\n",
    "Content-Length: 91\r\nContent-Length: 0\r\n\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "Content-Length: 0, 91\r\n\r\n",
    "Content-Length: 91,91\r\n\r\n",
    "Content-Length: +91\r\n\r\n",
    "Content-Length: -1\r\n\r\n",
    "Content-Length: 0x5b\r\n\r\n",
    "Content-Length: 9 1\r\n\r\n",
    "Content-Length: 91a\r\n\r\n",
    "Content-Length: \"91\"\r\n\r\n",
    "Content-Length:\r\n\r\n",
    "Content-Length: \r\n\r\n",
    "Content-Length: 18446744073709551616\r\n\r\n",
    "Content-Length: 18446744073709551707\r\n\r\n",
    "Content-Length: 9223372036854775808\r\n\r\n",
    "Content-Length : 91\r\n\r\n",
    " Content-Length: 91\r\n\r\n",
    "Content-Length:\x0b91\r\n\r\n",
    "Content-Length: 91\x00\r\n\r\n",
    "X: y\r\n Content-Length: 91\r\n\r\n",
    "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 91\r\n\r\n0\r\n\r\n",
    "Content-Length: 91\r\nTransfer-Encoding: identity\r\n\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: \r\n\r\nhello",
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked-x\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "X: y\r\n\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\n\r\n0\r\n\r\n",
    "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "X: y\r\n\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Content_Length: 91\r\nContent-Length: 0\r\n\n",
    "X: y\n\n",
    "X: y\r\n\n",
    "\x00: y\r\n\r\n",
    ": y\r\n\r\n",
    "no colon\r\n\r\n",
    "Host: other\r\n\r\n",
    "HOST: h\r\n\r\n",
];

/// Bodies behind `Transfer-Encoding: chunked`, each with a doubt about where a chunk ends.
const CHUNKS: &[&str] = &[
    "0\n\r\n",
    "0\r\n\n",
    "0\r\n\r",
    "\r\n0\r\n\r\n",
    "-0\r\n\r\n",
    "+0\r\n\r\n",
    "0x0\r\n\r\n",
    " 0\r\n\r\n",
    "0 \r\n\r\n",
    "0\t\r\n\r\n",
    "g\r\n\r\n",
    ";a=b\r\n\r\n",
    "1\r\nab\r\n0\r\n\r\n",
    "1\r\na0\r\n\r\n",
    "1\r\na\n0\r\n\r\n",
    "1\r\na\r0\r\n\r\n",
    "2\r\na\r\n0\r\n\r\n",
    "1\na\r\n0\r\n\r\n",
    "1;x\na\r\n0\r\n\r\n",
    "1;x=\"\n\"\r\na\r\n0\r\n\r\n",
    "1;x\0\r\na\r\n0\r\n\r\n",
    "10000000000000000\r\na\r\n0\r\n\r\n",
    "ffffffffffffffff\r\na\r\n0\r\n\r\n",
    "0\r\nX: y\n\r\n",
    "0\r\nX: y\r\r\n\r\n",
    "0\r\n\rX: y\r\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 91\r\n\r\n\x01",
    "7fffffffffffffff0\r\na\r\n0\r\n\r\n",
    "8000000000000000\r\na\r\n0\r\n\r\n",
];

/// Requests of another kind whose end, or meaning, is in doubt.
const OTHERS: &[&str] = &[
    "GET /first HTTP/1.1\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET /first HTTP/1.1\r\nHost: a b\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET /first HTTP/1.1\r\nHost: h/\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET /first  HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET /first x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET\t/first\tHTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    " GET /first HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET /first HTTP/1.1 \r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET /first HTTP/01.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET /first\rHTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET /first HTTP/0.9\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET /first\r\n\r\n",
    "POST /first HTTP/1.0\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET http://u:p@h/first HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET http:///first HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET /%0d%0aX:%20y HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "GET /first?a=%0d%0a%0d%0a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n",
    "POST /first HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
    "POST /first HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "POST /first HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello",
    "GET /first HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\nConnection: Content-Length, Host\r\nContent-Length: 5\r\n\r\nhello",
    "HEAD /first HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\nContent-Length: 5\r\n\r\nhello",
];

fn corpus() -> Vec<String> {
    let framings = FRAMINGS.iter().map(|lines| format!("{POST}{lines}"));
    let chunks = CHUNKS.iter().map(|body| format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}"));
    let hiding: Vec<_> = framings.chain(chunks).map(|request| request + HIDDEN).collect();
    hiding.into_iter().chain(OTHERS.iter().map(ToString::to_string)).collect()
}

#[test]
fn nothing_hidden_comes_through_and_the_next_request_is_not_spoiled() {
    let upstream = Strict::start();
    let gate = Gate::start(upstream.port, KEY);
    let corpus = corpus();
    assert!(corpus.len() >= 60);
    for request in corpus {
        for step in [usize::MAX, 1, 31] {
            let mut client = gate.connect();
            let both = format!("{request}{NEXT}");
            for piece in both.as_bytes().chunks(step.min(both.len())) {
                // The gate may have hung up already.
                if client.write_all(piece).is_err() {
                    break;
                }
            }
            let answers = read_all(&mut client);
            check(&request, &upstream.take(), &answers);
        }
    }
}

/// The upstream saw the first request at most once, then the next one at most once, both whole, and
/// the client got no answer that belongs to something else.
fn check(request: &str, seen: &[Result<Seen, String>], answers: &str) {
    let mut targets = Vec::new();
    for seen in seen {
        let seen = seen.as_ref().unwrap_or_else(|doubt| panic!("{request:?} came through as {doubt}"));
        assert!(!seen.target.contains("hidden"), "{request:?} came through");
        targets.push(if seen.target == "/next" { "next" } else { "first" });
    }
    let fine = [&[][..], &["first"], &["next"], &["first", "next"]];
    assert!(fine.contains(&&*targets), "{request:?} became {targets:?}");
    assert!(!answers.contains("hidden"), "{request:?} got {answers:?}");
    if answers.ends_with("/next") {
        assert_eq!(targets.last(), Some(&"next"), "{request:?} got {answers:?}");
    }
}

#[test]
fn other_clients_notice_nothing() {
    let upstream = Strict::start();
    let gate = Gate::start(upstream.port, KEY);
    for request in corpus() {
        let mut attacker = gate.connect();
        let _ = attacker.write_all(request.as_bytes());
        // Whatever was read of that, the next client's connection to the upstream is clean.
        let answer = gate.ask(NEXT.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("/next"), "{request:?}: {answer}");
    }
    assert!(upstream.take().iter().all(Result::is_ok));
}
