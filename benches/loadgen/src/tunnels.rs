//! WebSockets through a gateway: opened, kept, and used at a steady pace.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::Reader;
use crate::client::{Tally, connect, expect, request, within};
use crate::options::Options;

/// A message as a client frames it: final, text, masked (RFC 6455 section 5.2), with 42 bytes of payload.
/// Its length tells the frame's end, and whoever relays it does not look.
const MESSAGE: [u8; 48] = {
    let mut message = [b'm'; 48];
    message[0] = 0x81;
    message[1] = 0x80 | 42;
    message
};

const FIELDS: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Opens all tunnels and says so; on a line from stdin it uses them, and prints what came back.
/// Unit: a message that went to the upstream and back.
pub async fn run(options: &Options) -> io::Result<()> {
    let mut tunnels = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        tunnels.push(within(open(options)).await?);
    }
    println!("{{\"open\": {}}}", tunnels.len());
    if !line_from_stdin().await {
        return Ok(());
    }
    let tally = Rc::new(RefCell::new(Tally::default()));
    let begin = Instant::now();
    let users = tunnels.into_iter().zip(0..).map(|(tunnel, number)| {
        let (options, tally) = (options.clone(), Rc::clone(&tally));
        tokio::task::spawn_local(async move {
            let outcome = converse(tunnel, &options, number).await;
            tally.borrow_mut().record(outcome);
        })
    });
    for user in users.collect::<Vec<_>>() {
        user.await.map_err(io::Error::other)?;
    }
    tally.borrow().print(begin.elapsed().as_secs_f64());
    Ok(())
}

async fn open(options: &Options) -> io::Result<TcpStream> {
    let mut stream = connect(options).await?;
    stream.write_all(&request(options, "GET /tunnel", &options.key, FIELDS)).await?;
    // Nothing comes behind the head before we have sent something.
    let head = Reader::with_capacity(1024).answer(&mut stream).await?;
    expect(&head, 101)?;
    Ok(stream)
}

/// Sends a message at each tick and waits for it to come back. The ticks of different tunnels lie
/// evenly beside each other.
async fn converse(mut tunnel: TcpStream, options: &Options, number: u32) -> io::Result<u64> {
    let offset = options.interval.mul_f64(f64::from(number) / options.connections as f64);
    let begin = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval_at(begin + offset, options.interval);
    let mut echoed = 0;
    while begin.elapsed() < options.duration {
        ticks.tick().await;
        tunnel.write_all(&MESSAGE).await?;
        let mut back = [0; MESSAGE.len()];
        within(async { tunnel.read_exact(&mut back).await }).await?;
        if back != MESSAGE {
            return Err(crate::answer::invalid("a message with other content"));
        }
        echoed += 1;
    }
    Ok(echoed)
}

/// Waits for a line; false if stdin ends without one.
async fn line_from_stdin() -> bool {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        let _ = tell.send(read.is_ok_and(|length| length > 0));
    });
    told.await.unwrap_or(false)
}
