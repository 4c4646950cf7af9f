//! A client that leaves frees the upstream, whatever the gateway is waiting for and whatever both speak.

use std::io::{BufRead as _, Read as _, Write as _};
use std::sync::mpsc::SyncSender;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Gateway, Peer, Upstream};

/// Within this time an upstream is told. The goal is 50 ms; a busy machine gets more.
const SOON: Duration = Duration::from_millis(500);

/// Frames of HTTP/2 (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The client leaves once the upstream says that it has begun; how long it takes until that is told.
fn time_to_tell(upstream: &Upstream, client: Peer) -> Duration {
    assert_eq!(upstream.next_head(), "begun");
    let began = Instant::now();
    drop(client);
    assert_eq!(upstream.next_head(), "left");
    let time = began.elapsed();
    eprintln!("told after {time:?}");
    time
}

fn asking(gateway: &Gateway, request: &str) -> Peer {
    let mut client = gateway.connect();
    client.send(request);
    client
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const UPLOAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";

/// Takes whatever comes, and answers nothing.
fn silent(peer: &mut Peer, tell: &SyncSender<String>) {
    if peer.reader.fill_buf().is_ok_and(|begin| !begin.is_empty()) {
        _ = tell.send("begun".into());
        while !peer.is_closed() {}
        _ = tell.send("left".into());
    }
}

#[test]
fn while_hands_are_shaken_with_the_upstream() {
    let upstream = Upstream::playing(silent);
    let gateway = Gateway::with(&format!("reverse_proxy https://127.0.0.1:{}", upstream.port));
    for request in [GET, UPLOAD] {
        let time = time_to_tell(&upstream, asking(&gateway, request));
        assert!(time < SOON, "{time:?}");
    }
}

#[test]
fn behind_compression_and_buffers() {
    let upstream = Upstream::playing(silent);
    let gateway = Gateway::with(&format!(
        "encode gzip\nreverse_proxy 127.0.0.1:{} {{\nrequest_buffers 1k\nresponse_buffers 1k\n}}",
        upstream.port
    ));
    let head = "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
    let time = time_to_tell(&upstream, asking(&gateway, head));
    assert!(time < SOON, "{time:?}");
}

#[test]
fn between_attempts() {
    let upstream = Upstream::playing(|peer, tell| _ = tell.send(peer.head()));
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{} {{\nlb_try_duration 30s\nlb_try_interval 150ms\n}}",
        upstream.port
    ));
    let client = asking(&gateway, GET);
    upstream.next_head();
    upstream.next_head();
    drop(client);
    // One may have been on its way.
    sleep(Duration::from_millis(100));
    upstream.requests();
    sleep(Duration::from_millis(600));
    assert_eq!(upstream.requests(), 0, "it is tried for nobody");
}

#[test]
fn while_others_have_all_connections() {
    let upstream = Upstream::playing(|peer, tell| {
        let head = peer.head();
        _ = tell.send(head.lines().next().unwrap_or_default().to_owned());
        // Goes on when its client has left.
        _ = peer.is_closed();
    });
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{} {{\ntransport http {{\nmax_conns_per_host 1\n}}\n}}",
        upstream.port
    ));
    // Workers count by themselves, so not every one of these waits.
    let clients: Vec<_> =
        (0..16).map(|_| asking(&gateway, "GET /first HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    upstream.next_head();
    sleep(Duration::from_millis(200));
    drop(clients);
    sleep(Duration::from_millis(200));
    upstream.requests();
    let _last = asking(&gateway, "GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.next_head(), "GET /last HTTP/1.1", "nobody who has left is asked for before");
}

/// A frame: its kind, its flags, and the stream that it is about.
fn frame(peer: &mut Peer) -> Option<(u8, u8, u8)> {
    let mut head = [0; 9];
    peer.reader.read_exact(&mut head).ok()?;
    let length = usize::from(head[1]) << 8 | usize::from(head[2]);
    peer.reader.read_exact(&mut vec![0; length]).ok()?;
    Some((head[3], head[4], head[8]))
}

fn send_frame(peer: &mut Peer, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
    let length = u8::try_from(payload.len()).unwrap();
    let head = [0, 0, length, kind, flags, 0, 0, 0, stream];
    _ = peer.reader.get_mut().write_all(&[&head[..], payload].concat());
}

/// Speaks HTTP/2 as far as it takes: waits for a request, or for the first of its body, answers the
/// beginning if it is to, and tells when the stream is given up.
fn http_2(peer: &mut Peer, tell: &SyncSender<String>, answers: bool) {
    let mut preface = [0; 24];
    if peer.reader.read_exact(&mut preface).is_err() {
        return;
    }
    send_frame(peer, SETTINGS, 0, 0, &[]);
    while let Some((kind, flags, stream)) = frame(peer) {
        match kind {
            SETTINGS if flags & ACK == 0 => send_frame(peer, SETTINGS, ACK, 0, &[]),
            // The end of a request, or the first of a body.
            HEADERS | DATA if kind == DATA || flags & END_STREAM != 0 => {
                if answers {
                    // `:status: 200`, from the static table.
                    send_frame(peer, HEADERS, END_HEADERS, stream, &[0x88]);
                    send_frame(peer, DATA, 0, stream, b"first");
                }
                _ = tell.send("begun".into());
            }
            RST_STREAM => _ = tell.send("left".into()),
            _ => {}
        }
    }
}

#[test]
fn from_an_http_2_upstream() {
    let waiting = Upstream::playing(|peer, tell| http_2(peer, tell, false));
    let gateway = Gateway::with(&format!("reverse_proxy h2c://127.0.0.1:{}", waiting.port));
    for request in [GET, UPLOAD] {
        let time = time_to_tell(&waiting, asking(&gateway, request));
        assert!(time < SOON, "{time:?}");
    }
    let streaming = Upstream::playing(|peer, tell| http_2(peer, tell, true));
    let gateway = Gateway::with(&format!("reverse_proxy h2c://127.0.0.1:{}", streaming.port));
    for request in [GET, UPLOAD] {
        let mut client = asking(&gateway, request);
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(client.chunk(), "first");
        let time = time_to_tell(&streaming, client);
        assert!(time < SOON, "{time:?}");
    }
}
