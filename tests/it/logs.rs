//! Logs of a running gateway: files that roll, a pipe that nobody reads, reloads.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{eventually, free_port, gateway_binary, get};

/// A gateway that ends with the test.
struct Gateway {
    child: Child,
    port: u16,
    admin: u16,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Gateway {
    /// Starts one in `folder`; `{PORT}` in the Caddyfile is its port.
    fn start(folder: &Path, caddyfile: &str, stderr: Stdio) -> Self {
        let (port, admin) = (free_port(), free_port());
        std::fs::write(folder.join("Caddyfile"), caddyfile.replace("{PORT}", &port.to_string())).unwrap();
        let child = Command::new(gateway_binary())
            .args(["run", "--config", "Caddyfile"])
            .current_dir(folder)
            .env("CADDY_ADMIN", format!("127.0.0.1:{admin}"))
            .env("XDG_CONFIG_HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .stderr(stderr)
            .spawn();
        let gateway = Self { child: child.unwrap(), port, admin };
        eventually("the gateway listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        gateway
    }

    fn get(&self, target: &str) -> u16 {
        get(self.port, target, &[]).unwrap().status
    }
}

fn rolled(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("access-")).collect();
    names.sort();
    names
}

#[test]
fn a_log_file_rolls_and_old_ones_are_packed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let caddyfile = ":{PORT} {\n\tlog {\n\t\toutput file access.log {\n\t\t\troll_size 1MiB\n\t\t\troll_keep 2\n\t\t}\n\t}\n\
                     \tlog_append filler {http.request.uri.query.filler}\n\trespond hello\n}\n";
    let gateway = Gateway::start(folder.path(), caddyfile, Stdio::null());
    // Each request leaves its target twice: some 14 KB. Five MiB are 375 of them.
    let target = format!("/?filler={}", "x".repeat(7000));
    for _ in 0..400 {
        assert_eq!(gateway.get(&target), 200);
    }
    let names = eventually("two packed files are left", || {
        let names = rolled(folder.path());
        (names.len() == 2 && names.iter().all(|name| name.ends_with("-size.log.gz"))).then_some(names)
    });
    let packed = std::fs::File::open(folder.path().join(&names[0])).unwrap();
    let lines = BufReader::new(flate2::read::GzDecoder::new(packed)).lines();
    let sizes: Vec<usize> = lines.map(|line| line.unwrap().len() + 1).collect();
    let size: usize = sizes.iter().sum();
    assert!(size <= 1 << 20 && size + sizes[0] > 1 << 20, "{size} bytes in whole entries");
    assert!(std::fs::metadata(folder.path().join("access.log")).unwrap().len() <= 1 << 20);
}

#[test]
fn a_pipe_that_nobody_reads_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let caddyfile = ":{PORT} {\n\tlog\n\trespond hello\n}\n";
    // The pipe to this test is never read: 64 KiB and it is full.
    let mut gateway = Gateway::start(folder.path(), caddyfile, Stdio::piped());
    let target = format!("/?{}", "x".repeat(7000));
    // Five MiB of entries, more than the pipe and the queue before it take.
    for _ in 0..750 {
        assert_eq!(gateway.get(&target), 200);
    }
    // It ends as well, and in time, though its last entries can't be written.
    let stopped = Command::new(gateway_binary())
        .args(["stop", "--address", &format!("127.0.0.1:{}", gateway.admin)])
        .status();
    assert!(stopped.unwrap().success());
    let status = eventually("the gateway ends", || gateway.child.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

#[test]
fn a_reload_goes_on_in_the_same_file_or_in_another() {
    let folder = tempfile::tempdir().unwrap();
    let site = |file: &str, port: &str| {
        format!(":{port} {{\n\tlog {{\n\t\toutput file {file}\n\t}}\n\trespond hello\n}}\n")
    };
    let gateway = Gateway::start(folder.path(), &site("access.log", "{PORT}"), Stdio::null());
    let lines = |file: &str| {
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let reload = |file: &str| {
        std::fs::write(folder.path().join("Caddyfile"), site(file, &gateway.port.to_string())).unwrap();
        let status = Command::new(gateway_binary())
            .args(["reload", "--force", "--address", &format!("127.0.0.1:{}", gateway.admin)])
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
    };
    gateway.get("/1");
    reload("access.log");
    gateway.get("/2");
    eventually("both requests are in the file", || (lines("access.log").len() == 2).then_some(()));
    reload("other.log");
    gateway.get("/3");
    let other = eventually("the third is in the other file", || {
        Some(lines("other.log")).filter(|lines| lines.len() == 1)
    });
    assert!(other[0].contains("\"uri\":\"/3\""), "{other:?}");
    assert_eq!(lines("access.log").len(), 2);
}

#[test]
fn a_type_that_was_guessed_reaches_the_client_and_not_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let caddyfile = format!(
        ":{{PORT}} {{\n\tlog {{\n\t\toutput file access.log\n\t}}\n\treverse_proxy {}\n}}\n",
        upstream.local_addr().unwrap()
    );
    std::thread::spawn(move || {
        for stream in upstream.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>").unwrap();
        }
    });
    let gateway = Gateway::start(folder.path(), &caddyfile, Stdio::null());
    let answer = get(gateway.port, "/", &[]).unwrap();
    assert!(
        answer.text.to_lowercase().contains("\r\ncontent-type: text/html; charset=utf-8\r\n"),
        "{answer:?}"
    );
    assert!(answer.text.ends_with("\r\n\r\n<html>"), "{answer:?}");
    let log = eventually("the request is in the log", || {
        let text = std::fs::read_to_string(folder.path().join("access.log")).unwrap_or_default();
        (text.lines().count() == 1).then_some(text)
    });
    assert!(log.contains("\"Via\":[\"1.1 Caddy\"]") && !log.contains("Content-Type"), "{log}");
}
