//! The challenge with a provider and DNS servers of our own.

use std::net::SocketAddr;
use std::sync::Mutex;

use super::*;
use crate::dns::testing::{Records, server};

/// What a zone's server has, and what it takes a while to have.
#[derive(Debug, Default)]
struct Zone {
    texts: Mutex<Vec<Record>>,
    /// What was done, in order.
    log: Mutex<Vec<String>>,
    /// Never answers.
    stuck: bool,
}

impl DnsProvider for Arc<Zone> {
    fn append<'a>(&'a self, zone: &'a str, record: &'a Record) -> Changed<'a> {
        Box::pin(async move {
            if self.stuck {
                std::future::pending::<()>().await;
            }
            self.log.lock().unwrap().push(format!("+{} {} in {zone}", record.name, said(record)));
            self.texts.lock().unwrap().push(record.clone());
            Ok(())
        })
    }

    fn delete<'a>(&'a self, zone: &'a str, record: &'a Record) -> Changed<'a> {
        Box::pin(async move {
            self.log.lock().unwrap().push(format!("-{} {} in {zone}", record.name, said(record)));
            let mut texts = self.texts.lock().unwrap();
            let before = texts.len();
            texts.retain(|other| other != record);
            if before == texts.len() { Err(ProviderError::Refused("it is not there".into())) } else { Ok(()) }
        })
    }
}

fn said(record: &Record) -> &str {
    let (RecordData::Text(said) | RecordData::Alias(said)) = &record.data;
    said
}

fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// The zone `a.test`, with a wildcard of another zone and servers on this machine.
fn says(zone: &Zone, asked: &str, kind: u16) -> (u16, Records) {
    let yes = |records| (0x8180, records);
    match (asked, kind) {
        ("a.test." | "b.test.", 6) => yes(vec![(6, vec![0; 22])]),
        ("a.test." | "b.test.", 2) => yes(vec![(2, name("localhost")), (2, name("127.0.0.1"))]),
        ("_acme-challenge.alias.a.test.", _) => yes(vec![(5, name("x.b.test"))]),
        (_, 16 | 5) => {
            let texts = zone.texts.lock().unwrap();
            let own = texts.iter().filter(|record| format!("{}.", record.name) == asked);
            let text = |value: &str| [&[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
            let data = |record: &Record| match &record.data {
                RecordData::Text(value) => (16, text(value)),
                RecordData::Alias(target) => (5, name(target.trim_end_matches('.'))),
            };
            yes(own.map(data).filter(|(of, _)| *of == kind).collect())
        }
        ("broken.test.", _) => (0x8182, Vec::new()),
        ("test.", _) => (0x8183, Vec::new()),
        _ => yes(Vec::new()),
    }
}

fn serve(zone: &Arc<Zone>) -> SocketAddr {
    let (udp, tcp) = (zone.clone(), zone.clone());
    server(move |name: &str, kind| says(&udp, name, kind), move |name: &str, kind| says(&tcp, name, kind))
}

/// A server that knows the zone `a.test`.
pub(super) fn zone_of_a_test() -> SocketAddr {
    serve(&Arc::default())
}

fn challenge(zone: &Arc<Zone>, server: SocketAddr) -> Dns01 {
    Dns01 {
        provider: Arc::new(zone.clone()),
        ttl: Duration::from_secs(60),
        propagation_delay: None,
        propagation_timeout: Some(Duration::from_secs(20)),
        propagation_poll: Duration::from_millis(10),
        resolver: Some(Resolver::at(&[server.ip()], server.port())),
        asks_resolvers_alone: false,
        server_port: server.port(),
        override_domain: None,
    }
}

#[tokio::test]
async fn a_record_is_added_seen_and_removed() {
    let zone = Arc::new(Zone::default());
    let dns = challenge(&zone, serve(&zone));
    let first = dns.present("*.w.a.test", "one").await.unwrap();
    let second = dns.present("w.a.test.", "two").await.unwrap();
    dns.wait(&first).await.unwrap();
    dns.wait(&second).await.unwrap();
    dns.clean_up(first).await.unwrap();
    assert_eq!(zone.texts.lock().unwrap().len(), 1);
    dns.clean_up(second).await.unwrap();
    let expected = [
        "+_acme-challenge.w.a.test one in a.test.",
        "+_acme-challenge.w.a.test two in a.test.",
        "-_acme-challenge.w.a.test one in a.test.",
        "-_acme-challenge.w.a.test two in a.test.",
    ];
    assert_eq!(*zone.log.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_name_that_is_another_name_is_seen_and_not_followed() {
    let zone = Arc::new(Zone::default());
    let mut dns = challenge(&zone, serve(&zone));
    // The name that it stands for need not be anywhere.
    let presented = dns.present_alias("_x.w.a.test", "Y.nowhere.test.").await.unwrap();
    dns.wait(&presented).await.unwrap();
    dns.asks_resolvers_alone = true;
    dns.wait(&presented).await.unwrap();
    dns.propagation_timeout = Some(Duration::from_millis(200));
    for asks_resolvers_alone in [true, false] {
        dns.asks_resolvers_alone = asks_resolvers_alone;
        zone.texts.lock().unwrap()[0].data = RecordData::Alias("other.test".into());
        dns.wait(&presented).await.unwrap_err();
    }
    zone.texts.lock().unwrap()[0].data = RecordData::Alias("Y.nowhere.test.".into());
    dns.clean_up(presented).await.unwrap();
    assert!(zone.texts.lock().unwrap().is_empty());
    assert_eq!(zone.log.lock().unwrap()[0], "+_x.w.a.test Y.nowhere.test. in a.test.");
}

#[tokio::test]
async fn a_record_that_does_not_show_is_waited_for_as_long_as_said() {
    let zone = Arc::new(Zone::default());
    let mut dns = challenge(&zone, serve(&zone));
    dns.propagation_timeout = Some(Duration::from_millis(200));
    let presented = dns.present("a.test", "one").await.unwrap();
    zone.texts.lock().unwrap().clear();
    let error = dns.wait(&presented).await.unwrap_err().to_string();
    assert!(error.starts_with("the record _acme-challenge.a.test did not show within 200ms: "), "{error}");
    assert!(error.ends_with("does not have it"), "{error}");
    // That it can't be removed is an error, which names it.
    let error = dns.clean_up(presented).await.unwrap_err().to_string();
    assert_eq!(error, "removing the record _acme-challenge.a.test in the zone a.test.: it is not there");
    // Without a time, it is not looked for at all.
    dns.propagation_timeout = None;
    dns.propagation_delay = Some(Duration::from_millis(1));
    let presented = dns.present("a.test", "one").await.unwrap();
    zone.texts.lock().unwrap().clear();
    dns.wait(&presented).await.unwrap();
}

#[tokio::test]
async fn a_record_may_stand_elsewhere() {
    let zone = Arc::new(Zone::default());
    let server = serve(&zone);
    let mut dns = challenge(&zone, server);
    // Its name is another name for one in another zone, which has the text.
    let presented = dns.present("alias.a.test", "one").await.unwrap();
    assert_eq!((&*presented.zone, &*presented.record.name), ("a.test.", "_acme-challenge.alias.a.test"));
    zone.texts.lock().unwrap()[0].name = "x.b.test".into();
    dns.wait(&presented).await.unwrap();
    drop(presented);
    // A configuration puts all records under one name.
    dns.override_domain = Some("y.b.test".into());
    let presented = dns.present("a.test", "two").await.unwrap();
    assert_eq!((&*presented.zone, &*presented.record.name), ("b.test.", "y.b.test"));
    // It names resolvers, of which one does not answer.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let resolvers = [silent.local_addr().unwrap().to_string(), server.to_string()];
    dns.resolver = Some(Resolver::new(&resolvers, Some(Duration::from_millis(100))).unwrap());
    dns.asks_resolvers_alone = true;
    dns.wait(&presented).await.unwrap();
    dns.clean_up(presented).await.unwrap();
}

#[tokio::test]
async fn what_fails_says_where() {
    let zone = Arc::new(Zone::default());
    let dns = challenge(&zone, serve(&zone));
    for name in ["broken.test", "c.test"] {
        let error = dns.present(name, "one").await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("finding the zone of _acme-challenge.{name}: ")), "{error}");
    }
    assert!(zone.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_provider_that_never_answers_is_not_waited_for() {
    let zone = Arc::new(Zone { stuck: true, ..Zone::default() });
    let record =
        Record { name: "stuck.test".into(), data: RecordData::Text("one".into()), ttl: Duration::ZERO };
    for _ in 0..2 {
        // Nor does it keep others from their turn.
        let error =
            in_turn(&record, Duration::from_millis(50), zone.append("test", &record)).await.unwrap_err();
        assert!(matches!(error, ProviderError::Timeout(_)), "{error}");
    }
}

#[test]
fn a_configuration_says_how() {
    fn provide(_: &ModuleJson, _: &Client) -> Result<Arc<dyn DnsProvider>, TlsError> {
        Ok(Arc::new(Arc::new(Zone::default())))
    }
    static ROW: DnsProviderType = DnsProviderType { id: "mine", provision: provide };
    let types = DnsProviders::from([("mine", &ROW)]);
    let client = Client::new(Arc::new(crate::tls::careless_client()));
    let read = |json: &str, default: Option<&str>| {
        let default = default.map(|json| serde_json::from_str::<ModuleJson>(json).unwrap());
        Dns01::provision(&serde_json::from_str(json).unwrap(), default.as_ref(), &[], &types, &client)
    };
    let dns = read("{}", Some(r#"{"name":"mine"}"#)).unwrap();
    assert_eq!((dns.ttl, dns.propagation_delay), (Duration::ZERO, None));
    assert_eq!(dns.propagation_timeout, Some(PROPAGATION_TIMEOUT));
    assert!(!dns.asks_resolvers_alone);
    let all = r#"{"provider":{"name":"mine"},"ttl":"1m","propagation_delay":"2s","propagation_timeout":-1,
        "resolvers":["127.0.0.1:53"],"override_domain":"x.test."}"#;
    let dns = read(all, None).unwrap();
    assert_eq!(dns.ttl, Duration::from_secs(60));
    assert_eq!((dns.propagation_delay, dns.propagation_timeout), (Some(Duration::from_secs(2)), None));
    assert_eq!(dns.override_domain.as_deref(), Some("x.test"));
    assert!(dns.asks_resolvers_alone);
    let default = ["127.0.0.2".to_owned()];
    let json = serde_json::from_str(r#"{"provider":{"name":"mine"}}"#).unwrap();
    let dns = Dns01::provision(&json, None, &default, &types, &client).unwrap();
    assert!(dns.asks_resolvers_alone && dns.resolver.is_some());
    for (json, says) in [
        ("{}", "no DNS provider configured"),
        (r#"{"provider":{"name":"other"}}"#, "module not registered: dns.providers.other"),
        (r#"{"provider":{"name":"mine"},"resolvers":["a:x"]}"#, "resolver 'a:x'"),
        (r#"{"provider":{"name":"mine"},"override_domain":"{env.SURELY_NOT_SET}"}"#, "no domain name"),
    ] {
        let error = read(json, None).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
