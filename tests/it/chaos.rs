//! Upstreams that die and come back, and reloads, under a steady load: no request may fail for that, nothing may leak.
//!
//! `TOLLGATE_CHAOS_SECONDS=60` makes it as long as one wants, and prints what was seen.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, eventually, free_port, gateway_binary};

const CLIENTS: usize = 8;

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn start(folder: &std::path::Path, args: &[&str]) -> Process {
    let child = Command::new(gateway_binary())
        .args(args)
        .current_dir(folder)
        .env("XDG_CONFIG_HOME", folder)
        .env("XDG_DATA_HOME", folder)
        .env("CADDY_ADMIN", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

fn upstream(folder: &std::path::Path, port: u16) -> Process {
    start(folder, &["respond", "--listen", &format!("127.0.0.1:{port}"), "--body", "alive"])
}

fn listens(port: u16) -> Option<()> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(drop)
}

/// One request on a connection that is kept; the status.
fn ask(conn: &mut BufReader<TcpStream>) -> io::Result<u16> {
    conn.get_mut().write_all(b"GET /model HTTP/1.1\r\nHost: gate.test\r\n\r\n")?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if conn.read_line(&mut head)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("cut after {head:?}")));
        }
    }
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    conn.read_exact(&mut body)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    if status == 200 && body != b"alive" {
        return Err(io::Error::other(format!("a wrong body: {body:?}")));
    }
    Ok(status)
}

fn connect(port: u16) -> BufReader<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    BufReader::new(stream)
}

/// What all clients have seen.
#[derive(Default)]
struct Seen {
    served: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

fn client(port: u16, seen: &Seen, stop: &AtomicBool, begun: Instant) {
    let mut conn = connect(port);
    while !stop.load(Ordering::Relaxed) {
        match ask(&mut conn) {
            Ok(200) => _ = seen.served.fetch_add(1, Ordering::Relaxed),
            other => {
                seen.failures.lock().unwrap().push(format!("{:?}: {other:?}", begun.elapsed()));
                conn = connect(port);
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn descriptors(process: &Process) -> Option<usize> {
    std::fs::read_dir(format!("/proc/{}/fd", process.0.id())).ok().map(Iterator::count)
}

/// Resident memory in KiB.
fn memory(process: &Process) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
}

fn load(admin: u16, caddyfile: &str) -> bool {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, admin)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "POST /load HTTP/1.1\r\nHost: localhost:{admin}\r\nContent-Type: text/caddyfile\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{caddyfile}",
        caddyfile.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    _ = stream.read_to_string(&mut answer);
    answer.starts_with("HTTP/1.1 200 ")
}

/// The gateway, and the upstreams that it is to survive.
struct Stage {
    folder: tempfile::TempDir,
    ports: [u16; 3],
    upstreams: [Process; 3],
    gateway: Process,
    port: u16,
    admin: u16,
}

impl Stage {
    fn set() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port(), free_port()];
        let upstreams = ports.map(|port| upstream(folder.path(), port));
        let (port, admin) = (free_port(), free_port());
        std::fs::write(folder.path().join("Caddyfile"), caddyfile(ports, port, admin, 0)).unwrap();
        ports.iter().for_each(|port| eventually("an upstream listens", || listens(*port)));
        let gateway = start(folder.path(), &["run", "--config", "Caddyfile"]);
        eventually("the gateway listens", || listens(port));
        eventually("the admin endpoint listens", || listens(admin));
        let stage = Stage { folder, ports, upstreams, gateway, port, admin };
        // What is made once is made before anything is counted.
        let mut conns: Vec<_> = (0..CLIENTS).map(|_| connect(port)).collect();
        conns.iter_mut().for_each(|conn| (0..50).for_each(|_| assert_eq!(ask(conn).unwrap(), 200)));
        drop(conns);
        stage.reload(1);
        thread::sleep(Duration::from_millis(500));
        stage
    }

    fn reload(&self, number: usize) {
        let caddyfile = caddyfile(self.ports, self.port, self.admin, number);
        assert!(load(self.admin, &caddyfile), "load {number}");
    }

    fn kill(&mut self, which: usize) {
        self.upstreams[which].0.kill().unwrap();
        self.upstreams[which].0.wait().unwrap();
    }

    fn restart(&mut self, which: usize) {
        self.upstreams[which] = upstream(self.folder.path(), self.ports[which]);
    }

    fn figures(&self) -> (Option<usize>, Option<usize>) {
        (descriptors(&self.gateway), memory(&self.gateway))
    }
}

fn caddyfile([a, b, c]: [u16; 3], port: u16, admin: u16, number: usize) -> String {
    format!(
        "{{\n\tadmin localhost:{admin}\n\tpersist_config off\n}}\n\nhttp://:{port} {{\n\theader X-Load {number}\n\
         \treverse_proxy 127.0.0.1:{a} 127.0.0.1:{b} 127.0.0.1:{c} {{\n\t\tlb_policy round_robin\n\
         \t\tlb_try_duration 10s\n\t\tlb_try_interval 20ms\n\t\tfail_duration 500ms\n\
         \t\thealth_uri /\n\t\thealth_interval 500ms\n\t}}\n}}\n"
    )
}

/// Kills an upstream and reloads, again and again; how often each was done.
fn trouble(stage: &mut Stage, seconds: u64) -> (usize, usize) {
    // In a short run everything happens more often.
    let (killing, reloading) = if seconds >= 30 { (5_000, 3_000) } else { (1_500, 1_000) };
    let (mut kills, mut loads, mut down) = (0, 1, None);
    let (mut next_kill, mut next_load) = (killing / 2, reloading / 2);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        let now = u64::try_from(begun.elapsed().as_millis()).unwrap();
        if now >= next_kill {
            let which = kills % stage.upstreams.len();
            stage.kill(which);
            down = Some((which, now + killing / 3));
            kills += 1;
            next_kill += killing;
        }
        if let Some((which, until)) = down
            && now >= until
        {
            stage.restart(which);
            down = None;
        }
        if now >= next_load {
            loads += 1;
            stage.reload(loads);
            next_load += reloading;
        }
        thread::sleep(Duration::from_millis(10));
    }
    (kills, loads)
}

#[test]
fn upstreams_that_die_and_reloads_fail_no_request() {
    let said = std::env::var("TOLLGATE_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds: u64 = said.unwrap_or(6);
    let mut stage = Stage::set();
    let before = stage.figures();
    let (seen, stop, begun) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)), Instant::now());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (seen, stop, port) = (seen.clone(), stop.clone(), stage.port);
            thread::spawn(move || client(port, &seen, &stop, begun))
        })
        .collect();
    let (kills, loads) = trouble(&mut stage, seconds);
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    let failures = std::mem::take(&mut *seen.failures.lock().unwrap());
    let served = seen.served.load(Ordering::Relaxed);
    // Connections to upstreams may be kept; each worker has some of its own.
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let allowed = before.0.map(|count| count + workers * stage.ports.len() * CLIENTS);
    let after = eventually("descriptors are given back", || {
        let after = stage.figures();
        (after.0 <= allowed).then_some(after)
    });
    println!(
        "{seconds} s, {CLIENTS} clients: {served} requests, {kills} kills, {loads} loads, {} failures; \
         descriptors {:?} before and {:?} after; memory {:?} KiB before and {:?} KiB after",
        failures.len(),
        before.0,
        after.0,
        before.1,
        after.1,
    );
    assert!(
        failures.is_empty(),
        "{} of {served} failed: {:#?}",
        failures.len(),
        &failures[..failures.len().min(10)]
    );
    assert!(served > 200 && kills > 1 && loads > 2, "{served} requests, {kills} kills, {loads} loads");
    if let (Some(before), Some(after)) = (before.1, after.1) {
        // What a debug build's first reloads leave behind is no leak; one for each request would be more.
        assert!(after < before + 24 * 1024, "{before} KiB became {after} KiB");
    }
}

#[test]
fn reloads_leave_no_connection_behind() {
    let stage = Stage::set();
    let before = stage.figures().0;
    for number in 2..32 {
        stage.reload(number);
        // Time for a health check of each upstream.
        thread::sleep(Duration::from_millis(60));
    }
    // The last configuration's checks keep a connection to each upstream.
    let allowed = before.map(|count| count + stage.ports.len());
    eventually("descriptors are given back", || (stage.figures().0 <= allowed).then_some(()));
}
