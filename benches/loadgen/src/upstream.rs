//! The upstream: a model server as the gateways see one.
//!
//! | target | answer |
//! |---|---|
//! | `/api/tags` | a small JSON body with its length |
//! | `/stream?LINES&MICROSECONDS` | that many lines, chunked, the first with the head, then one at each interval; 0 lines: one, then silence |
//! | `/bulk?BYTES` | that many bytes with their length |
//! | `POST /bulk` | reads the body, answers with the number of its bytes |
//! | `/tunnel` | 101, and from then on whatever comes goes back |

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::answer::{Flow, Reader, invalid};

/// The body of a small answer.
pub const SMALL: &str = concat!(
    r#"{"models":[{"name":"stand-in:latest","model":"stand-in:latest","modified_at":"2024-06-01T12:00:00Z","#,
    r#""size":4661224676,"digest":"365c0bd3c000a25d28ddbf732fe1c6add414de7275464c4e4d1c3b5fcb5d8ad1","#,
    r#""details":{"format":"gguf","family":"llama","parameter_size":"8.0B","quantization_level":"Q4_0"}}]}"#
);

/// Bytes written at once into a large body.
const BULK_BYTES: usize = 64 * 1024;
/// What a large body is made of: no two neighbours alike, so that a shifted or lost byte shows.
pub const BULK_PERIOD: usize = 251;

/// Line `number` of a stream. All have one length, so that a reader can tell which byte belongs to which.
pub fn line(number: u32) -> String {
    format!(
        "{{\"model\":\"stand-in\",\"created_at\":\"2024-06-01T12:00:00.000000Z\",\"n\":{number:08},\
         \"response\":\" word\",\"done\":false}}\n"
    )
}

/// Serves until standard input closes, so that the driver's end is ours too.
pub async fn run() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    // The same again, for who wants more upstreams. More processes would also share out the cores differently.
    let second = TcpListener::bind(("127.0.0.2", address.port())).await?;
    let third = TcpListener::bind(("127.0.0.3", address.port())).await?;
    println!("{address}");
    let pattern: Rc<[u8]> = (0..BULK_BYTES + BULK_PERIOD).map(|index| (index % BULK_PERIOD) as u8).collect();
    for listener in [listener, second, third] {
        tokio::task::spawn_local(accept(listener, Rc::clone(&pattern)));
    }
    stdin_closed().await
}

async fn accept(listener: TcpListener, pattern: Rc<[u8]>) {
    loop {
        // A failed accept (out of descriptors) shows as an error at the client.
        if let Ok((stream, _)) = listener.accept().await {
            let pattern = Rc::clone(&pattern);
            tokio::task::spawn_local(async move {
                // A client that leaves within an answer is the rule here, not a fault.
                let _ = connection(stream, &pattern).await;
            });
        } else {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Waits until standard input ends.
pub async fn stdin_closed() -> io::Result<()> {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = tell.send(());
    });
    let _ = told.await;
    Ok(())
}

async fn connection(mut stream: TcpStream, pattern: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = Reader::with_capacity(4096);
    let small = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nDate: Sat, 01 Jun 2024 12:00:00 GMT\r\n\
         Content-Length: {}\r\n\r\n{SMALL}",
        SMALL.len()
    );
    while let Some(request) = reader.request(&mut stream).await? {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        if request.method == "POST" && path == "/bulk" {
            // Large bodies want large reads; the small buffer is for thousands of quiet connections.
            reader.grow();
        }
        let mut received = 0u64;
        reader
            .body(&mut stream, request.framing, |bytes| {
                received += bytes.len() as u64;
                Ok(Flow::More)
            })
            .await?;
        match path {
            "/api/tags" => stream.write_all(small.as_bytes()).await?,
            "/stream" => {
                let (lines, micros) = query.split_once('&').unwrap_or((query, "2000"));
                let lines = lines.parse().map_err(|_| invalid("lines"))?;
                let micros = micros.parse().map_err(|_| invalid("interval"))?;
                if !streamed(&mut stream, lines, Duration::from_micros(micros)).await? {
                    return Ok(());
                }
            }
            "/tunnel" => return tunnel(stream, reader).await,
            "/bulk" if request.method == "POST" => {
                let body = received.to_string();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(head.as_bytes()).await?;
            }
            "/bulk" => bulk(&mut stream, query.parse().map_err(|_| invalid("bytes"))?, pattern).await?,
            _ => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await?,
        }
        if request.close {
            break;
        }
    }
    Ok(())
}

/// Writes a stream of lines; false if the connection ended in it.
async fn streamed(stream: &mut TcpStream, lines: u32, interval: Duration) -> io::Result<bool> {
    let mut out = String::from(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nDate: Sat, 01 Jun 2024 12:00:00 GMT\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
    );
    chunk(&mut out, 0);
    stream.write_all(out.as_bytes()).await?;
    if lines == 0 {
        // Silent until the client leaves; anything it sends meanwhile is of no interest.
        while stream.read(&mut [0; 64]).await? > 0 {}
        return Ok(false);
    }
    let mut ticks = tokio::time::interval(interval);
    ticks.tick().await;
    for number in 1..lines {
        ticks.tick().await;
        out.clear();
        chunk(&mut out, number);
        stream.write_all(out.as_bytes()).await?;
    }
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(true)
}

/// Switches protocols, and sends back what comes.
async fn tunnel(mut stream: TcpStream, reader: Reader) -> io::Result<()> {
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(switching).await?;
    // Nobody sends before the answer is there, so the reader has nothing left.
    drop(reader);
    let mut message = [0; 256];
    loop {
        let length = stream.read(&mut message).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&message[..length]).await?;
    }
}

fn chunk(out: &mut String, number: u32) {
    let line = line(number);
    out.push_str(&format!("{:x}\r\n{line}\r\n", line.len()));
}

async fn bulk(stream: &mut TcpStream, bytes: usize, pattern: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut sent = 0;
    while sent < bytes {
        let from = sent % BULK_PERIOD;
        let here = BULK_BYTES.min(bytes - sent);
        stream.write_all(&pattern[from..from + here]).await?;
        sent += here;
    }
    Ok(())
}
