//! Proxying over real connections: what upstreams see, and what clients get, when.

mod answers;
mod balance;
mod encode;
mod fastcgi;
mod intercept;
mod interop;
mod leaving;
mod lookups;
mod proxy_protocol;
mod streams;
mod templates;
mod tracing;
mod tunnels;
mod websockets;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tempfile::TempDir;

use crate::support::{PATIENCE, eventually, free_port, gateway_binary};

/// A gateway that ends with the test.
struct Gateway {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Gateway {
    /// Runs a site with these directives, and waits until it listens.
    fn with(directives: &str) -> Gateway {
        Gateway::with_options("", directives)
    }

    /// The same with these global options besides.
    fn with_options(options: &str, directives: &str) -> Gateway {
        Gateway::run(options, directives, &[])
    }

    /// The same with these variables in its environment instead.
    fn with_environment(directives: &str, environment: &[(&str, &str)]) -> Gateway {
        Gateway::run("", directives, environment)
    }

    fn run(options: &str, directives: &str, environment: &[(&str, &str)]) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let caddyfile = format!("{{\n\tadmin off\n{options}\n}}\nhttp://:{port} {{\n{directives}\n}}\n");
        std::fs::write(folder.path().join("Caddyfile"), &caddyfile).unwrap();
        let child = Command::new(gateway_binary())
            .args(["run", "--config", "Caddyfile"])
            .current_dir(folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut gateway = Gateway { child: child.unwrap(), port, _folder: folder };
        eventually("the gateway listens", || {
            let ended = gateway.child.try_wait().unwrap();
            assert!(ended.is_none(), "the gateway refuses\n{caddyfile}");
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        gateway
    }

    fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap())
    }

    /// One request on a connection of its own; the whole answer.
    fn ask(&self, request: &str) -> String {
        let mut client = self.connect();
        client.send(request);
        client.answer()
    }

    /// A GET with these header lines.
    fn get(&self, target: &str, headers: &str) -> String {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: gate.test\r\n{headers}\r\n"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// One end of a connection, on either side of the gateway.
struct Peer {
    reader: BufReader<TcpStream>,
}

impl Peer {
    fn new(stream: TcpStream) -> Peer {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { reader: BufReader::new(stream) }
    }

    fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// A head, up to its empty line; nothing if the other side has ended the connection.
    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.reader.read_line(&mut head).unwrap_or(0) == 0 {
                break;
            }
        }
        head
    }

    /// A header of the PROXY protocol, of either version.
    fn start(&mut self) -> String {
        let mut line = self.line();
        if line == "\r\n" {
            for _ in 0..3 {
                line.push_str(&self.line());
            }
            line.push_str(&self.bytes(16));
        }
        line
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    fn bytes(&mut self, count: usize) -> String {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn skip(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
    }

    /// A chunk's data; empty for the last one.
    fn chunk(&mut self) -> String {
        let size = usize::from_str_radix(self.line().trim_end(), 16).unwrap();
        let data = self.bytes(size);
        if size > 0 {
            self.bytes(2);
        }
        data
    }

    /// An answer whose length is announced, or that has no body.
    fn answer(&mut self) -> String {
        let head = self.head();
        let length = field(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        head + &self.bytes(length)
    }

    /// Whether the other side has ended the connection, after at most as long as PATIENCE.
    fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.reader.read(&mut byte), Ok(0) | Err(_))
    }
}

/// The value of a field in a head.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    let _ = found;
    Some(value.trim())
}

/// A server behind the gateway that plays a script on each connection.
struct Upstream {
    port: u16,
    /// The heads of requests, as they come.
    heads: Receiver<String>,
}

/// What an upstream does on a connection: it gets the connection, and where to tell of heads.
type Script = fn(&mut Peer, &SyncSender<String>);

impl Upstream {
    fn playing(script: Script) -> Upstream {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, heads) = sync_channel(1000);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                thread::spawn(move || script(&mut Peer::new(stream), &tell));
            }
        });
        Upstream { port, heads }
    }

    /// One that answers every request with its own head.
    fn echo() -> Upstream {
        Upstream::playing(|peer, tell| {
            loop {
                let head = peer.head();
                if head.is_empty() {
                    return;
                }
                let length = field(&head, "content-length").and_then(|length| length.parse().ok());
                peer.bytes(length.unwrap_or(0));
                _ = tell.send(head.clone());
                peer.send(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{head}",
                    head.len()
                ));
            }
        })
    }

    /// The next request's head.
    fn next_head(&self) -> String {
        self.heads.recv_timeout(PATIENCE).unwrap()
    }

    /// How many requests have come since somebody last looked.
    fn requests(&self) -> usize {
        self.heads.try_iter().count()
    }
}
