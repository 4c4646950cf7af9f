//! What holds for whatever comes in on an HTTP/1 connection. The fuzzer and the tests share this.
//!
//! How bytes are cut into packets changes nothing of what is read from them; and what is taken for a
//! request, a second, simpler reader takes for the same one.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Frame;

use super::body::ClientBody;
use super::link::lock;
use super::refusal::Refusal;
use super::request::Request;
use super::scripted::Scripted;

/// Small, so that both sides of the limit are met often.
const HEAD_BYTES_MAX: usize = 300;

/// A request as it was read.
#[derive(Debug, PartialEq)]
struct Seen {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    /// Whether its body came to its end.
    is_whole: bool,
}

/// How a connection goes on behind the requests that were read.
#[derive(Debug, PartialEq)]
enum Behind {
    /// More is waited for.
    Waits,
    /// What comes is no request.
    Refused(Refusal),
    /// A body was broken, so nothing behind it is read.
    Broken,
}

/// What is read of `bytes` if each request is answered as soon as it has come.
fn read(bytes: &[u8], primed: usize, lengths: &[u8]) -> (Vec<Seen>, Behind) {
    let (first, left) = bytes.split_at(primed.min(bytes.len()));
    let packets = Scripted::sends(left, lengths);
    let link = packets.link(Bytes::copy_from_slice(first), HEAD_BYTES_MAX);
    let link = Arc::new(Mutex::new(link));
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    loop {
        let next = lock(&link).poll_next(&mut cx);
        let request = match next {
            Poll::Ready(Ok(Some(request))) => request,
            Poll::Ready(Err(refusal)) => return (all, Behind::Refused(refusal)),
            Poll::Pending | Poll::Ready(Ok(None)) => return (all, Behind::Waits),
        };
        let mut body = ClientBody::new(link.clone(), request.follows);
        let mut seen = seen(&request);
        let behind = loop {
            match body.poll_frame(&mut cx).map(|frame| frame.map(|frame| frame.map(Frame::into_data))) {
                Poll::Ready(Some(Ok(Ok(data)))) => seen.body.extend_from_slice(&data),
                Poll::Ready(Some(Ok(Err(_)))) => {}
                Poll::Ready(None) => break None,
                Poll::Ready(Some(Err(_))) => break Some(Behind::Broken),
                Poll::Pending => break Some(Behind::Waits),
            }
        };
        seen.is_whole = behind.is_none();
        all.push(seen);
        if let Some(behind) = behind {
            return (all, behind);
        }
    }
}

fn seen(request: &Request) -> Seen {
    let fields = request.headers.iter();
    let mut fields: Vec<_> =
        fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    fields.sort();
    Seen {
        method: request.method.to_string(),
        target: request.uri.to_string(),
        fields,
        body: Vec::new(),
        is_whole: false,
    }
}

/// Reads the request at the start of `bytes` line by line, and what is behind it.
///
/// # Panics
/// It is none, or its framing is in doubt.
fn read_simply(bytes: &[u8]) -> (Seen, &[u8]) {
    let (line, mut rest) = line(bytes).expect("a request line");
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split(' ').collect();
    let [method, target, "HTTP/1.0" | "HTTP/1.1"] = words[..] else { panic!("a request line: {text}") };
    let mut fields = Vec::new();
    loop {
        let (line, behind) = self::line(rest).expect("a field, or the end of the head");
        rest = behind;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        assert!(!name.contains(char::is_whitespace), "white space in a field's name");
        fields.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    let values = |wanted: &str| -> Vec<&[u8]> {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| &value[..]).collect()
    };
    assert!(values("host").len() <= 1, "several hosts");
    let (has_body, (body, is_whole, rest)) = match (&*values("content-length"), &*values("transfer-encoding"))
    {
        ([], []) => (false, (Vec::new(), true, rest)),
        ([length], []) => {
            let length = std::str::from_utf8(length).expect("a length is a number");
            let length: u64 = length.parse().expect("a length is a number");
            let part = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
            (length > 0, (rest[..part].to_vec(), part as u64 == length, &rest[part..]))
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"), "another coding");
            (true, read_chunks(rest))
        }
        _ => panic!("a length in doubt: {text}"),
    };
    // An upgrade beside a body is not asked for.
    fields.retain(|(name, _)| !has_body || name != "upgrade");
    fields.sort();
    let target = escaped(target);
    (Seen { method: method.to_owned(), target, fields, body, is_whole }, rest)
}

/// What may stand in a target only where somebody has typed it is escaped.
fn escaped(target: &str) -> String {
    if !target.starts_with('/') {
        return target.to_owned();
    }
    [('"', "%22"), ('<', "%3C"), ('>', "%3E"), ('`', "%60")]
        .iter()
        .fold(target.to_owned(), |target, (raw, escape)| target.replace(*raw, escape))
}

/// The data of chunks, whether they are complete, and what is behind them.
fn read_chunks(mut bytes: &[u8]) -> (Vec<u8>, bool, &[u8]) {
    let mut body = Vec::new();
    loop {
        let Some((size_line, rest)) = line(bytes) else { return (body, false, bytes) };
        let digits = size_line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&size_line[..digits]).ok();
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            return (body, false, bytes);
        };
        if size == 0 {
            bytes = rest;
            break;
        }
        let part = size.min(rest.len());
        body.extend_from_slice(&rest[..part]);
        match rest[part..].strip_prefix(b"\r\n") {
            Some(behind) if part == size => bytes = behind,
            _ => return (body, false, bytes),
        }
    }
    loop {
        let Some((trailer, rest)) = line(bytes) else { return (body, false, bytes) };
        bytes = rest;
        if trailer.is_empty() {
            return (body, true, bytes);
        }
    }
}

/// The line at the start of `bytes`, without its end, and what is behind it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    memchr::memmem::find(bytes, b"\r\n").map(|end| (&bytes[..end], &bytes[end + 2..]))
}

/// Checks everything for one client, whose packets are cut in several ways.
///
/// # Panics
/// Something does not hold.
pub fn check(bytes: &[u8], primed: usize, lengths: &[u8]) {
    let whole = read(bytes, bytes.len(), &[]);
    for (primed, lengths) in [(0, &[][..]), (primed, lengths), (0, &[1; 4096])] {
        let cut = read(bytes, primed, lengths);
        assert!(cut == whole, "it matters how this is cut: {:?}", String::from_utf8_lossy(bytes));
    }
    let mut rest = bytes;
    for seen in &whole.0 {
        let (found, behind) = read_simply(rest);
        if seen.is_whole {
            assert_eq!(*seen, found, "in {:?}", String::from_utf8_lossy(bytes));
        } else {
            // Of a broken body either reader may stop sooner.
            assert_eq!(
                (&seen.method, &seen.target, &seen.fields),
                (&found.method, &found.target, &found.fields)
            );
            assert!(found.body.starts_with(&seen.body), "in {:?}", String::from_utf8_lossy(bytes));
        }
        rest = behind;
    }
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
        fn cuts_change_nothing_and_a_second_reader_finds_the_same_requests(
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
