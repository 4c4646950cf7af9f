//! The clients. Each checks every answer: status, length and content.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::answer::{Flow, Framing, Head, Reader, invalid};
use crate::options::Options;
use crate::upstream::{self, BULK_PERIOD, SMALL};

/// No single answer, or silence within one, takes longer than this in any measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the workers of one run have counted together.
#[derive(Default)]
pub(crate) struct Tally {
    units: u64,
    errors: u64,
    first_error: Option<String>,
}

impl Tally {
    pub(crate) fn record(&mut self, outcome: io::Result<u64>) {
        match outcome {
            Ok(units) => self.units += units,
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| error.to_string());
            }
        }
    }

    pub(crate) fn print(&self, seconds: f64) {
        let first = self.first_error.as_deref().unwrap_or("").replace(['"', '\\'], "'");
        println!(
            "{{\"units\": {}, \"errors\": {}, \"first_error\": \"{first}\", \"seconds\": {seconds:.6}}}",
            self.units, self.errors
        );
    }
}

/// Runs one worker for each connection until all are done, and prints what they counted.
pub(crate) async fn together<F, W>(options: &Options, worker: F) -> io::Result<()>
where
    F: Fn(Options, Rc<RefCell<Tally>>) -> W,
    W: Future<Output = ()> + 'static,
{
    let tally = Rc::new(RefCell::new(Tally::default()));
    let begin = Instant::now();
    let workers: Vec<_> = (0..options.connections)
        .map(|_| tokio::task::spawn_local(worker(options.clone(), Rc::clone(&tally))))
        .collect();
    for worker in workers {
        worker.await.map_err(io::Error::other)?;
    }
    tally.borrow().print(begin.elapsed().as_secs_f64());
    Ok(())
}

pub(crate) async fn within<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, what).await.unwrap_or_else(|_| Err(invalid("no answer in time")))
}

pub(crate) async fn connect(options: &Options) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(options.to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A request as the models' own clients send it.
pub(crate) fn request(options: &Options, line: &str, key: &str, extra: &str) -> Vec<u8> {
    format!(
        "{line} HTTP/1.1\r\nHost: {}\r\nUser-Agent: ollama-python/0.6\r\nAccept: */*\r\n\
         Authorization: Bearer {key}\r\n{extra}\r\n",
        options.to
    )
    .into_bytes()
}

pub(crate) fn expect(head: &Head, status: u16) -> io::Result<()> {
    if head.status == status {
        Ok(())
    } else {
        Err(invalid(format!("status {} instead of {status}", head.status)))
    }
}

/// Reads a whole body and compares it.
async fn exact(reader: &mut Reader, stream: &mut TcpStream, framing: Framing, body: &[u8]) -> io::Result<()> {
    let mut at = 0;
    reader
        .body(stream, framing, |bytes| {
            if !body[at..].starts_with(bytes) {
                return Err(invalid("a body with other content"));
            }
            at += bytes.len();
            Ok(Flow::More)
        })
        .await?;
    if at == body.len() { Ok(()) } else { Err(invalid("a body cut short")) }
}

/// Small proxied requests, one after another on each kept connection. Unit: an answered request.
pub async fn kept(options: &Options) -> io::Result<()> {
    repeat(options, "GET /api/tags", SMALL.as_bytes().into()).await
}

/// The same with a file of `bytes`, in which each byte tells its place. Unit: an answered request.
pub async fn file(options: &Options) -> io::Result<()> {
    let content = (0..options.bytes).map(|at| (at % BULK_PERIOD as u64) as u8).collect();
    repeat(options, "GET /file.bin", content).await
}

/// Asks for the same over and over, on kept connections.
async fn repeat(options: &Options, line: &'static str, content: Rc<[u8]>) -> io::Result<()> {
    let deadline = Instant::now() + options.duration;
    together(options, move |options, tally| {
        let content = Rc::clone(&content);
        async move {
            let bytes = request(&options, line, &options.key, "");
            let outcome =
                within_deadline(deadline, &tally, async |state: &mut Option<(TcpStream, Reader)>| {
                    if state.is_none() {
                        *state = Some((connect(&options).await?, Reader::with_capacity(4096)));
                    }
                    let Some((stream, reader)) = state else { return Ok(0) };
                    stream.write_all(&bytes).await?;
                    let head = reader.answer(stream).await?;
                    expect(&head, 200)?;
                    exact(reader, stream, head.framing, &content).await?;
                    Ok(1)
                });
            outcome.await;
        }
    })
    .await
}

/// Requests with a wrong key, each on a new connection that the gateway has to close. Unit: a refusal.
pub async fn refused(options: &Options) -> io::Result<()> {
    let deadline = Instant::now() + options.duration;
    together(options, move |options, tally| async move {
        let bytes = request(&options, "GET /api/tags", "wrong", "");
        within_deadline(deadline, &tally, async |_: &mut Option<()>| {
            let mut stream = connect(&options).await?;
            let mut reader = Reader::with_capacity(4096);
            stream.write_all(&bytes).await?;
            let head = reader.answer(&mut stream).await?;
            expect(&head, 401)?;
            exact(&mut reader, &mut stream, head.framing, b"Unauthorized").await?;
            reader.end(&mut stream).await?;
            Ok(1)
        })
        .await;
    })
    .await
}

/// Repeats `unit` until the deadline. After an error its state is dropped, and a pause keeps a gateway that
/// is down from turning this into a spin.
async fn within_deadline<S>(
    deadline: Instant,
    tally: &RefCell<Tally>,
    mut unit: impl AsyncFnMut(&mut Option<S>) -> io::Result<u64>,
) {
    let mut state = None;
    while Instant::now() < deadline {
        let outcome = within(unit(&mut state)).await;
        let failed = outcome.is_err();
        tally.borrow_mut().record(outcome);
        if failed {
            state = None;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Compares the bytes of a stream with the lines that were sent; counts whole lines.
struct Lines {
    number: u32,
    expected: Vec<u8>,
    at: usize,
}

impl Lines {
    fn new() -> Lines {
        Lines { number: 0, expected: upstream::line(0).into_bytes(), at: 0 }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let here = bytes.len().min(self.expected.len() - self.at);
            if self.expected[self.at..self.at + here] != bytes[..here] {
                return Err(invalid("a line with other content"));
            }
            self.at += here;
            bytes = &bytes[here..];
            if self.at == self.expected.len() {
                self.number += 1;
                self.expected = upstream::line(self.number).into_bytes();
                self.at = 0;
            }
        }
        Ok(())
    }
}

/// Paced streams side by side. Unit: a line that arrived.
pub async fn stream(options: &Options) -> io::Result<()> {
    let lines = (options.duration.as_secs_f64() / options.interval.as_secs_f64()).ceil().max(1.0) as u32;
    together(options, move |options, tally| async move {
        let outcome = one_stream(&options, lines).await;
        tally.borrow_mut().record(outcome);
    })
    .await
}

async fn one_stream(options: &Options, lines: u32) -> io::Result<u64> {
    let target = format!("POST /stream?{lines}&{}", options.interval.as_micros());
    let mut stream = connect(options).await?;
    let mut reader = Reader::new();
    stream.write_all(&request(options, &target, &options.key, "Content-Length: 2\r\n")).await?;
    stream.write_all(b"{}").await?;
    let head = within(reader.answer(&mut stream)).await?;
    expect(&head, 200)?;
    let mut seen = Lines::new();
    // A stream lasts as long as it was asked to; PATIENCE is for what comes beyond that.
    let whole = reader.body(&mut stream, head.framing, |bytes| seen.feed(bytes).map(|()| Flow::More));
    tokio::time::timeout(options.duration + PATIENCE, whole)
        .await
        .map_err(|_| invalid("a stream that stalled"))??;
    if seen.number == lines && seen.at == 0 {
        Ok(u64::from(lines))
    } else {
        Err(invalid(format!("{} lines of {lines}", seen.number)))
    }
}

/// Streams one after another on one kept connection, with a pause before each so that every process
/// involved is asleep when it comes. Prints the time to the first line of each, in nanoseconds.
pub async fn first_byte(options: &Options) -> io::Result<()> {
    let mut stream = connect(options).await?;
    let mut reader = Reader::new();
    let mut bytes = request(options, "POST /stream?2&1000", &options.key, "Content-Length: 2\r\n");
    bytes.extend_from_slice(b"{}");
    let mut times = Vec::with_capacity(options.count);
    for _ in 0..options.count {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let begin = Instant::now();
        stream.write_all(&bytes).await?;
        let head = within(reader.answer(&mut stream)).await?;
        expect(&head, 200)?;
        let mut first = None;
        let mut seen = Lines::new();
        let body = reader.body(&mut stream, head.framing, |bytes| {
            seen.feed(bytes)?;
            first.get_or_insert_with(|| begin.elapsed());
            Ok(Flow::More)
        });
        within(body).await?;
        let (Some(first), 2) = (first, seen.number) else { return Err(invalid("a stream cut short")) };
        times.push(first.as_nanos());
    }
    println!("{{\"nanoseconds\": {times:?}}}");
    Ok(())
}

/// Opens streams that fall silent after their first line, says so, and keeps them until stdin closes.
pub async fn hold(options: &Options) -> io::Result<()> {
    let mut held = Vec::with_capacity(options.connections);
    let bytes = {
        let mut bytes = request(options, "POST /stream?0&0", &options.key, "Content-Length: 2\r\n");
        bytes.extend_from_slice(b"{}");
        bytes
    };
    for _ in 0..options.connections {
        let mut stream = connect(options).await?;
        let mut reader = Reader::with_capacity(1024);
        stream.write_all(&bytes).await?;
        let head = within(reader.answer(&mut stream)).await?;
        expect(&head, 200)?;
        let mut seen = Lines::new();
        let first = reader.body(&mut stream, head.framing, |bytes| {
            seen.feed(bytes)?;
            Ok(if seen.number > 0 { Flow::Enough } else { Flow::More })
        });
        within(first).await?;
        held.push(stream);
    }
    println!("{{\"open\": {}}}", held.len());
    upstream::stdin_closed().await
}

/// Large answers, `bytes` over all connections. Unit: a byte that arrived and was the right one.
pub async fn download(options: &Options) -> io::Result<()> {
    let share = options.bytes / options.connections as u64;
    together(options, move |options, tally| async move {
        let outcome = one_download(&options, share).await;
        tally.borrow_mut().record(outcome);
    })
    .await
}

async fn one_download(options: &Options, share: u64) -> io::Result<u64> {
    let mut stream = connect(options).await?;
    let mut reader = Reader::new();
    stream.write_all(&request(options, &format!("GET /bulk?{share}"), &options.key, "")).await?;
    let head = within(reader.answer(&mut stream)).await?;
    expect(&head, 200)?;
    let mut received = 0u64;
    let body = reader.body(&mut stream, head.framing, |bytes| {
        // The ends of each piece tell a shifted or lost byte; comparing all of them would cost as much as
        // the gateway does.
        let last = received + bytes.len() as u64 - 1;
        let right = |at: u64, byte: u8| u64::from(byte) == at % BULK_PERIOD as u64;
        if !right(received, bytes[0]) || !right(last, bytes[bytes.len() - 1]) {
            return Err(invalid("a byte in the wrong place"));
        }
        received += bytes.len() as u64;
        Ok(Flow::More)
    });
    within(body).await?;
    if received == share { Ok(share) } else { Err(invalid("a body cut short")) }
}

/// Large requests, `bytes` over all connections. Unit: a byte that the upstream says it got.
pub async fn upload(options: &Options) -> io::Result<()> {
    let share = options.bytes / options.connections as u64;
    together(options, move |options, tally| async move {
        let outcome = within(one_upload(&options, share)).await;
        tally.borrow_mut().record(outcome);
    })
    .await
}

async fn one_upload(options: &Options, share: u64) -> io::Result<u64> {
    let mut stream = connect(options).await?;
    let mut reader = Reader::new();
    let length = format!("Content-Length: {share}\r\n");
    stream.write_all(&request(options, "POST /bulk", &options.key, &length)).await?;
    let piece = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < share {
        let here = (share - sent).min(piece.len() as u64) as usize;
        stream.write_all(&piece[..here]).await?;
        sent += here as u64;
    }
    let head = reader.answer(&mut stream).await?;
    expect(&head, 200)?;
    exact(&mut reader, &mut stream, head.framing, share.to_string().as_bytes()).await?;
    Ok(share)
}
