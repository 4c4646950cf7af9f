//! What a client sends before its answer is there: requests in a row, and what follows an upgrade.

use super::relay::Upstream;
use super::*;

#[test]
fn requests_in_a_row_reach_the_upstream_one_by_one() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    let mut client = gate.connect();
    client
        .write_all(
            b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi\
              POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n\
              GET /c HTTP/1.1\r\nHo",
        )
        .unwrap();
    let mut behind = upstream.accept();
    for (ends, target) in [("hi", "/a"), ("0\r\n\r\n", "/b")] {
        let seen = read_until(&mut behind, ends);
        assert!(seen.starts_with(&format!("POST {target} HTTP/1.1\r\n")), "{seen}");
        // Nothing more comes until this is answered.
        behind.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(behind.read(&mut [0]).is_err());
        behind.set_read_timeout(Some(PATIENCE)).unwrap();
        behind.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        read_until(&mut client, "ok");
    }
    client.write_all(b"st: h\r\n\r\n").unwrap();
    assert!(read_until(&mut behind, "\r\n\r\n").starts_with("GET /c HTTP/1.1\r\n"));
}

#[test]
fn a_doubtful_request_in_a_row_is_refused_in_its_turn() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    let mut client = gate.connect();
    client.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost : h\r\n\r\n").unwrap();
    let mut behind = upstream.accept_head();
    std::thread::sleep(Duration::from_millis(50));
    behind.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    let (first, second) =
        read_all(&mut client).split_once("\r\n\r\nok").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(first.starts_with("HTTP/1.1 200 OK"), "{first}");
    assert!(second.starts_with("HTTP/1.1 400 "), "{second}");
    assert_eq!(behind.read(&mut [0; 1]).unwrap_or(0), 0, "the upstream saw more than one request");
}

#[test]
fn an_upgrade_beside_a_body_loses_no_answer() {
    let gate = Gate::start("{}");
    let mut client = gate.connect();
    let length = 4 << 20;
    write!(
        client,
        "POST /early HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: {length}\r\n\r\n"
    )
    .unwrap();
    let mut other = client.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for _ in 0..64 {
            if other.write_all(&[b'x'; 65536]).is_err() {
                return;
            }
        }
    });
    std::thread::sleep(Duration::from_millis(50));
    // A client that reads late finds its answer there, not a reset.
    let answer = read_until(&mut client, "early");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    sender.join().unwrap();
}

#[test]
fn a_client_that_takes_no_end_of_its_connection_is_let_go() {
    let gate = Gate::start("{}");
    let mut client = gate.connect();
    client.write_all(b"POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n").unwrap();
    read_until(&mut client, "early");
    // It sends a little now and then, and never closes. With the linger's end its bytes meet nobody.
    let began = Instant::now();
    while client.write_all(b"x").is_ok() {
        assert!(began.elapsed() < PATIENCE, "the connection is still there");
        std::thread::sleep(Duration::from_millis(200));
    }
}
