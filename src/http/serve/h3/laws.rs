//! What holds for whatever comes in on a stream of HTTP/3. The fuzzer and the tests share this.
//!
//! How a stream is cut into packets changes nothing, and a request's frames are those that a second,
//! simpler reader finds. What a field section says can be written and read again, and whatever passes for a
//! request's head can't be read in two ways by an upstream that speaks HTTP/1.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use quinn::{ReadError, VarInt};

use super::code::Code;
use super::control::{self, End, Said};
use super::frames::{FrameError, Frames, Piece};
use super::message::{self, Head};
use super::qpack::{self, Field, SectionError};
use super::reader::Source;

/// Small, so that both sides of the limit are met often.
const SECTION_BYTES_MAX: usize = 300;
/// A reader may hold less than a section, and one read.
const HELD_BYTES_MAX: usize = SECTION_BYTES_MAX + 16 * 1024;

/// How a client's stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Finished,
    Reset,
    /// It doesn't.
    Silent,
}

/// A stream whose packets come one by one.
struct Packets<'a> {
    left: &'a [u8],
    /// The lengths of the packets; the last one goes on to the end.
    lengths: &'a [u8],
    ending: Ending,
    /// What is left of the packet that has come.
    now: usize,
}

impl<'a> Packets<'a> {
    fn new(left: &'a [u8], lengths: &'a [u8], ending: Ending) -> Self {
        Self { left, lengths, ending, now: 0 }
    }
}

impl Source for Packets<'_> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, ReadError>> {
        if self.left.is_empty() {
            return match self.ending {
                Ending::Finished => Poll::Ready(Ok(0)),
                Ending::Reset => Poll::Ready(Err(ReadError::Reset(VarInt::from_u32(0x10c)))),
                Ending::Silent => Poll::Pending,
            };
        }
        if self.now == 0 {
            // The next one comes a moment later.
            self.now =
                self.lengths.split_off_first().map_or(usize::MAX, |length| usize::from(*length).max(1));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = self.now.min(self.left.len()).min(buf.len());
        buf[..length].copy_from_slice(&self.left[..length]);
        self.left = &self.left[length..];
        self.now -= length;
        Poll::Ready(Ok(length))
    }

    fn stop(&mut self, _: Code) {}
}

/// Polls until there is something, or nothing will come any more, which takes two polls for each packet.
fn wait<T>(packets: usize, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..packets * 2 + 4 {
        if let Poll::Ready(ready) = poll(&mut cx) {
            return Some(ready);
        }
    }
    None
}

/// How reading a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Complete,
    /// More is to come.
    Waits,
    Lost,
    TooLarge,
    Stream(Code),
    Connection(Code),
}

impl From<FrameError> for Over {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Lost(_) => Self::Lost,
            FrameError::Stream(code) => Self::Stream(code),
            FrameError::Connection(code) => Self::Connection(code),
            FrameError::TooLarge => Self::TooLarge,
        }
    }
}

/// What was read of a request.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    head: Option<Vec<u8>>,
    data: Vec<u8>,
    trailers: Option<Vec<u8>>,
    over: Over,
}

/// Reads a request that comes in packets of these lengths.
fn read(bytes: &[u8], lengths: &[u8], ending: Ending, looks_ahead: bool) -> Read {
    let packets = lengths.len();
    let mut frames = Frames::new(Packets::new(bytes, lengths, ending), SECTION_BYTES_MAX);
    let mut read = Read { head: None, data: Vec::new(), trailers: None, over: Over::Waits };
    let head = wait(packets, |cx| frames.poll_head(cx));
    assert!(frames.held() <= HELD_BYTES_MAX);
    match head {
        None => return read,
        Some(Err(error)) => return Read { over: error.into(), ..read },
        Some(Ok(section)) => read.head = Some(section.to_vec()),
    }
    if looks_ahead {
        let found = wait(packets, |cx| frames.poll_ahead(cx));
        assert!(found.is_some() || ending == Ending::Silent, "a look ahead that never ends");
    }
    loop {
        let piece = wait(packets, |cx| frames.poll_piece(cx));
        assert!(frames.held() <= HELD_BYTES_MAX);
        match piece {
            None => return read,
            Some(None) => return Read { over: Over::Complete, ..read },
            Some(Some(Err(error))) => return Read { over: error.into(), ..read },
            Some(Some(Ok(Piece::Data(data)))) => {
                assert!(!data.is_empty(), "an empty piece would end a body");
                assert_eq!(read.trailers, None, "data behind trailers");
                read.data.extend_from_slice(&data);
            }
            Some(Some(Ok(Piece::Trailers(section)))) => {
                assert!(read.trailers.replace(section.to_vec()).is_none(), "trailers twice");
            }
        }
    }
}

/// The same by a simpler reader, which has all of a stream that is finished.
fn read_whole(mut bytes: &[u8]) -> Read {
    let mut read = Read { head: None, data: Vec::new(), trailers: None, over: Over::Complete };
    let over = loop {
        if bytes.is_empty() {
            break if read.head.is_some() { Over::Complete } else { Over::Stream(Code::RequestIncomplete) };
        }
        let Some((kind, length)) = take_varint(&mut bytes).zip(take_varint(&mut bytes)) else {
            break Over::Connection(Code::Frame);
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let is_cut = bytes.len() < length;
        let (payload, rest) = bytes.split_at(length.min(bytes.len()));
        bytes = rest;
        match kind {
            0x02..=0x09 | 0x0d => break Over::Connection(Code::FrameUnexpected),
            0x01 if length > SECTION_BYTES_MAX => break Over::TooLarge,
            0x00 if read.head.is_none() => break Over::Connection(Code::FrameUnexpected),
            0x00 | 0x01 if read.trailers.is_some() => break Over::Connection(Code::FrameUnexpected),
            0x00 => read.data.extend_from_slice(payload),
            0x01 if is_cut => {}
            0x01 if read.head.is_none() => read.head = Some(payload.to_vec()),
            0x01 => read.trailers = Some(payload.to_vec()),
            _ => {}
        }
        if is_cut {
            break Over::Connection(Code::Frame);
        }
    };
    Read { over, ..read }
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1 << (bytes.first()? >> 6);
    let (own, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    let all = own.iter().fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
    Some(all & (u64::MAX >> (64 - length * 8 + 2)))
}

/// What the client has said on a stream beside its requests, and what that comes to.
fn listen(bytes: &[u8], lengths: &[u8], ending: Ending) -> (Option<End>, u64) {
    let said = Said::default();
    let mut listening = pin!(control::listen(&said, Packets::new(bytes, lengths, ending)));
    let end = wait(lengths.len(), |cx| listening.as_mut().poll(cx));
    assert!(end.is_some() || ending == Ending::Silent, "a stream that is over and isn't");
    (end, said.section_bytes_max())
}

/// What a field section means, if anything.
fn check_section(section: &[u8], is_head: bool) {
    let fields = match qpack::decode(section, SECTION_BYTES_MAX) {
        Ok(fields) => fields,
        Err(error) => {
            // It has no room in itself for so much.
            assert!(error != SectionError::TooLarge || section.len() > 4);
            return;
        }
    };
    let bytes: usize = fields.iter().map(|field| qpack::field_bytes(&field.name, &field.value)).sum();
    assert!(bytes <= SECTION_BYTES_MAX, "more than it may have");
    let pairs: Option<Vec<(&str, &[u8])>> =
        fields.iter().map(|field| Some((std::str::from_utf8(&field.name).ok()?, &*field.value))).collect();
    if let Some(pairs) = pairs {
        let again = qpack::encode(pairs.into_iter());
        assert_eq!(qpack::decode(&again, SECTION_BYTES_MAX).as_ref(), Ok(&fields), "other fields");
    }
    if is_head {
        check_head(fields);
    } else if let Ok(trailers) = message::trailers(fields) {
        check_fields(&trailers);
    }
}

fn check_head(fields: Vec<Field>) {
    let Ok(Head { request, length }) = message::head(fields) else { return };
    check_fields(request.headers());
    let uri = request.uri();
    let authority = uri.authority().expect("a request is for somebody").as_str();
    assert!(!authority.is_empty() && !authority.contains(['@', '/', ' ']), "{authority:?}");
    let is_connect = *request.method() == Method::CONNECT;
    assert_eq!(is_connect, uri.scheme().is_none());
    assert!(is_connect || uri.path().starts_with('/') || uri.path() == "*", "{uri:?}");
    assert!(crate::http::target::unescape(uri.path().as_bytes()).is_ok(), "{uri:?}");
    // As it will stand in a request line.
    assert!(!uri.to_string().bytes().any(|byte| byte <= b' ' || byte == 0x7f), "{uri:?}");
    let mut hosts = request.headers().get_all(HOST).iter();
    assert!(hosts.next().is_none_or(|host| host.as_bytes() == authority.as_bytes()), "two hosts");
    assert_eq!(hosts.next(), None);
    let lengths: Vec<_> = request.headers().get_all(CONTENT_LENGTH).iter().collect();
    let said: Option<u64> = length;
    assert_eq!(lengths.len(), usize::from(said.is_some()));
    assert!(lengths.iter().all(|value| value.to_str().ok().and_then(|text| text.parse().ok()) == said));
}

fn check_fields(fields: &HeaderMap) {
    assert!(!fields.contains_key(CONNECTION) && !fields.contains_key(TRANSFER_ENCODING));
    for (name, value) in fields {
        assert!(
            !name.as_str().starts_with(':') && !name.as_str().bytes().any(|byte| byte.is_ascii_uppercase())
        );
        let value = value.as_bytes();
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{name}: {value:?}");
        assert_eq!(value.trim_ascii(), value, "{name}");
    }
}

/// Checks everything for a stream that may be a request's, or another one of the client's, and whose packets
/// are cut in several ways.
///
/// # Panics
/// Something does not hold.
pub fn check(bytes: &[u8], lengths: &[u8]) {
    let bytewise = vec![1; bytes.len()];
    let cuts = [&[][..], lengths, &bytewise];
    for ending in [Ending::Finished, Ending::Reset, Ending::Silent] {
        let whole = read(bytes, &[], ending, false);
        let heard = listen(bytes, &[], ending);
        for cut in cuts {
            for looks_ahead in [false, true] {
                assert_eq!(read(bytes, cut, ending, looks_ahead), whole, "it matters how it comes: {cut:?}");
            }
            assert_eq!(listen(bytes, cut, ending), heard, "it matters how it comes: {cut:?}");
        }
        if ending == Ending::Finished {
            assert_eq!(whole, read_whole(bytes));
        }
        whole.head.iter().for_each(|section| check_section(section, true));
        whole.trailers.iter().for_each(|section| check_section(section, false));
    }
    // Most bytes are no frames, but may be a section.
    check_section(bytes, true);
    check_section(bytes, false);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap() | 0x4000;
        [&[kind][..], &length.to_be_bytes(), payload].concat()
    }

    /// Field sections made of what means something in one, in a more or less sensible order.
    fn section() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            &b"\xd1\xd7\xc1\x50\x01h"[..],
            b"\xd4\xd7\xc1\x50\x01h",
            b"\xcf\x50\x01h",
            b"\x51\x05/a?b\xc3",
            b"\x51\x04/%zz",
            b"\x51\x84\x60\xd5\x48\x5f",
            b"\xd1",
            b"\xd2",
            b"\xc1",
            b"\xd7",
            b"\x50\x03u@h",
            b"\x54\x015",
            b"\x54\x02+5",
            b"\x55\x03a=b",
            b"\x24host\x01h",
            b"\x27\x00hosting\x01h",
            b"\x21x\x01y",
            b"\x21X\x01y",
            b"\x21x\x02 y",
            b"\x21x\x03a\r\n",
            b"\x22te\x08trailers",
            b"\x27\x03connection\x01a",
            b"\x2b\xd9\x4f\x83\x2f\x01v",
            b"\x21x\x7f\x81\x01",
            b"\xff\x23",
            b"\xff\x24",
            b"\x80",
            b"\x10",
            b"\x40\x00",
        ]);
        let start = prop::sample::select(vec![&b"\0\0"[..], b"\0\0", b"\0\0", b"\x01\0", b"\0\x80", b""]);
        (start, prop::collection::vec(piece, 0..8))
            .prop_map(|(start, pieces)| [start, &pieces.concat()].concat())
    }

    /// Streams made of what means something on one.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let framed = (
            prop::sample::select(vec![0, 0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x0d, 0x21, 0x3f]),
            prop_oneof![section(), prop::collection::vec(any::<u8>(), 0..400)],
        )
            .prop_map(|(kind, payload)| frame(kind, &payload));
        let other = prop::sample::select(vec![
            &b"\x00"[..],
            b"\x02",
            b"\x03",
            b"\x04\x00",
            b"\x04\x03\x06\x41\x00",
            b"\x04\x04\x06\x01\x06\x01",
            b"\x07\x01\x05",
            b"\x0d\x01\x02",
            b"\x20",
            b"\x01\xbf\xff\xff\xff",
            b"\x00\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xc0",
        ]);
        let piece = prop_oneof![3 => framed, 1 => other.prop_map(<[u8]>::to_vec)];
        prop::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat())
    }

    fn lengths() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..20)
    }

    proptest! {
        #[test]
        fn cuts_change_nothing_and_requests_are_sound(bytes in stream(), lengths in lengths()) {
            check(&bytes, &lengths);
        }

        #[test]
        fn so_it_is_with_any_bytes(bytes in any::<Vec<u8>>(), lengths in lengths()) {
            check(&bytes, &lengths);
        }

        #[test]
        fn and_with_any_section(section in section()) {
            check_section(&section, true);
            check_section(&section, false);
        }
    }

    #[test]
    fn a_stream_with_everything_is_read() {
        let bytes = [
            frame(0x21, b"grease"),
            frame(1, b"\0\0\xd4\xd7\xc1\x50\x01h"),
            frame(0, b"hel"),
            frame(0x21, b""),
            frame(0, b"lo"),
            frame(1, b"\0\0\x21t\x01v"),
        ]
        .concat();
        check(&bytes, &[3, 1, 200]);
        let read = read_whole(&bytes);
        assert_eq!((read.over, &*read.data), (Over::Complete, &b"hello"[..]));
        assert_eq!(read.trailers.as_deref(), Some(&b"\0\0\x21t\x01v"[..]));
        assert_eq!(listen(b"\x00\x04\x03\x06\x41\x00", &[], Ending::Silent), (None, 256));
    }
}
