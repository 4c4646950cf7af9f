//! A DNS server for tests.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread;

/// Kinds and data of records.
pub(crate) type Records = Vec<(u16, Vec<u8>)>;

/// What a server says to a question for this name, with a dot at its end, and kind: flags and records.
pub(crate) trait Says: Fn(&str, u16) -> (u16, Records) + Send + 'static {}

impl<F: Fn(&str, u16) -> (u16, Records) + Send + 'static> Says for F {}

/// The name in a question, with a dot at its end, and its kind.
fn asked(question: &[u8]) -> (String, u16) {
    let mut name = String::new();
    let mut at = 12;
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        name.push_str(std::str::from_utf8(&question[at + 1..end]).unwrap());
        name.push('.');
        at = end;
    }
    (name, u16::from_be_bytes([question[at + 1], question[at + 2]]))
}

fn answer(question: &[u8], says: &impl Says) -> Vec<u8> {
    let (name, kind) = asked(question);
    let (flags, records) = says(&name, kind);
    let question_end = question.len() - 11;
    let mut out = question[..2].to_vec();
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    out.extend_from_slice(&question[12..question_end]);
    for (kind, data) in records {
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&data);
    }
    out
}

/// A server on one port of UDP and TCP, which ends with the test's process.
pub(crate) fn server(over_udp: impl Says, over_tcp: impl Says) -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            // A forger is quicker, but does not know the number.
            let mut forged = answer(&buffer[..length], &|_: &str, _| (0x8183, Vec::new()));
            forged[0] ^= 0xff;
            udp.send_to(&forged, from).unwrap();
            udp.send_to(&answer(&buffer[..length], &over_udp), from).unwrap();
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).unwrap();
            let answer = answer(&question, &over_tcp);
            stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    address
}
