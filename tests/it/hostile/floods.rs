//! Many clients that are idle, slow or deaf: the others notice nothing, and memory stays bounded.

use std::time::{Duration, Instant};

use super::*;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-Secret1\r\n\r\n";
const PER_KIND: usize = 75;

/// An upstream that streams without end to `/endless`, and answers everything else at once.
fn upstream() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                while let Ok(Some(request)) = read_request(&mut stream) {
                    let block = vec![b'x'; 65536];
                    if request.target == "/endless" {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                        while stream.write_all(&block).is_ok() {}
                        return;
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
            });
        }
    });
    port
}

/// The median time of a request on a kept connection, and of one on a new connection.
fn times(gate: &Gate) -> (Duration, Duration) {
    let mut kept = gate.connect();
    let mut ask = |fresh: bool| {
        let mut times: Vec<Duration> = (0..41)
            .map(|_| {
                let began = Instant::now();
                let mut new = fresh.then(|| gate.connect());
                let stream = new.as_mut().unwrap_or(&mut kept);
                stream.write_all(GET.as_bytes()).unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"ok") {
                    answer.extend(read_exactly(stream, 1).expect("an answer"));
                }
                began.elapsed()
            })
            .collect();
        times.sort();
        times[20]
    };
    (ask(false), ask(true))
}

#[test]
fn slow_clients_do_not_slow_the_others_and_memory_is_bounded() {
    let gate = Gate::start(upstream(), KEY);
    times(&gate);
    let before = gate.resident_kib();
    let mut slow = Vec::new();
    for kind in 0..4 {
        for _ in 0..PER_KIND {
            let mut stream = gate.connect();
            let begin = match kind {
                0 => String::new(),
                1 => "GET /a HTTP/1.1\r\nHost: h\r\nX: ".to_owned(),
                2 => GET.replace("\r\n\r\n", "\r\nContent-Length: 1000000\r\n\r\nx").replace("GET", "POST"),
                _ => GET.to_owned(),
            };
            stream.write_all(begin.as_bytes()).unwrap();
            slow.push((kind, stream));
        }
    }
    // And one that wants an endless answer and never reads it.
    let mut deaf = gate.connect();
    deaf.write_all(GET.replace("/a", "/endless").as_bytes()).unwrap();
    for _ in 0..5 {
        for (kind, stream) in &mut slow {
            // They trickle on.
            if matches!(kind, 1 | 2) {
                let _ = stream.write_all(b"y");
            }
        }
        let (kept, new) = times(&gate);
        assert!(kept < Duration::from_millis(100) && new < Duration::from_millis(100), "{kept:?} {new:?}");
    }
    thread::sleep(Duration::from_millis(500));
    let grown = gate.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    drop(slow);
    drop(deaf);
    let (kept, new) = times(&gate);
    assert!(kept < Duration::from_millis(100) && new < Duration::from_millis(100), "{kept:?} {new:?}");
}

#[test]
fn nobody_leaves_descriptors_behind() {
    let gate = Gate::start(upstream(), KEY);
    times(&gate);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", gate.child.id())).unwrap().count();
    let before = descriptors();
    for turn in 0..100 {
        let mut stream = gate.connect();
        let request = match turn % 5 {
            0 => GET.replace("/a", "/endless"),
            1 => GET.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 99\r\n\r\nx"),
            2 => GET.replace("GET", "POST").replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\nzz"),
            3 => "GET / HT".to_owned(),
            _ => GET.replace("Host: h", "Host : h"),
        };
        stream.write_all(request.as_bytes()).unwrap();
        if turn % 2 == 0 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    // Kept connections to the upstream may stay, one or two for each worker.
    eventually("descriptors are freed", || (descriptors() <= before + 8).then_some(()));
}

#[test]
fn endless_heads_and_floods_of_requests_end() {
    let gate = Gate::start(upstream(), KEY);
    let head = format!("GET /a HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(10_000_000));
    assert!(gate.ask(head.as_bytes()).starts_with("HTTP/1.1 431 "));
    let fields = format!("GET /a HTTP/1.1\r\nHost: h\r\n{}", "X: y\r\n".repeat(1_000_000));
    assert!(gate.ask(fields.as_bytes()).starts_with("HTTP/1.1 431 "));
    let chunk = GET.replace("GET", "POST").replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n1;");
    let answer = gate.ask((chunk + &"x".repeat(10_000_000)).as_bytes());
    assert!(!answer.contains("200 OK"), "{answer}");
    // Many requests in a row, whose answers nobody reads until the end.
    let mut stream = gate.connect();
    let mut sending = stream.try_clone().unwrap();
    const COUNT: usize = 5000;
    let sender = thread::spawn(move || sending.write_all(GET.repeat(COUNT).as_bytes()));
    thread::sleep(Duration::from_millis(300));
    let mut answers = 0;
    let mut last = Vec::new();
    let mut buffer = [0; 65536];
    while answers < COUNT {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the gate gave up after {answers} answers");
        last.extend_from_slice(&buffer[..length]);
        answers += last.windows(6).filter(|window| window == b"\r\n\r\nok").count();
        last = last.split_off(last.len().saturating_sub(5));
    }
    sender.join().unwrap().unwrap();
    assert!(times(&gate).0 < Duration::from_millis(100));
}
