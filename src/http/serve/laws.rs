//! What holds for whatever comes in on an HTTP/1 connection. The fuzzer and the tests share this.
//!
//! A guard must not care how bytes are cut into packets, and whatever it lets hyper have, hyper must
//! read as the same requests. The second reader here stands for hyper: it uses hyper's parser, and
//! takes bodies apart in its own way.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use socket2::TcpKeepalive;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::WireLimits;
use super::guard::Guard;
use super::listener::{Gone, Transport};
use crate::http::ConnInfo;

/// Small, so that both sides of the limit are met often.
const HEAD_BYTES_MAX: usize = 300;
/// What the guard's stand-in begins with; no request of a test does.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\n";

/// A client that sends its packets one by one, then nothing more.
struct Packets<'a> {
    left: &'a [u8],
    /// The lengths of the packets; the last one goes on for ever.
    lengths: &'a [u8],
}

impl AsyncRead for Packets<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.is_empty() {
            return Poll::Pending;
        }
        let length = match self.lengths {
            [] => usize::MAX,
            [length, ..] => usize::from(*length).max(1),
        };
        let length = length.min(self.left.len()).min(buf.remaining());
        buf.put_slice(&self.left[..length]);
        self.left = &self.left[length..];
        self.lengths = self.lengths.get(1..).unwrap_or_default();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Packets<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Packets<'_> {
    fn local(&self) -> Option<SocketAddr> {
        None
    }

    fn keep_alive(&self, _: &TcpKeepalive) {}

    fn gone(&self) -> io::Result<Gone> {
        Ok(Box::pin(std::future::pending()))
    }
}

/// What hyper gets of `bytes` if each request is answered as soon as it has come, and whether the
/// connection goes on.
fn admitted(bytes: &[u8], primed: usize, lengths: &[u8]) -> (Vec<u8>, bool) {
    let limits = WireLimits {
        head_bytes_max: HEAD_BYTES_MAX,
        head_timeout: None,
        idle_timeout: None,
        read_idle_timeout: None,
        write_idle_timeout: None,
        read_timeout: None,
        write_timeout: None,
        keep_alive: None,
    };
    let conn = Arc::new(ConnInfo::new(None, None, None));
    let (first, left) = bytes.split_at(primed.min(bytes.len()));
    let mut guard = Guard::new(Packets { left, lengths }, conn.clone(), Arc::new(limits), false);
    guard.prime(first.to_vec());
    let mut all = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        let mut room = [0; 97];
        let mut buf = ReadBuf::new(&mut room);
        match Pin::new(&mut guard).poll_read(&mut cx, &mut buf) {
            Poll::Ready(Ok(())) => all.extend_from_slice(buf.filled()),
            Poll::Ready(Err(_)) => return (all, false),
            Poll::Pending if guard.heads() != conn.wire.requests() => {
                conn.wire.begin();
                conn.wire.end();
            }
            Poll::Pending => return (all, true),
        }
    }
}

/// Where the request at the start of `bytes` ends; `None` if it isn't complete.
///
/// # Panics
/// hyper would not read it, or its framing is in doubt.
fn end_of_request(bytes: &[u8]) -> Option<usize> {
    let mut fields = [httparse::EMPTY_HEADER; 200];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes);
    let httparse::Status::Complete(head) = parsed.unwrap_or(httparse::Status::Partial) else {
        assert!(parsed.is_ok(), "hyper can't read {:?}", String::from_utf8_lossy(bytes));
        return None;
    };
    let values = |name: &str| -> Vec<&[u8]> {
        let fields = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        fields.map(|field| field.value).collect()
    };
    assert!(values("host").len() <= 1, "several hosts");
    match (&*values("content-length"), &*values("transfer-encoding")) {
        ([], []) => Some(head),
        ([length], []) => {
            let length = std::str::from_utf8(length).unwrap_or_default().parse().unwrap_or(usize::MAX);
            head.checked_add(length).filter(|end| *end <= bytes.len())
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"), "another coding");
            end_of_chunks(&bytes[head..]).map(|end| head + end)
        }
        _ => panic!("a length in doubt: {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Where chunks end, read line by line; `None` if they aren't complete.
fn end_of_chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = line(&bytes[at..])?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16);
        let size = usize::try_from(size.expect("a chunk has a size")).unwrap_or(usize::MAX);
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        let end = at.checked_add(size)?;
        let behind = bytes.get(end..end.checked_add(2)?)?;
        assert_eq!(behind, b"\r\n", "no line end behind a chunk");
        at = end + 2;
    }
    loop {
        let line = line(&bytes[at..])?;
        at += line.len() + 2;
        if line.is_empty() {
            return Some(at);
        }
    }
}

/// The line at the start of `bytes`, without its end.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    memchr::memmem::find(bytes, b"\r\n").map(|end| &bytes[..end])
}

/// Checks everything for one client, whose packets are cut in several ways.
///
/// # Panics
/// Something does not hold.
pub fn check(bytes: &[u8], primed: usize, lengths: &[u8]) {
    let whole = admitted(bytes, bytes.len(), &[]);
    for (primed, lengths) in [(0, &[][..]), (primed, lengths), (0, &[1; 4096])] {
        let cut = admitted(bytes, primed, lengths);
        // Of a body that turns out broken, hyper may get more or less of what is sound.
        let broken = !whole.1 && (cut.0.starts_with(&whole.0) || whole.0.starts_with(&cut.0));
        let same = cut.1 == whole.1 && (broken || cut.0 == whole.0);
        assert!(same, "it matters how this is cut: {:?}", String::from_utf8_lossy(bytes));
    }
    let (mut rest, mut taken) = (&whole.0[..], 0);
    while !rest.is_empty() && !rest.starts_with(STAND_IN) {
        let Some(end) = end_of_request(rest) else {
            // Only the last one may be incomplete, and then the guard waits for more of the same.
            taken += rest.len();
            break;
        };
        rest = &rest[end..];
        taken += end;
    }
    assert!(was_sent(&whole.0[..taken], bytes), "hyper got what nobody sent");
}

/// Whether `got` is the beginning of what was sent; but for letters, and what is escaped in targets.
fn was_sent(mut got: &[u8], mut sent: &[u8]) -> bool {
    const ESCAPED: [(&[u8], u8); 4] = [(b"%22", b'"'), (b"%3C", b'<'), (b"%3E", b'>'), (b"%60", b'`')];
    while let [byte, rest @ ..] = got {
        let Some((own, behind)) = sent.split_first() else { return true };
        let escape = ESCAPED.iter().find(|(escape, raw)| raw == own && got.starts_with(escape));
        got = match escape {
            Some((escape, _)) => &got[escape.len()..],
            None if byte == own || byte.is_ascii_alphabetic() && own.is_ascii_alphabetic() => rest,
            None => return false,
        };
        sent = behind;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Connections made of what means something in HTTP/1, in a more or less sensible order.
    fn connection() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /<a>?b=\"`\" HTTP/1.1\r\nHost: h\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\n",
            "POST / HTTP/1.0\r\n",
            "Content-Length: 4\r\n",
            "Content-Length: 04 \r\n",
            "Content-Length: 4, 4\r\n",
            "Content-Length: 18446744073709551615\r\n",
            "Content-Length:\t2\r\n",
            "Transfer-Encoding: Chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: \r\n",
            "Transfer-Encoding : chunked\r\n",
            "X: \u{e9}\r\n",
            "\r\n",
            "\n",
            "\r",
            " ",
            "\0",
            "0\r\n\r\n",
            "0;x\r\nA: b\r\n\r\n",
            "3\r\nabc\r\n",
            "00a;b=\"c\"\r\n0123456789\r\n",
            "fffffffffffffffff\r\n",
            "5\nhello\n",
            "abcde",
            "a: b",
        ]);
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn cuts_change_nothing_and_hyper_reads_the_same_requests(
            bytes in connection(),
            primed in 0..400_usize,
            lengths in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            check(&bytes, primed, &lengths);
        }

        #[test]
        fn so_it_is_with_any_bytes(
            bytes in any::<Vec<u8>>(),
            primed in 0..100_usize,
            lengths in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            check(&bytes, primed, &lengths);
        }
    }
}
