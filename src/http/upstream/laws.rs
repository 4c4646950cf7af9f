//! What holds for whatever an HTTP/1 upstream answers. The fuzzer and the tests share this.
//!
//! How an answer is cut into packets changes nothing of what is read from it, and what is read is
//! what a second, simpler reader finds.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::decode::{Framing, framing};
use super::h1::parse_head;
use crate::http::chunked::{Chunked, Piece};

/// How an answer was read.
#[derive(Debug, PartialEq)]
enum Read {
    /// It is refused, or breaks off.
    Failed,
    /// All of it: status, body, names of trailers, and what is behind it.
    Complete { status: StatusCode, body: Vec<u8>, trailers: Vec<String>, behind: Vec<u8> },
}

/// Reads an answer to a request of `method` that comes in packets of these lengths.
fn read(bytes: &[u8], method: &Method, lengths: &[u8]) -> Read {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(Some((head, length))) = parse_head(&bytes) else { return Read::Failed };
    let Ok(mut framing) = framing(method, head.status, &head.headers) else { return Read::Failed };
    let mut left = bytes.slice(length..);
    let mut lengths =
        lengths.iter().map(|length| usize::from(*length).max(1)).chain(std::iter::repeat(usize::MAX));
    let (mut now, mut body, mut trailers) = (Bytes::new(), Vec::new(), Vec::new());
    loop {
        let piece = match &mut framing {
            Framing::Length(0) => Piece::End,
            _ if now.is_empty() && left.is_empty() => match framing {
                Framing::Close => Piece::End,
                _ => return Read::Failed,
            },
            _ if now.is_empty() => Piece::More,
            Framing::Length(owed) => {
                let take = usize::try_from(*owed).unwrap_or(usize::MAX).min(now.len());
                *owed -= take as u64;
                Piece::Data(now.split_to(take))
            }
            Framing::Close => Piece::Data(std::mem::take(&mut now)),
            Framing::Chunked(chunked) => match chunked.next(&mut now) {
                Ok(piece) => piece,
                Err(_) => return Read::Failed,
            },
        };
        match piece {
            Piece::Data(data) => {
                assert!(!data.is_empty(), "an empty piece would end an answer");
                body.extend_from_slice(&data);
            }
            Piece::Trailers(map) => trailers = map.keys().map(ToString::to_string).collect(),
            Piece::End => {}
            Piece::More => {
                now = left.split_to(lengths.next().unwrap_or(usize::MAX).min(left.len()));
                continue;
            }
        }
        if matches!(framing, Framing::Length(0) | Framing::Chunked(Chunked::End))
            || framing == Framing::Close && now.is_empty() && left.is_empty()
        {
            return Read::Complete { status: head.status, body, trailers, behind: [now, left].concat() };
        }
    }
}

/// The data of chunks and how long they are altogether, read line by line.
fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let line = |at: usize| {
        let rest = bytes.get(at..)?;
        memchr::memmem::find(rest, b"\r\n").map(|end| &rest[..end])
    };
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let size_line = line(at)?;
        let digits = size_line.split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        at += size_line.len() + 2;
        if size == 0 {
            break;
        }
        data.extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        at += size;
        if bytes.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    while let Some(trailer) = line(at) {
        at += trailer.len() + 2;
        if trailer.is_empty() {
            return Some((data, at));
        }
    }
    None
}

/// Checks everything for one answer.
///
/// # Panics
/// Something does not hold.
pub fn check(bytes: &[u8], lengths: &[u8]) {
    for method in [Method::GET, Method::HEAD, Method::CONNECT] {
        let whole = read(bytes, &method, &[]);
        for lengths in [lengths, &[1; 4096]] {
            let cut = read(bytes, &method, lengths);
            assert!(cut == whole, "it matters how this is cut: {:?}", String::from_utf8_lossy(bytes));
        }
        let Read::Complete { status, body, behind, .. } = whole else { continue };
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if method == Method::HEAD || bodiless {
            assert!(body.is_empty(), "a body where there is none");
            continue;
        }
        let parsed = parse_head(&Bytes::copy_from_slice(bytes));
        let Ok(Some((head, length))) = parsed else { panic!("the head was read before") };
        if head.headers.contains_key(http::header::TRANSFER_ENCODING) {
            let (data, end) = chunks(&bytes[length..]).expect("a second reader finds the end too");
            assert_eq!((&body, &behind[..]), (&data, &bytes[length + end..]));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Answers made of what means something in HTTP/1, in a more or less sensible order.
    fn answer() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 204 \r\n",
            "HTTP/1.0 200 OK\n",
            "HTTP/1.1 200\r\n",
            "Content-Length: 3\r\n",
            "Content-Length: +3\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "X: \u{e9}\r\n",
            "\r\n",
            "\n",
            "\r",
            "0\r\n\r\n",
            "000;x=\"\u{e9}\"\r\nA: b\r\n\r\n",
            "3\r\nabc\r\n",
            "00a;b\r\n0123456789\r\n",
            "ffffffffffffffff\r\n",
            "3\nabc\n",
            "abcde",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn cuts_change_nothing_and_a_second_reader_agrees(
            bytes in answer(),
            lengths in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            check(&bytes, &lengths);
        }

        #[test]
        fn so_it_is_with_any_bytes_behind_a_head(
            body in any::<Vec<u8>>(),
            chunked in any::<bool>(),
            lengths in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let framing = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 20" };
            let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
            check(&[head.as_bytes(), &body].concat(), &lengths);
        }
    }
}
