//! HTTP/1 connections: what they say of their end, and when they are asked for a body.

use super::relay::{Upstream, time_to_end};
use super::*;

#[test]
fn a_client_that_takes_nothing_is_given_up_even_after_it_was_told_to_go() {
    let upstream = Upstream::start();
    let settings = upstream.settings().replacen('{', r#"{"write_idle_timeout":2000000000,"#, 1);
    let gate = Gate::start(&settings);
    let mut client = gate.connect();
    client.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut behind = upstream.accept_head();
    behind.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").unwrap();
    read_until(&mut client, "a\r\n");
    // This wakes the connection once; its deadline must wake it again.
    gate.serve(&[], &settings);
    behind.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let chunk = [&b"10000\r\n"[..], &[b'x'; 65536], b"\r\n"].concat();
    let began = Instant::now();
    while behind.write_all(&chunk).is_ok() {
        assert!(began.elapsed() < PATIENCE, "the gate takes without end");
    }
    assert!(time_to_end(&mut behind) < PATIENCE);
    drop(client);
}

#[test]
fn a_body_is_asked_for_once_somebody_reads_it() {
    let gate = Gate::start("{}");
    let expecting = |path: &str, version: &str| {
        let head = format!("POST {path} HTTP/1.{version}\r\nHost: h\r\nExpect: 100-continue\r\n");
        format!("{head}Connection: keep-alive\r\nContent-Length: 2\r\n\r\n")
    };
    let mut client = gate.connect();
    client.write_all(expecting("/a", "1").as_bytes()).unwrap();
    assert_eq!(read_until(&mut client, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hi").unwrap();
    let answer = read_until(&mut client, "POST /a 2");
    assert!(!answer.to_ascii_lowercase().contains("connection:"), "{answer}");
    // Nobody reads it: the answer comes at once, and says that nothing comes behind it.
    client.write_all(expecting("/early", "1").as_bytes()).unwrap();
    let answer = read_all(&mut client);
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("Connection: close\r\n"),
        "{answer}"
    );
    // HTTP/1.0 knows no interim answers, so the body just has to come.
    let mut client = gate.connect();
    client.write_all(expecting("/a", "0").as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    client.write_all(b"hi").unwrap();
    let answer = read_until(&mut client, "POST /a 2");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.contains("Connection: keep-alive\r\n"), "{answer}");
}

#[test]
fn who_is_answered_before_all_of_a_body_has_come_is_told_that_the_connection_ends() {
    let gate = Gate::start("{}");
    for framing in ["Content-Length: 60000", "Transfer-Encoding: chunked"] {
        let mut client = gate.connect();
        write!(client, "POST /early HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n4\r\nabcd\r\n").unwrap();
        let answer = read_until(&mut client, "early");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
    }
    // What has come as a whole is in nobody's way.
    let mut client = gate.connect();
    client.write_all(b"POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd").unwrap();
    assert!(!read_until(&mut client, "early").contains("Connection:"));
    client.write_all(LAST.as_bytes()).unwrap();
    assert!(read_all(&mut client).ends_with("GET /close 0"));
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole_and_loses_nothing() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    for (framing, data) in [("Transfer-Encoding: chunked", "3\r\none\r\n"), ("Content-Length: 9", "one")] {
        let mut client = gate.connect();
        client.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let mut behind = upstream.accept_head();
        write!(behind, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{data}").unwrap();
        drop(behind);
        let answer = read_all(&mut client);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(data), "{answer}");
    }
}

#[test]
fn upstreams_trailers_come_behind_the_last_chunk() {
    let upstream = Upstream::start();
    let gate = Gate::start(&upstream.settings());
    for version in ["1", "0"] {
        let mut client = gate.connect();
        write!(client, "GET /a HTTP/1.{version}\r\nHost: h\r\n\r\n").unwrap();
        let mut behind = upstream.accept_head();
        behind
            .write_all(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n",
            )
            .unwrap();
        if version == "1" {
            assert!(
                read_until(&mut client, "X-Sum: 7\r\n\r\n")
                    .ends_with("\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n")
            );
        } else {
            assert!(read_all(&mut client).ends_with("\r\n\r\nhi"));
        }
    }
}

#[test]
fn one_client_with_many_requests_does_not_keep_others_from_theirs() {
    let gate = Gate::start("{}");
    // As many as there are workers, so that every worker has one.
    let floods: Vec<_> = (0..4).map(|_| gate.connect()).collect();
    let ends = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let senders = floods.into_iter().flat_map(|stream| {
        let (mut writer, mut reader) = (stream.try_clone().unwrap(), stream);
        let requests = "GET /early HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2000);
        let (writes, reads) = (ends.clone(), ends.clone());
        [
            std::thread::spawn(move || {
                while !writes.load(std::sync::atomic::Ordering::Relaxed)
                    && writer.write_all(requests.as_bytes()).is_ok()
                {}
                let _ = writer.shutdown(std::net::Shutdown::Both);
            }),
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while !reads.load(std::sync::atomic::Ordering::Relaxed)
                    && reader.read(&mut buffer).is_ok_and(|length| length > 0)
                {}
            }),
        ]
    });
    let senders: Vec<_> = senders.collect();
    for _ in 0..20 {
        assert!(gate.ask(LAST.as_bytes(), 1000).ends_with("GET /close 0"));
    }
    ends.store(true, std::sync::atomic::Ordering::Relaxed);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

#[test]
fn a_line_end_behind_a_post_is_passed_over_and_no_other() {
    let gate = Gate::start("{}");
    let post = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
    for step in [1, 1000] {
        let answers = gate.ask(format!("{post}\r\n{post}\r\n{LAST}").as_bytes(), step);
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
        let answers = gate.ask(format!("{post}\r\n\r\n{LAST}").as_bytes(), step);
        assert!(answers.contains("HTTP/1.1 400 ") && !answers.contains("/close"), "{answers}");
        let answers = gate.ask(format!("GET /b HTTP/1.1\r\nHost: h\r\n\r\n\r\n{LAST}").as_bytes(), step);
        assert!(answers.contains("HTTP/1.1 400 ") && !answers.contains("/close"), "{answers}");
    }
}

#[test]
fn nothing_comes_behind_what_could_be_taken_for_a_tunnel() {
    let gate = Gate::start("{}");
    let answers = gate.ask(format!("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n{LAST}").as_bytes(), 1000);
    assert!(answers.contains("Connection: close\r\n"), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
}

#[test]
fn an_informational_status_is_never_the_last_word() {
    let routes = r#"[{"handle":[{"handler":"status"}]}]"#;
    let gate = Gate::start(&format!(r#"{{"routes":{routes}}}"#));
    let answers = gate.ask(format!("GET /103 HTTP/1.1\r\nHost: h\r\n\r\n{LAST}").as_bytes(), 1000);
    let (first, rest) = answers.split_once("\r\n\r\n").unwrap();
    assert!(first.starts_with("HTTP/1.1 103 "), "{answers}");
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    assert_eq!(rest.matches("HTTP/1.1 ").count(), 2, "{answers}");
}
