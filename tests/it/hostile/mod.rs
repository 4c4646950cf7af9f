//! The shipped Caddyfile against clients and upstreams that mean harm.

mod answers;
mod floods;
mod keys;
mod smuggling;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use crate::support::{PATIENCE, eventually, free_port, gateway_binary, repository_text};

const KEY: &str = "sk-Secret1";

/// The gateway with the shipped Caddyfile, which ends with the test.
struct Gate {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Gate {
    /// Guards the upstream at `upstream` with `key`.
    fn start(upstream: u16, key: &str) -> Gate {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let shipped = repository_text("Caddyfile");
        let ours =
            shipped.replace(":8081", &format!("http://:{port}")).replace("11434", &upstream.to_string());
        assert_ne!(ours, shipped);
        let path = folder.path().join("Caddyfile");
        std::fs::write(&path, format!("{{\n\tadmin off\n}}\n{ours}")).unwrap();
        let child = Command::new(gateway_binary())
            .args(["run", "--config"])
            .arg(&path)
            .env("XDG_CONFIG_HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .env("OLLAMA_API_KEY", key)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut gate = Gate { child: child.unwrap(), port, _folder: folder };
        eventually("the gate listens", || {
            assert!(gate.child.try_wait().unwrap().is_none(), "the gate refuses to start");
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        gate
    }

    fn connect(&self) -> TcpStream {
        connect(self.port)
    }

    /// Sends these bytes and reads until the connection ends.
    fn ask(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The gate may hang up in the middle.
        let _ = stream.write_all(bytes);
        read_all(&mut stream)
    }

    /// The memory that the gate has at the moment, in KiB.
    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads to the end of the connection, however it ends.
fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("after {:?}: {error}", String::from_utf8_lossy(&all)),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// An upstream that reads as strictly as can be and remembers everything. It answers with the target.
struct Strict {
    port: u16,
    seen: Arc<Mutex<Vec<Result<Seen, String>>>>,
}

/// A request as it came to an upstream.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    method: String,
    target: String,
    body: Vec<u8>,
}

impl Strict {
    fn start() -> Strict {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&all);
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Strict { port, seen }
    }

    /// What has come since the last time.
    fn take(&self) -> Vec<Result<Seen, String>> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Result<Seen, String>>>) {
    stream.set_nodelay(true).unwrap();
    loop {
        let request = match read_request(&mut stream) {
            Ok(Some(request)) => Ok(request),
            Ok(None) => return,
            Err(why) => Err(why),
        };
        let about = request.as_ref().ok().map(|seen| (seen.method == "HEAD", seen.target.clone()));
        seen.lock().unwrap().push(request);
        let Some((is_head, target)) = about else { return };
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", target.len());
        if !is_head {
            answer += &target;
        }
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// One request; none if the connection ends before it, or in its middle, which is how a gate gives
/// up a request.
fn read_request(stream: &mut TcpStream) -> Result<Option<Seen>, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Some(byte) = read_exactly(stream, 1) else { return Ok(None) };
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8(head).map_err(|_| "bytes beyond ASCII in a head".to_owned())?;
    let doubt = |what: &str| Err(format!("{what}: {head:?}"));
    let mut lines = head.trim_end_matches("\r\n\r\n").split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { return doubt("request line") };
    let (mut hosts, mut length, mut chunked, mut authorized) = (0, None, false, false);
    for line in lines {
        let Some((name, value)) = line.split_once(": ") else { return doubt("field") };
        if name.is_empty() || name.contains([' ', '\t', '\r', '\n']) || value.contains(['\r', '\n', '\0']) {
            return doubt("field");
        }
        match &*name.to_ascii_lowercase() {
            "host" => hosts += 1,
            "authorization" => authorized |= value.starts_with("Bearer "),
            "content-length" if length.is_some() => return doubt("two lengths"),
            "content-length" => length = Some(value.parse::<usize>().map_err(|_| format!("length {value}"))?),
            "transfer-encoding" if chunked || value != "chunked" => return doubt("transfer coding"),
            "transfer-encoding" => chunked = true,
            _ => {}
        }
    }
    if hosts != 1 || !authorized || chunked && length.is_some() {
        return doubt("hosts, key or framing");
    }
    let body = match (chunked, length) {
        (true, _) => read_chunks(stream)?,
        (false, Some(length)) => read_exactly(stream, length),
        (false, None) => Some(Vec::new()),
    };
    Ok(body.map(|body| Seen { method: method.to_owned(), target: target.to_owned(), body }))
}

fn read_chunks(stream: &mut TcpStream) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let Some(byte) = read_exactly(stream, 1) else { return Ok(None) };
            line.extend_from_slice(&byte);
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let size = usize::from_str_radix(&line, 16).map_err(|_| format!("chunk size {line:?}"))?;
        let Some(data) = read_exactly(stream, size) else { return Ok(None) };
        body.extend_from_slice(&data);
        match read_exactly(stream, 2).as_deref() {
            None => return Ok(None),
            Some(b"\r\n") => {}
            Some(other) => return Err(format!("behind a chunk: {other:?}")),
        }
        if size == 0 {
            return Ok(Some(body));
        }
    }
}

fn read_exactly(stream: &mut TcpStream, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length.min(1 << 20)];
    stream.read_exact(&mut bytes).ok().map(|()| bytes)
}
