//! What an HTTP/3 client may send, byte by byte, and what ends its stream or its connection.

use quinn::{ConnectionError, ReadError, VarInt};

use super::http3::{Client, gate};
use super::*;

/// `GET /` of `h`, as a field section.
const SECTION: &[u8] = b"\0\0\xd1\xd7\xc1\x50\x01h";
/// The same with POST.
const POST: &[u8] = b"\0\0\xd4\xd7\xc1\x50\x01h";

const FRAME_UNEXPECTED: u64 = 0x105;
const FRAME_ERROR: u64 = 0x106;
const REQUEST_INCOMPLETE: u64 = 0x10d;
const MESSAGE_ERROR: u64 = 0x10e;
const DECOMPRESSION_FAILED: u64 = 0x200;

/// A frame whose type and length fit into a byte, or whose length into two.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap() | 0x4000;
    [&[kind][..], &length.to_be_bytes(), payload].concat()
}

/// What a client gets for some bytes.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    /// An answer that says this. Its head is not looked at.
    Answer(String),
    StreamEnd(u64),
    ConnectionEnd(u64),
}

fn ended(error: &ConnectionError) -> Got {
    match error {
        ConnectionError::ApplicationClosed(close) => Got::ConnectionEnd(close.error_code.into_inner()),
        other => panic!("{other}"),
    }
}

/// Sends some bytes on a request's stream, and its end if that is said.
fn send(client: &Client, gate: &Gate, bytes: Vec<u8>, ends: bool) -> Got {
    let connection = client.dial(gate);
    let held = connection.clone();
    let got = client.run(async move {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        // It may be stopped before it has taken all.
        let _ = send.write_all(&bytes).await;
        if ends {
            let _ = send.finish();
        }
        match recv.read_to_end(1 << 20).await {
            Ok(answer) => Got::Answer(text(&answer)),
            Err(quinn::ReadToEndError::Read(ReadError::Reset(code))) => Got::StreamEnd(code.into_inner()),
            Err(quinn::ReadToEndError::Read(ReadError::ConnectionLost(error))) => ended(&error),
            Err(other) => panic!("{other}"),
        }
    });
    drop(held);
    got
}

/// The data of an answer whose frames have lengths below 2^14.
fn text(mut answer: &[u8]) -> String {
    let mut text = String::new();
    while let [kind, first, rest @ ..] = answer {
        let (length, rest) = match first >> 6 {
            0 => (usize::from(*first), rest),
            _ => (usize::from(first & 0x3f) << 8 | usize::from(rest[0]), &rest[1..]),
        };
        if *kind == 0 {
            text.push_str(std::str::from_utf8(&rest[..length]).unwrap());
        }
        answer = &rest[length..];
    }
    text
}

#[test]
fn frames_make_up_a_request_however_they_come() {
    let gate = gate("{}");
    let client = Client::new();
    // Of a type that nobody knows, and without anything.
    let unknown = [frame(0x21, b"grease"), frame(0x21, b"")].concat();
    for (bytes, answer) in [
        (frame(1, SECTION), "GET / 0"),
        ([&unknown[..], &frame(1, SECTION), &unknown].concat(), "GET / 0"),
        ([frame(1, POST), frame(0, b"hello")].concat(), "POST / 5"),
        (
            [frame(1, POST), frame(0, b""), frame(0, b"he"), unknown.clone(), frame(0, b"llo")].concat(),
            "POST / 5",
        ),
        (
            [frame(1, POST), frame(0, b"hello"), frame(1, b"\0\0\x21t\x01v"), unknown.clone()].concat(),
            "POST / 5",
        ),
        // Announced, and as long.
        ([frame(1, &[POST, b"\x54\x015"].concat()), frame(0, b"hello")].concat(), "POST / 5"),
        // HEAD, whose answer has no body, and CONNECT.
        (frame(1, b"\0\0\xd2\xd7\xc1\x50\x01h"), ""),
        (frame(1, b"\0\0\xcf\x50\x01h"), "501 Not Implemented"),
    ] {
        assert_eq!(send(&client, &gate, bytes.clone(), true), Got::Answer(answer.to_owned()), "{bytes:?}");
    }
}

#[test]
fn what_is_no_request_ends_its_stream() {
    let gate = gate("{}");
    let client = Client::new();
    for (bytes, code) in [
        (Vec::new(), REQUEST_INCOMPLETE),
        // Without a method, with two, and with a field of HTTP/1's connections.
        (frame(1, b"\0\0\xd7\xc1\x50\x01h"), MESSAGE_ERROR),
        (frame(1, &[SECTION, b"\xd1"].concat()), MESSAGE_ERROR),
        (frame(1, &[SECTION, b"\x27\x03connection\x01a"].concat()), MESSAGE_ERROR),
    ] {
        assert_eq!(send(&client, &gate, bytes.clone(), true), Got::StreamEnd(code), "{bytes:?}");
    }
    // A body that is not as long as it was announced: the handler is told, and says so.
    for data in [&b"hell"[..], b"hello!"] {
        let bytes = [frame(1, &[POST, b"\x54\x015"].concat()), frame(0, data)].concat();
        assert_eq!(send(&client, &gate, bytes, true), Got::Answer(String::new()));
    }
}

#[test]
fn what_is_no_frame_ends_the_connection() {
    let gate = gate("{}");
    let client = Client::new();
    for (bytes, code) in [
        (frame(0, b"data first"), FRAME_UNEXPECTED),
        (frame(4, b""), FRAME_UNEXPECTED),
        (frame(5, b""), FRAME_UNEXPECTED),
        (frame(7, b"\0"), FRAME_UNEXPECTED),
        // Of HTTP/2.
        (frame(6, b"ping"), FRAME_UNEXPECTED),
        (frame(1, SECTION)[..5].to_vec(), FRAME_ERROR),
        (frame(0x21, b"grease")[..5].to_vec(), FRAME_ERROR),
        (vec![1], FRAME_ERROR),
        ([frame(1, POST), frame(0, b"hello")[..5].to_vec()].concat(), FRAME_ERROR),
        ([frame(1, POST), frame(1, b"\0\0"), frame(0, b"more")].concat(), FRAME_UNEXPECTED),
        (frame(1, b"\x01\0"), DECOMPRESSION_FAILED),
        (frame(1, b"\0\0\x80"), DECOMPRESSION_FAILED),
    ] {
        assert_eq!(send(&client, &gate, bytes.clone(), true), Got::ConnectionEnd(code), "{bytes:?}");
    }
}

#[test]
fn heads_have_a_bound_and_a_time() {
    let gate = gate(r#"{"max_header_bytes":1024,"read_header_timeout":1000000000}"#);
    let client = Client::new();
    let head = |length: u16| {
        // A literal whose value's length is one of QPACK's longer integers.
        let rest = length - 127;
        let value = [0x7f, (rest & 0x7f) as u8 | 0x80, (rest >> 7) as u8];
        frame(1, &[SECTION, b"\x21x", &value, &vec![b'v'; length.into()]].concat())
    };
    assert_eq!(send(&client, &gate, head(4000), true), Got::Answer("GET / 0".to_owned()));
    let refused = Got::Answer("431 Request Header Fields Too Large".to_owned());
    assert_eq!(send(&client, &gate, head(5100), true), refused);
    // It is refused by what it announces.
    assert_eq!(send(&client, &gate, b"\x01\xbf\xff\xff\xff".to_vec(), false), refused);
    let started = Instant::now();
    assert!(matches!(send(&client, &gate, frame(1, SECTION)[..5].to_vec(), false), Got::StreamEnd(_)));
    assert!(started.elapsed() < PATIENCE);
}

/// What ends a connection on whose streams in one direction this is sent.
fn control(client: &Client, gate: &Gate, streams: &[&[u8]], ends: bool) -> Option<u64> {
    let connection = client.dial(gate);
    let streams: Vec<Vec<u8>> = streams.iter().map(|bytes| bytes.to_vec()).collect();
    client.run(async move {
        let mut kept = Vec::new();
        for bytes in streams {
            let mut send = connection.open_uni().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            if ends {
                send.finish().unwrap();
            }
            kept.push(send);
        }
        match tokio::time::timeout(Duration::from_millis(300), connection.closed()).await {
            Err(_) => None,
            Ok(ConnectionError::ApplicationClosed(close)) => Some(close.error_code.into_inner()),
            Ok(other) => panic!("{other}"),
        }
    })
}

#[test]
fn control_streams_say_what_they_may() {
    let gate = gate("{}");
    let client = Client::new();
    for (streams, code) in [
        (&[&b"\x00\x04\x00"[..]][..], None),
        // Settings, what nobody knows, a push's bound, and a farewell.
        (&[b"\x00\x04\x03\x06\x41\x00\x21\x01x\x0d\x01\x05\x07\x01\x05"], None),
        (&[b"\x02\x20", b"\x03\x40"], None),
        (&[b"\x21whatever"], None),
        (&[b"\x00\x07\x01\x00"], Some(0x10a)),
        (&[b"\x00\x04\x00\x04\x00"], Some(FRAME_UNEXPECTED)),
        (&[b"\x00\x04\x00\x00\x00"], Some(FRAME_UNEXPECTED)),
        (&[b"\x00\x04\x00\x06\x00"], Some(FRAME_UNEXPECTED)),
        // A setting of HTTP/2, one twice, and one that is cut.
        (&[b"\x00\x04\x02\x03\x00"], Some(0x109)),
        (&[b"\x00\x04\x04\x06\x01\x06\x01"], Some(0x109)),
        (&[b"\x00\x04\x01\x06"], Some(FRAME_ERROR)),
        // Larger than it may be.
        (&[b"\x00\x04\x80\x10\x00\x00"], Some(0x107)),
        (&[b"\x00\x04\x00\x03\x01\x00"], Some(0x108)),
        (&[b"\x00\x04\x00\x07\x01\x01\x07\x01\x02"], Some(0x108)),
        (&[b"\x00\x04\x00\x0d\x01\x02\x0d\x01\x01"], Some(0x108)),
        (&[b"\x00\x04\x00", b"\x00\x04\x00"], Some(0x103)),
        (&[b"\x01\x00"], Some(0x103)),
        // The table has no room, whatever is to go there.
        (&[b"\x02\x3f\xe1\x1f"], Some(0x201)),
        (&[b"\x02\xc1\x01a"], Some(0x201)),
    ] {
        assert_eq!(control(&client, &gate, streams, false), code, "{streams:?}");
    }
    for critical in [&[&b"\x00\x04\x00"[..]][..], &[b"\x02"], &[b"\x03"]] {
        assert_eq!(control(&client, &gate, critical, true), Some(0x104), "{critical:?}");
    }
}

#[test]
fn a_client_that_waits_is_told_to_send_once_its_body_is_read() {
    let gate = gate("{}");
    let client = Client::new();
    let connection = client.dial(&gate);
    let expect = frame(1, &[POST, b"\x26expect\x0c100-continue"].concat());
    let answer = client.run(async move {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&expect).await.unwrap();
        let mut interim = [0; 2];
        recv.read_exact(&mut interim).await.unwrap();
        send.write_all(&frame(0, b"hello")).await.unwrap();
        send.finish().unwrap();
        let rest = recv.read_to_end(1 << 16).await.unwrap();
        let answer = text(&[&interim[..], &rest].concat());
        connection.close(VarInt::from_u32(0x100), b"");
        answer
    });
    assert_eq!(answer, "POST / 5");
}

/// How a client makes a request for nothing.
#[derive(Clone, Copy, Debug)]
enum Waste {
    /// It wants no answer any more.
    Stop,
    /// It does not go on with its head, or its body.
    ResetHead,
    ResetBody,
    Malform,
}

/// Makes so many of them one after the other, each as soon as there is room, and says what the connection ended with.
async fn waste(connection: &quinn::Connection, how: Waste, count: usize) -> Option<u64> {
    const CANCELLED: VarInt = VarInt::from_u32(0x10c);
    for _ in 0..count {
        let Ok((mut send, mut recv)) = connection.open_bi().await else { break };
        let bytes = match how {
            Waste::Stop => frame(1, b"\0\0\xd1\xd7\x51\x05/slow\x50\x01h"),
            Waste::ResetHead => frame(1, SECTION)[..5].to_vec(),
            Waste::ResetBody => [frame(1, POST), frame(0, b"hello")].concat(),
            Waste::Malform => frame(1, b"\0\0\xd7\xc1\x50\x01h"),
        };
        let _ = send.write_all(&bytes).await;
        match how {
            Waste::Malform => {}
            Waste::Stop => {
                let _ = send.finish();
                tokio::task::yield_now().await;
                let _ = recv.stop(CANCELLED);
                continue;
            }
            Waste::ResetHead | Waste::ResetBody => {
                tokio::time::sleep(Duration::from_micros(500)).await;
                let _ = send.reset(CANCELLED);
            }
        }
        // A server that is still there ends it too.
        let _ = recv.read_to_end(1 << 16).await;
    }
    match tokio::time::timeout(Duration::from_millis(300), connection.closed()).await {
        Err(_) => None,
        Ok(ConnectionError::ApplicationClosed(close)) => Some(close.error_code.into_inner()),
        Ok(other) => panic!("{other}"),
    }
}

#[test]
fn a_client_that_takes_back_its_requests_again_and_again_is_sent_away() {
    const EXCESSIVE_LOAD: u64 = 0x107;
    let gate = gate("{}");
    let client = Client::new();
    for how in [Waste::Stop, Waste::ResetHead, Waste::ResetBody, Waste::Malform] {
        let connection = client.dial(&gate);
        let ended = client.run(async move { waste(&connection, how, 2000).await });
        assert_eq!(ended, Some(EXCESSIVE_LOAD), "{how:?}");
    }
}

#[test]
fn a_client_may_take_back_all_that_is_under_way() {
    let gate = gate("{}");
    let client = Client::new();
    let connection = client.dial(&gate);
    let held = connection.clone();
    assert_eq!(client.run(async move { waste(&connection, Waste::Stop, 240).await }), None);
    // And it may go on with others.
    let answer = client.run(async move {
        let (mut send, mut recv) = held.open_bi().await.unwrap();
        send.write_all(&frame(1, SECTION)).await.unwrap();
        send.finish().unwrap();
        text(&recv.read_to_end(1 << 16).await.unwrap())
    });
    assert_eq!(answer, "GET / 0");
}

#[test]
fn interim_answers_come_before_the_real_one() {
    let gate = gate("{}");
    let client = Client::new();
    let connection = client.dial(&gate);
    let answer = client.run(async move {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&frame(1, b"\0\0\xd1\xd7\x51\x06/hints\x50\x01h")).await.unwrap();
        send.finish().unwrap();
        recv.read_to_end(1 << 16).await.unwrap()
    });
    // The static table has `:status: 103` as its 24th field, and `link` as the name of its 11th.
    let hints = b"\x01\x09\0\0\xd8\x5b\x04</a>";
    assert!(answer.starts_with(hints), "{answer:?}");
    assert_eq!(text(&answer), "GET /hints 0");
}
