//! Services that are asked in tests.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// What a service was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `GET` or another one.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    head: String,
    /// What came with it.
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// A header field; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> String {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    }
}

/// Serves on a port of its own for as long as the test's process lives: a status and a text for what is asked. The
/// answer is its address.
pub(crate) fn serve(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || serve_one(stream, &*answer));
        }
    });
    address
}

/// The same at a Unix socket.
pub(crate) fn serve_at(socket: &Path, answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || serve_one(stream, &*answer));
        }
    });
}

fn serve_one(mut stream: impl Read + Write, answer: &dyn Fn(&Asked) -> (u16, String)) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let mut asked = Asked { method, target, head, body: Vec::new() };
        asked.body.resize(asked.field("content-length").parse().unwrap_or(0), 0);
        stream.read_exact(&mut asked.body)?;
        let (status, text) = answer(&asked);
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
    }
}
