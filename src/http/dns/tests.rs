//! The resolver against a server of our own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket as StdUdpSocket};
use std::thread;

use super::*;

/// What the server says to a question for this name and kind: flags, and its records' kinds and data.
type Says = fn(name: &str, kind: u16) -> (u16, Vec<(u16, Vec<u8>)>);

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

fn answer(question: &[u8], says: Says) -> Vec<u8> {
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
fn server(over_udp: Says, over_tcp: Says) -> String {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = StdUdpSocket::bind(address).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            // A forger is quicker, but does not know the number.
            let mut forged = answer(&buffer[..length], |_, _| (0x8183, Vec::new()));
            forged[0] ^= 0xff;
            udp.send_to(&forged, from).unwrap();
            udp.send_to(&answer(&buffer[..length], over_udp), from).unwrap();
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).unwrap();
            let answer = answer(&question, over_tcp);
            stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    address.to_string()
}

fn resolver(address: &str) -> Resolver {
    let timeout = Some(Duration::from_millis(300));
    Resolver { search: Vec::new(), dots: 1, ..Resolver::new(&[address.to_owned()], timeout).unwrap() }
}

fn usual(name: &str, kind: u16) -> (u16, Vec<(u16, Vec<u8>)>) {
    match (name, kind) {
        ("both.test.", 1) => (0x8180, vec![(1, vec![192, 0, 2, 1]), (1, vec![192, 0, 2, 2])]),
        ("both.test.", 28) => (0x8180, vec![(28, vec![0xfe; 16])]),
        ("four.test." | "short.in.test.", 1) => (0x8180, vec![(1, vec![192, 0, 2, 1])]),
        ("four.test." | "short.in.test.", _) => (0x8180, Vec::new()),
        ("_s._tcp.test.", 33) => {
            let srv = |priority, weight, port: u8, host: &[u8]| {
                (33, [&[0, priority, 0, weight, 0x1f, port], host].concat())
            };
            let (a, b, c) = (b"\x01a\0", b"\x01b\0", b"\x01c\0");
            (0x8180, vec![srv(2, 0, 1, c), srv(1, 0, 2, a), srv(1, 100, 3, b), srv(1, 0, 4, b"\0")])
        }
        ("broken.test.", _) => (0x8182, Vec::new()),
        _ => (0x8183, Vec::new()),
    }
}

fn texts(addresses: Vec<IpAddr>) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_name_has_its_addresses() {
    let resolver = resolver(&server(usual, usual));
    let all = texts(resolver.addresses("both.test").await.unwrap());
    assert_eq!(all, ["192.0.2.1", "192.0.2.2", "fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe"]);
    assert_eq!(texts(resolver.addresses("four.test.").await.unwrap()), ["192.0.2.1"]);
    for address in ["192.0.2.9", "[2001:db8::1]"] {
        assert_eq!(resolver.addresses(address).await.unwrap().len(), 1);
    }
    assert_eq!(texts(resolver.addresses("localhost").await.unwrap()), ["127.0.0.1", "::1"]);
    for name in ["none.test", "broken.test", "no name"] {
        assert!(resolver.addresses(name).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_service_is_where_its_records_say_the_first_priority_first() {
    let resolver = resolver(&server(usual, usual));
    let found = resolver.services("_s._tcp.test").await.unwrap();
    let targets: Vec<_> = found.iter().map(|srv| (srv.target.as_str(), srv.port)).collect();
    // Of the first priority, only one has a weight.
    assert_eq!(targets, [("b.", 0x1f03), ("a.", 0x1f02), ("c.", 0x1f01)]);
    assert!(resolver.services("four.test").await.is_err());
}

#[tokio::test]
async fn what_does_not_fit_is_asked_for_over_tcp() {
    let address = server(|_, _| (0x8380, Vec::new()), usual);
    assert_eq!(texts(resolver(&address).addresses("four.test").await.unwrap()), ["192.0.2.1"]);
    let over_tcp = resolver(&format!("tcp/{address}"));
    assert_eq!(texts(over_tcp.addresses("four.test").await.unwrap()), ["192.0.2.1"]);
}

#[tokio::test]
async fn a_short_name_is_looked_for_in_the_search_domains() {
    let mut resolver = resolver(&server(usual, usual));
    resolver.search = vec!["out.test".into(), "in.test".into()];
    assert_eq!(texts(resolver.addresses("short").await.unwrap()), ["192.0.2.1"]);
    assert!(resolver.addresses("short.").await.is_err());
    assert_eq!(resolver.candidates("a.b"), ["a.b", "a.b.out.test", "a.b.in.test"]);
    assert_eq!(resolver.candidates("a"), ["a.out.test", "a.in.test", "a"]);
}

#[tokio::test]
async fn a_server_that_is_silent_is_not_waited_for_long() {
    let silent = StdUdpSocket::bind("127.0.0.1:0").unwrap();
    let resolver = resolver(&silent.local_addr().unwrap().to_string());
    let begun = std::time::Instant::now();
    let error = resolver.services("_s._tcp.test").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn addresses_of_servers_have_all_their_forms() {
    let parse = |text: &str| Server::parse(text).map(|server| (server.host, server.port, server.over_tcp));
    assert_eq!(parse("192.0.2.1"), Ok(("192.0.2.1".into(), 53, false)));
    assert_eq!(parse("192.0.2.1:5353"), Ok(("192.0.2.1".into(), 5353, false)));
    assert_eq!(parse("[::1]:5353"), Ok(("::1".into(), 5353, false)));
    assert_eq!(parse("::1"), Ok(("::1".into(), 53, false)));
    assert_eq!(parse("tcp/192.0.2.1:53"), Ok(("192.0.2.1".into(), 53, true)));
    assert_eq!(parse("dns.test"), Ok(("dns.test".into(), 53, false)));
    for (text, says) in [("192.0.2.1:1-3", "exactly one"), ("unix//x", "can't be asked"), ("a:x", "invalid")]
    {
        assert!(parse(text).unwrap_err().contains(says), "{text}");
    }
    assert!(Resolver::new(&[], None).is_err());
}
