//! Reading one HTTP/1.1 message at a time, strictly enough to notice a wrong one.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Bytes read from the connection at once at most.
const READ_BYTES: usize = 64 * 1024;
/// A head larger than this is not one of ours.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The reading half of a connection: bytes that have come and are not used yet.
pub struct Reader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// The head of a request or an answer, as far as anyone here cares.
#[derive(Debug)]
pub struct Head {
    /// The status of an answer; 0 in a request.
    pub status: u16,
    /// The method of a request; empty in an answer.
    pub method: String,
    /// The target of a request; empty in an answer.
    pub target: String,
    pub framing: Framing,
    /// Whether the sender said that it closes the connection after this message.
    pub close: bool,
}

/// Which kind of message is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Answer,
}

pub fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Reader {
    pub fn new() -> Reader {
        Reader::with_capacity(READ_BYTES)
    }

    /// A reader for one of very many quiet connections.
    pub fn with_capacity(bytes: usize) -> Reader {
        Reader { buffer: vec![0; bytes], start: 0, end: 0 }
    }

    /// Makes room for large reads from now on.
    pub fn grow(&mut self) {
        self.buffer.resize(READ_BYTES, 0);
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads more; false at the end of the connection.
    async fn fill(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            return Err(invalid("more bytes than fit the buffer"));
        }
        let read = stream.read(&mut self.buffer[self.end..]).await?;
        self.end += read;
        Ok(read > 0)
    }

    /// The head of the next answer.
    pub async fn answer(&mut self, stream: &mut TcpStream) -> io::Result<Head> {
        match self.head(stream, Side::Answer).await? {
            Some(head) => Ok(head),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the answer's head")),
        }
    }

    /// The head of the next request; `None` when the client has gone.
    pub async fn request(&mut self, stream: &mut TcpStream) -> io::Result<Option<Head>> {
        self.head(stream, Side::Request).await
    }

    async fn head(&mut self, stream: &mut TcpStream, side: Side) -> io::Result<Option<Head>> {
        loop {
            if let Some((length, head)) = parse(self.unread(), side)? {
                self.start += length;
                return Ok(Some(head));
            }
            if self.unread().len() > HEAD_BYTES_MAX {
                return Err(invalid("a head without an end"));
            }
            if !self.fill(stream).await? {
                return if self.unread().is_empty() {
                    Ok(None)
                } else {
                    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed within a head"))
                };
            }
        }
    }

    /// Hands the body's bytes to `sink` as they come, without the framing, until the body ends or `sink`
    /// says that it has seen enough.
    pub async fn body(
        &mut self,
        stream: &mut TcpStream,
        framing: Framing,
        mut sink: impl FnMut(&[u8]) -> io::Result<Flow>,
    ) -> io::Result<()> {
        match framing {
            Framing::Length(length) => {
                self.counted(stream, length, &mut sink).await?;
                Ok(())
            }
            Framing::UntilClose => loop {
                if self.unread().is_empty() && !self.fill(stream).await? {
                    return Ok(());
                }
                let flow = sink(self.unread())?;
                self.start = self.end;
                if flow == Flow::Enough {
                    return Ok(());
                }
            },
            Framing::Chunked => loop {
                let length = self.chunk_size(stream).await?;
                if length > 0 && self.counted(stream, length, &mut sink).await? == Flow::Enough {
                    return Ok(());
                }
                self.line_end(stream).await?;
                if length == 0 {
                    return Ok(());
                }
            },
        }
    }

    async fn counted(
        &mut self,
        stream: &mut TcpStream,
        length: u64,
        sink: &mut impl FnMut(&[u8]) -> io::Result<Flow>,
    ) -> io::Result<Flow> {
        let mut left = length;
        while left > 0 {
            if self.unread().is_empty() && !self.fill(stream).await? {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed within a body"));
            }
            let here = self.unread().len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let flow = sink(&self.unread()[..here])?;
            self.start += here;
            left -= here as u64;
            if flow == Flow::Enough {
                return Ok(Flow::Enough);
            }
        }
        Ok(Flow::More)
    }

    async fn chunk_size(&mut self, stream: &mut TcpStream) -> io::Result<u64> {
        loop {
            match httparse::parse_chunk_size(self.unread()) {
                Ok(httparse::Status::Complete((used, length))) => {
                    self.start += used;
                    return Ok(length);
                }
                Ok(httparse::Status::Partial) => {}
                Err(_) => return Err(invalid("a bad chunk size")),
            }
            if !self.fill(stream).await? {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed within the chunks"));
            }
        }
    }

    /// The CRLF after a chunk, or after the last one (trailers are none of our messages').
    async fn line_end(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.unread().len() < 2 {
            if !self.fill(stream).await? {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed within the chunks"));
            }
        }
        if self.unread()[..2] != *b"\r\n" {
            return Err(invalid("a chunk that does not end where it should"));
        }
        self.start += 2;
        Ok(())
    }

    /// Waits for the end of the connection; whatever still comes is an error.
    pub async fn end(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if !self.unread().is_empty() || self.fill(stream).await? {
            return Err(invalid("bytes after the last answer"));
        }
        Ok(())
    }
}

/// Whether the receiver of a body wants the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    More,
    Enough,
}

fn parse(bytes: &[u8], side: Side) -> io::Result<Option<(usize, Head)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = Head {
        status: 0,
        method: String::new(),
        target: String::new(),
        framing: Framing::Length(0),
        close: false,
    };
    let complete = match side {
        Side::Answer => {
            let mut answer = httparse::Response::new(&mut fields);
            let status = answer.parse(bytes).map_err(|error| invalid(format!("a bad head: {error}")))?;
            head.status = answer.code.unwrap_or(0);
            head.framing = Framing::UntilClose;
            status
        }
        Side::Request => {
            let mut request = httparse::Request::new(&mut fields);
            let status = request.parse(bytes).map_err(|error| invalid(format!("a bad head: {error}")))?;
            head.method = request.method.unwrap_or("").to_owned();
            head.target = request.path.unwrap_or("").to_owned();
            status
        }
    };
    let httparse::Status::Complete(length) = complete else { return Ok(None) };
    for field in fields.iter().take_while(|field| !field.name.is_empty()) {
        if field.name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(field.value).ok().and_then(|value| value.parse().ok());
            head.framing = Framing::Length(value.ok_or_else(|| invalid("a bad length"))?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            head.framing = Framing::Chunked;
        } else if field.name.eq_ignore_ascii_case("connection") {
            head.close = field.value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Some((length, head)))
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::{Flow, Head, Reader};

    /// Reads one answer that comes in pieces of `size` bytes, and then the end of the connection.
    async fn read(bytes: &'static [u8], size: usize) -> io::Result<(Head, String)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        let (mut server, _) = listener.accept().await?;
        server.set_nodelay(true)?;
        let sender = async move {
            for piece in bytes.chunks(size) {
                server.write_all(piece).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, io::Error>(())
        };
        let receiver = async {
            let mut reader = Reader::with_capacity(1024);
            let head = reader.answer(&mut client).await?;
            let mut body = Vec::new();
            let framing = head.framing;
            reader
                .body(&mut client, framing, |piece| {
                    body.extend_from_slice(piece);
                    Ok(Flow::More)
                })
                .await?;
            reader.end(&mut client).await?;
            Ok((head, String::from_utf8_lossy(&body).into_owned()))
        };
        let (sent, received) = tokio::join!(sender, receiver);
        sent.and(received)
    }

    #[tokio::test]
    async fn every_framing_is_read_however_it_is_cut() {
        for size in [1, 7, 1000] {
            let length = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
            let (head, body) = read(length, size).await.unwrap();
            assert_eq!((head.status, head.close, body.as_str()), (200, true, "hello"));
            let chunked =
                b"HTTP/1.1 401 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
            let (head, body) = read(chunked, size).await.unwrap();
            assert_eq!((head.status, head.close, body.as_str()), (401, false, "hello"));
            let (_, body) = read(b"HTTP/1.1 200 OK\r\n\r\nhello", size).await.unwrap();
            assert_eq!(body, "hello");
        }
    }

    #[tokio::test]
    async fn what_is_not_whole_or_not_http_is_an_error() {
        let wrong: [&[u8]; 6] = [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        ];
        for bytes in wrong {
            assert!(read(bytes, 1000).await.is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
