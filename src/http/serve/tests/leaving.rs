//! A client that leaves takes its upstream connection with it, at once and in every phase.

use super::relay::{Silent, Upstream, time_to_end};
use super::*;

/// Within this time an upstream is told. The goal is 50 ms; a busy machine gets more.
const SOON: Duration = Duration::from_millis(500);

/// Waits until nothing more can be written, which needs some time to be sure.
fn fill(stream: &mut TcpStream) {
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let block = [b'x'; 65536];
    let mut sent = 0;
    while stream.write(&block).is_ok_and(|length| length > 0) {
        sent += block.len();
        assert!(sent < 1 << 30, "the gate takes without end");
    }
}

#[test]
fn waiting_for_the_head() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    let mut client = gate.connect();
    client.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut behind = upstream.accept_head();
    drop(client);
    assert!(time_to_end(&mut behind) < SOON);
}

#[test]
fn waiting_with_requests_sent_early() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    // A little, and more than the gate reads. (If even the kernel takes no more, the client's end waits
    // behind what it has sent, and nobody can see it.)
    for early in [1, 3, 100, 2000] {
        let mut client = gate.connect();
        client.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let _ = client.write_all("GET /early HTTP/1.1\r\nHost: h\r\n\r\n".repeat(early).as_bytes());
        let mut behind = upstream.accept_head();
        drop(client);
        let time = time_to_end(&mut behind);
        assert!(time < SOON, "{early}: {time:?}");
    }
}

#[test]
fn in_the_stream() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    for early in ["", "GET /early HTTP/1.1\r\nHost: h\r\n\r\n"] {
        let mut client = gate.connect();
        write!(client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n{early}").unwrap();
        let mut behind = upstream.accept_head();
        behind.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").unwrap();
        read_until(&mut client, "one\r\n");
        drop(client);
        assert!(time_to_end(&mut behind) < SOON);
    }
}

#[test]
fn in_a_stream_that_it_does_not_read() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    let mut client = gate.connect();
    client.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut behind = upstream.accept_head();
    behind.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    fill(&mut behind);
    drop(client);
    assert!(time_to_end(&mut behind) < SOON);
}

#[test]
fn in_an_upload_that_goes_on() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut client = gate.connect();
        write!(client, "POST /a HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n5\r\nhello\r\n").unwrap();
        let mut behind = upstream.accept();
        read_until(&mut behind, "hello\r\n");
        drop(client);
        assert!(time_to_end(&mut behind) < SOON, "{framing}");
    }
}

#[test]
fn in_an_upload_that_the_upstream_does_not_take() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    let mut client = gate.connect();
    write!(client, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40).unwrap();
    let mut behind = upstream.accept();
    fill(&mut client);
    // Once it takes a little more, the client's end can come through.
    drop(client);
    behind.read_exact(&mut vec![0; 4 << 20]).unwrap();
    assert!(time_to_end(&mut behind) < PATIENCE);
}

#[test]
fn before_anybody_has_read_its_body() {
    let gate = Gate::start(r#"{"routes":[{"handle":[{"handler":"silent"}]}]}"#);
    let told = Silent::watch();
    let body = "x".repeat(100_000);
    for request in [
        "GET /a HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel".to_owned(),
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".to_owned(),
        format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{body}"),
        format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n{body}"),
    ] {
        let mut client = gate.connect();
        client.write_all(request.as_bytes()).unwrap();
        // Until the handler has it.
        std::thread::sleep(Duration::from_millis(100));
        assert!(told.try_recv().is_err(), "given up too early: {:.90}", request);
        drop(client);
        assert!(told.recv_timeout(SOON).is_ok(), "not noticed: {:.90}", request);
    }
}

#[test]
fn a_client_that_waits_is_not_taken_for_gone() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    let mut client = gate.connect();
    let length = 8 << 20;
    write!(client, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n").unwrap();
    let mut behind = upstream.accept();
    let sender = std::thread::spawn(move || {
        client.write_all(&vec![b'x'; length]).unwrap();
        client
    });
    // The upstream takes its time.
    std::thread::sleep(Duration::from_millis(300));
    let head = read_until(&mut behind, "x");
    let mut left = length - head.split_once("\r\n\r\n").unwrap().1.len();
    let mut buffer = vec![0; 65536];
    while left > 0 {
        left -= behind.read(&mut buffer).unwrap();
        if left.is_multiple_of(7) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    behind.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").unwrap();
    let mut client = sender.join().unwrap();
    read_until(&mut client, "done");
}
