//! The resolver against a server of our own.

use std::net::UdpSocket as StdUdpSocket;

use super::testing::{Records, server};
use super::*;

fn resolver(address: &str) -> Resolver {
    let timeout = Some(Duration::from_millis(300));
    Resolver { search: Vec::new(), dots: 1, ..Resolver::new(&[address.to_owned()], timeout).unwrap() }
}

fn usual(name: &str, kind: u16) -> (u16, Records) {
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
        ("zone.test.", 6) => (0x8180, vec![(6, vec![0; 22])]),
        ("zone.test.", 2) => (0x8180, vec![(2, b"\x02ns\xc0\x0c".to_vec())]),
        ("alias.zone.test.", 5 | 6) => (0x8180, vec![(5, b"\x01x\xc0\x12".to_vec())]),
        ("text.zone.test.", 16) => (0x8180, vec![(16, b"\x01a\x01b".to_vec()), (16, b"\x01c".to_vec())]),
        ("broken.test.", _) => (0x8182, Vec::new()),
        _ => (0x8183, Vec::new()),
    }
}

fn texts(addresses: Vec<IpAddr>) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_name_has_its_addresses() {
    let resolver = resolver(&server(usual, usual).to_string());
    let all = texts(resolver.addresses("both.test", Families::BOTH).await.unwrap());
    assert_eq!(all, ["192.0.2.1", "192.0.2.2", "fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe"]);
    assert_eq!(texts(resolver.addresses("four.test.", Families::BOTH).await.unwrap()), ["192.0.2.1"]);
    for address in ["192.0.2.9", "[2001:db8::1]"] {
        assert_eq!(resolver.addresses(address, Families::BOTH).await.unwrap().len(), 1);
    }
    assert_eq!(texts(resolver.addresses("localhost", Families::BOTH).await.unwrap()), ["127.0.0.1", "::1"]);
    for name in ["none.test", "broken.test", "no name"] {
        assert!(resolver.addresses(name, Families::BOTH).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_service_is_where_its_records_say_the_first_priority_first() {
    let resolver = resolver(&server(usual, usual).to_string());
    let found = resolver.services("_s._tcp.test").await.unwrap();
    let targets: Vec<_> = found.iter().map(|srv| (srv.target.as_str(), srv.port)).collect();
    // Of the first priority, only one has a weight.
    assert_eq!(targets, [("b.", 0x1f03), ("a.", 0x1f02), ("c.", 0x1f01)]);
    assert!(resolver.services("four.test").await.is_err());
}

#[tokio::test]
async fn only_families_that_are_wanted_are_asked_for() {
    let address = server(
        |name, kind| if kind == 28 { panic!("nobody wants to know") } else { usual(name, kind) },
        usual,
    );
    let v4 = Families::of([127, 0, 0, 1].into());
    let resolver = resolver(&address.to_string());
    assert_eq!(texts(resolver.addresses("four.test", v4).await.unwrap()), ["192.0.2.1"]);
    assert!(resolver.addresses("::1", v4).await.is_err());
    assert_eq!(texts(resolver.addresses("localhost", v4).await.unwrap()), ["127.0.0.1"]);
}

#[tokio::test]
async fn a_family_that_never_comes_does_not_hold_up_the_other() {
    // An answer to another kind is none, so the resolver waits for one to its own.
    let address =
        server(|name, kind| if kind == 28 { (0x0180, Vec::new()) } else { usual(name, kind) }, usual);
    let mut resolver = resolver(&address.to_string());
    resolver.timeout = Duration::from_secs(60);
    let begun = std::time::Instant::now();
    let found = resolver.addresses("both.test", Families::BOTH).await.unwrap();
    assert_eq!(texts(found), ["192.0.2.1", "192.0.2.2"]);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_zone_is_found_from_any_name_in_it() {
    let resolver = resolver(&server(usual, usual).to_string());
    for name in ["zone.test", "a.b.zone.test.", "alias.zone.test"] {
        assert_eq!(resolver.zone(name).await.unwrap(), "zone.test.", "{name}");
    }
    assert!(resolver.zone("other.test").await.is_err());
    // Who can't say does not make it the zone above.
    assert!(resolver.zone("broken.test").await.is_err());
    assert_eq!(resolver.name_servers("zone.test.").await.unwrap(), ["ns.zone.test."]);
    assert_eq!(resolver.alias("alias.zone.test").await.unwrap().unwrap(), "x.zone.test.");
    assert_eq!(resolver.alias("zone.test").await.unwrap(), None);
    assert_eq!(resolver.texts("text.zone.test").await.unwrap(), [b"ab".to_vec(), b"c".to_vec()]);
    assert!(resolver.texts("none.zone.test").await.unwrap().is_empty());
    assert!(resolver.texts("broken.test").await.is_err());
}

#[tokio::test]
async fn what_does_not_fit_is_asked_for_over_tcp() {
    let address = server(|_, _| (0x8380, Vec::new()), usual);
    assert_eq!(
        texts(resolver(&address.to_string()).addresses("four.test", Families::BOTH).await.unwrap()),
        ["192.0.2.1"]
    );
    let over_tcp = resolver(&format!("tcp/{address}"));
    assert_eq!(texts(over_tcp.addresses("four.test", Families::BOTH).await.unwrap()), ["192.0.2.1"]);
}

#[tokio::test]
async fn a_short_name_is_looked_for_in_the_search_domains() {
    let mut resolver = resolver(&server(usual, usual).to_string());
    resolver.search = vec!["out.test".into(), "in.test".into()];
    assert_eq!(texts(resolver.addresses("short", Families::BOTH).await.unwrap()), ["192.0.2.1"]);
    assert!(resolver.addresses("short.", Families::BOTH).await.is_err());
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
