//! The provider against a stand-in of Cloudflare's API.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::dns::RecordData;
use crate::fetch::testing::serve;

const TOKEN: &str = "0123456789012345678901234567890123456789";
const ZONE_TOKEN: &str = "cfut_01234567890123456789012345678901";

/// Its records by number, and what was asked: method, target, authorization.
#[derive(Default)]
struct Service {
    records: Mutex<Vec<(usize, Value)>>,
    asked: Mutex<Vec<String>>,
}

impl Service {
    fn start() -> (Arc<Self>, String) {
        let service = Arc::new(Self::default());
        let shared = service.clone();
        let address = serve(move |asked| {
            let target = asked.target.strip_prefix("/client/v4").unwrap();
            let authorization = asked.field("authorization");
            shared.asked.lock().unwrap().push(format!("{} {target} {authorization}", asked.method));
            let (status, answer) =
                shared.answer(&asked.method, target, serde_json::from_slice(&asked.body).ok());
            (status, answer.to_string())
        });
        (service, format!("{address}/client/v4"))
    }

    fn answer(&self, method: &str, target: &str, body: Option<Value>) -> (u16, Value) {
        let result = |result: Value| (200, json!({"success": true, "errors": [], "result": result}));
        let failure = |status: u16, code: i64, message: &str| {
            let errors = json!([{"code": code, "message": message}]);
            (status, json!({"success": false, "errors": errors, "result": null}))
        };
        let mut records = self.records.lock().unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameter = |name: &str| {
            query.split('&').filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == name).unwrap().1
        };
        match (method, path) {
            ("GET", "/zones") => match parameter("name") {
                "a%2Etest" => result(json!([{"id": "abc123", "name": "a.test"}])),
                "out%2Etest" => result(json!([{"id": "../x", "name": "out.test"}])),
                "secret%2Etest" => failure(403, 9109, "Unauthorized to access requested resource"),
                _ => result(json!([])),
            },
            ("POST", "/zones/abc123/dns_records") => {
                let record = body.unwrap();
                if records.iter().any(|(_, other)| *other == record) {
                    return failure(400, 81058, "An identical record already exists.");
                }
                let id = records.len();
                records.push((id, record));
                result(json!({"id": id.to_string()}))
            }
            ("GET", "/zones/abc123/dns_records") => {
                let asked = (parameter("type"), parameter("name"));
                let known = [("TXT", "%5Facme%2Dchallenge%2Ea%2Etest"), ("CNAME", "%5Fx%2Ea%2Etest")];
                assert!(known.contains(&asked), "{asked:?}");
                let page: usize = parameter("page").parse().unwrap();
                let size: usize = parameter("per_page").parse().unwrap();
                let shown = records.iter().skip((page - 1) * size).take(size);
                let shown =
                    shown.map(|(id, record)| json!({"id": id.to_string(), "content": record["content"]}));
                result(shown.collect())
            }
            ("DELETE", path) => {
                let id = path.strip_prefix("/zones/abc123/dns_records/").unwrap();
                records.retain(|(other, _)| other.to_string() != id);
                result(json!({"id": id}))
            }
            other => panic!("{other:?}"),
        }
    }
}

fn provider(base: &str, zone_token: &str) -> Cloudflare {
    let client = Client::new(Arc::new(crate::tls::careless_client()));
    let mut api = Api::new(client, TOKEN, zone_token).unwrap();
    api.base = base.to_owned();
    Cloudflare { api }
}

fn record(value: &str) -> Record {
    let data = RecordData::Text(value.into());
    Record { name: "_acme-challenge.a.test".into(), data, ttl: Duration::ZERO }
}

#[tokio::test]
async fn a_record_comes_beside_others_and_goes_alone() {
    let (service, base) = Service::start();
    let provider = provider(&base, ZONE_TOKEN);
    for value in ["one", "two", "two"] {
        // That the same one is there already is no error.
        provider.append("a.test.", &record(value)).await.unwrap();
    }
    let own = |value: &str| json!({"type": "TXT", "name": "_acme-challenge.a.test", "content": format!("\"{value}\""), "ttl": 1});
    assert_eq!(*service.records.lock().unwrap(), [(0, own("one")), (1, own("two"))]);
    provider.delete("a.test.", &record("one")).await.unwrap();
    assert_eq!(*service.records.lock().unwrap(), [(1, own("two"))]);
    // Nor that it is gone.
    provider.delete("a.test.", &record("one")).await.unwrap();
    let long = Record { ttl: Duration::from_secs(120), ..record("three") };
    provider.append("a.test.", &long).await.unwrap();
    assert_eq!(service.records.lock().unwrap()[1].1["ttl"], 120);
    let asked = service.asked.lock().unwrap();
    assert_eq!(asked[0], format!("GET /zones?name=a%2Etest Bearer {ZONE_TOKEN}"));
    assert_eq!(asked[1], format!("POST /zones/abc123/dns_records Bearer {TOKEN}"));
}

#[tokio::test]
async fn a_name_may_be_another_name() {
    let (service, base) = Service::start();
    let provider = provider(&base, "");
    let data = RecordData::Alias("Y.b.test.".into());
    let alias = Record { name: "_x.a.test".into(), data, ttl: Duration::from_secs(60) };
    provider.append("a.test.", &alias).await.unwrap();
    let own = json!({"type": "CNAME", "name": "_x.a.test", "content": "Y.b.test", "ttl": 60});
    assert_eq!(*service.records.lock().unwrap(), [(0, own)]);
    // It may come back in another form.
    service.records.lock().unwrap()[0].1["content"] = json!("y.b.test.");
    service.records.lock().unwrap().push((1, json!({"content": "z.b.test"})));
    provider.delete("a.test.", &alias).await.unwrap();
    assert_eq!(service.records.lock().unwrap()[..], [(1, json!({"content": "z.b.test"}))]);
}

#[tokio::test]
async fn a_record_is_found_among_many() {
    let (service, base) = Service::start();
    let provider = provider(&base, "");
    let others = (1000..1250).map(|id| (id, json!({"content": "\"another\""})));
    service.records.lock().unwrap().extend(others);
    // Another program may have put it there without quotes.
    service.records.lock().unwrap().push((7, json!({"content": "one"})));
    provider.delete("a.test.", &record("one")).await.unwrap();
    assert_eq!(service.records.lock().unwrap().len(), 250);
    let asked = service.asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|asked| asked.contains("per_page=100")).count(), 3);
    assert!(asked[0].ends_with(&format!("Bearer {TOKEN}")));
}

#[tokio::test]
async fn what_cloudflare_says_against_it_is_told_and_no_token() {
    let (_service, base) = Service::start();
    let provider = provider(&base, ZONE_TOKEN);
    for (zone, says) in [
        ("secret.test.", "Cloudflare says: HTTP 403: Unauthorized to access requested resource (9109)"),
        ("none.test.", "Cloudflare has 0 zones none.test for this token, not 1"),
        ("out.test.", "an answer that makes no sense: an id that is none"),
    ] {
        let error = provider.append(zone, &record("one")).await.unwrap_err();
        assert_eq!(error.to_string(), says);
    }
    let shown = format!("{provider:?}");
    assert!(!shown.contains(TOKEN) && !shown.contains(ZONE_TOKEN), "{shown}");
}

#[test]
fn tokens_have_their_forms() {
    for token in [TOKEN, ZONE_TOKEN, &"a".repeat(50), &format!("cfat_{}", "-".repeat(256))] {
        assert!(is_token(token), "{token}");
    }
    for text in ["", "token", &"a".repeat(51), "{env.CLOUDFLARE_TOKEN_OF_THIS_LONG_NAME}", &"a b".repeat(13)]
    {
        assert!(!is_token(text), "{text}");
    }
    let client = Client::new(Arc::new(crate::tls::careless_client()));
    let provision = |json: Value| provision(&serde_json::from_value(json).unwrap(), &client);
    assert!(provision(json!({"name": "cloudflare", "api_token": TOKEN})).is_ok());
    let error = provision(json!({"name": "cloudflare", "api_token": "s3cret"})).unwrap_err().to_string();
    assert!(error.contains("API token appears invalid") && !error.contains("s3cret"), "{error}");
    let broken = json!({"name": "cloudflare", "api_token": TOKEN, "zone_token": "s3\ncret"});
    let error = provision(broken).unwrap_err().to_string();
    assert!(!error.contains("s3"), "{error}");
}
