//! The issuer against a stand-in of ZeroSSL's interface, which looks at what it is sent and at what is shown.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer as Signer, KeyPair, SanType,
};
use serde_json::{Value, json};

use super::*;
use crate::acme::dns01::{Changed, DnsProvider, Record};
use crate::dns::RecordData;
use crate::fetch::testing::{Asked, serve};
use crate::tls::issuance::{IssuerContext, IssuerType, KeyPem, Ports};
use crate::tls::{App, FileStorage, Modules};

const API_KEY: &str = "key+of/test";
const ID: &str = "0123456789abcdef";
const FILE: &str = "/.well-known/pki-validation/ABCDEF.txt";
const CONTENT: &str = "line1\nline2\nline3";

/// How the stand-in behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Mood {
    #[default]
    Friendly,
    /// It orders nothing.
    Refusing,
    /// It says that it has found nothing.
    Blind,
    /// It ends an order that waits.
    Forgetful,
}

/// What it knows.
#[derive(Debug, Default)]
struct ZeroSsl {
    mood: Mood,
    /// Where it looks for files.
    port: u16,
    storage: Option<FileStorage>,
    records: Mutex<Vec<Record>>,
    asked: Mutex<Vec<String>>,
    request: Mutex<String>,
    state: Mutex<String>,
}

impl ZeroSsl {
    fn answer(&self, asked: &Asked) -> Value {
        let path = asked.target.as_str();
        assert_eq!(asked.field("authorization"), format!("ApiKey {API_KEY}"));
        self.asked.lock().unwrap().push(format!("{} {path}", asked.method));
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let rest = path.strip_prefix("/certificates").unwrap();
        match (asked.method.as_str(), rest.replace(ID, "ID").as_str()) {
            ("POST", "") if self.mood == Mood::Refusing => {
                json!({"success": false, "error": {"code": 2839, "type": "insufficient_permissions"}})
            }
            ("POST", "") => self.create(&body),
            ("POST", "/ID/challenges") => self.look(body["validation_method"].as_str().unwrap()),
            ("GET", "/ID") if self.mood == Mood::Forgetful => self.state("cancelled"),
            ("GET", "/ID") => self.state("issued"),
            ("GET", "/ID/download/return") => self.sign(),
            ("POST", "/ID/cancel") => json!({"success": 1}),
            other => panic!("{other:?}"),
        }
    }

    fn create(&self, body: &Value) -> Value {
        assert_eq!((&body["strict_domains"], &body["certificate_validity_days"]), (&json!(1), &json!(90)));
        let request = body["certificate_csr"].as_str().unwrap();
        let params = CertificateSigningRequestParams::from_pem(request).unwrap().params;
        let domain = body["certificate_domains"].as_str().unwrap();
        assert_eq!(params.distinguished_name.get(&DnType::CommonName), Some(&domain.into()));
        assert!(params.subject_alt_names.is_empty());
        request.clone_into(&mut self.request.lock().unwrap());
        let mut state = self.state("draft");
        state["validation"] = json!({"email_validation": {}, "other_methods": {domain: {
            "file_validation_url_http": format!("http://{domain}{FILE}"),
            "file_validation_url_https": format!("https://{domain}{FILE}"),
            "file_validation_content": CONTENT.split('\n').collect::<Vec<_>>(),
            "cname_validation_p1": format!("_ABC.{}", domain.trim_start_matches("*.")),
            "cname_validation_p2": "DEF.comodoca.test",
        }}});
        state
    }

    fn state(&self, status: &str) -> Value {
        status.clone_into(&mut self.state.lock().unwrap());
        json!({"id": ID, "type": "1", "status": status, "brand_validation": null})
    }

    /// Looks whether the name is ours.
    fn look(&self, method: &str) -> Value {
        match method {
            "HTTP_CSR_HASH" => {
                let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
                write!(stream, "GET {FILE} HTTP/1.1\r\nHost: a.zero.test\r\n\r\n").unwrap();
                let mut answer = String::new();
                stream.take(4096).read_to_string(&mut answer).unwrap();
                assert!(answer.ends_with(&format!("\r\n\r\n{CONTENT}")), "{answer}");
                // Others that share the storage can show it too, Caddy among them.
                let shared = self.storage.as_ref().unwrap().path("zerossl/challenge_tokens/a.zero.test.json");
                let shared: Value = serde_json::from_slice(&std::fs::read(shared).unwrap()).unwrap();
                assert_eq!(shared["token"], CONTENT);
                assert_eq!(shared["url"], format!("http://a.zero.test{FILE}"));
            }
            "CNAME_CSR_HASH" => {
                let records = self.records.lock().unwrap();
                let expected = RecordData::Alias("DEF.comodoca.test.".into());
                assert_eq!((records[0].name.as_str(), &records[0].data), ("_ABC.a.test", &expected));
            }
            method => panic!("{method}"),
        }
        if self.mood == Mood::Blind {
            let details = json!({"a.zero.test": {FILE: {"file_found": 0}}});
            let kind = "domain_control_validation_failed";
            return json!({"success": false, "error": {"code": 0, "type": kind, "details": details}});
        }
        self.state("pending_validation")
    }

    /// A certificate by an authority of its own for what was ordered.
    fn sign(&self) -> Value {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let mut request = CertificateSigningRequestParams::from_pem(&self.request.lock().unwrap()).unwrap();
        request.params.subject_alt_names = vec![SanType::DnsName("a.zero.test".try_into().unwrap())];
        let signed = request.signed_by(&Signer::new(params, key)).unwrap();
        // Without an end of line, as may be.
        json!({"certificate.crt": signed.pem().trim_end(), "ca_bundle.crt": root.pem()})
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.replace(ID, "ID")).collect()
    }
}

#[derive(Debug)]
struct Zone(Arc<ZeroSsl>);

impl DnsProvider for Zone {
    fn append<'a>(&'a self, _: &'a str, record: &'a Record) -> Changed<'a> {
        self.0.records.lock().unwrap().push(record.clone());
        Box::pin(async { Ok(()) })
    }

    fn delete<'a>(&'a self, _: &'a str, record: &'a Record) -> Changed<'a> {
        self.0.records.lock().unwrap().retain(|other| other != record);
        Box::pin(async { Ok(()) })
    }
}

fn settings(http_port: u16) -> ZeroSslSettings {
    ZeroSslSettings {
        api_key: API_KEY.into(),
        validity_days: 90,
        listen_host: "127.0.0.1".into(),
        http_port,
        dns: None,
    }
}

/// An issuer that asks the stand-in.
fn issuer(zerossl: &Arc<ZeroSsl>, settings: ZeroSslSettings, storage: SharedStorage) -> ZeroSslIssuer {
    let client = Client::new(Arc::new(crate::tls::careless_client()));
    let mut issuer = ZeroSslIssuer::new(settings, storage, client).unwrap();
    let shared = zerossl.clone();
    issuer.api.base = serve(move |asked| (200, shared.answer(asked).to_string()));
    issuer.poll_interval = Duration::from_millis(10);
    issuer
}

fn order(subject: &str) -> Order {
    let key = KeyPem::new(KeyPair::generate().unwrap().serialize_pem());
    Order { subject: subject.into(), key, attempt: 0, replaces: None, must_staple: false }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The issuer with a file to show, and what comes of an order.
async fn by_file(mood: Mood) -> (Arc<ZeroSsl>, Result<Issued, IssueError>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(folder.path());
    let port = free_port();
    let zerossl = Arc::new(ZeroSsl { mood, port, storage: Some(storage.clone()), ..ZeroSsl::default() });
    let issuer = issuer(&zerossl, settings(port), Arc::new(storage));
    let issued = issuer.issue(&order("a.zero.test")).await;
    (zerossl, issued, folder)
}

#[tokio::test]
async fn what_is_refused_is_told_and_given_up() {
    let (zerossl, issued, _folder) = by_file(Mood::Refusing).await;
    let error = issued.unwrap_err().to_string();
    assert_eq!(error, "ZeroSSL says: HTTP 200: insufficient_permissions (2839)");
    // There is nothing to be given up.
    assert_eq!(zerossl.asked(), ["POST /certificates"]);

    let (zerossl, issued, _folder) = by_file(Mood::Blind).await;
    let error = issued.unwrap_err().to_string();
    assert!(error.contains("domain_control_validation_failed (0): {\\\"a.zero.test\\\""), "{error}");
    assert!(!error.contains(API_KEY), "{error}");
    let asked = ["POST /certificates", "POST /certificates/ID/challenges", "POST /certificates/ID/cancel"];
    assert_eq!(zerossl.asked(), asked);

    let (zerossl, issued, _folder) = by_file(Mood::Forgetful).await;
    assert_eq!(issued.unwrap_err().to_string(), "unexpected certificate status: cancelled");
    assert_eq!(zerossl.asked().last().unwrap(), "POST /certificates/ID/cancel");
}

#[tokio::test]
async fn wildcards_need_a_zone_and_keys_are_kept_back() {
    let storage = FileStorage::shared(std::path::Path::new("/nowhere"));
    let zerossl = Arc::new(ZeroSsl::default());
    let issuer = issuer(&zerossl, settings(80), storage.clone());
    let error = issuer.issue(&order("*.a.test")).await.unwrap_err().to_string();
    assert!(error.contains("name a provider with 'dns <provider>'"), "{error}");
    assert!(zerossl.asked().is_empty());
    assert!(!format!("{issuer:?}").contains(API_KEY));
    let client = Client::new(Arc::new(crate::tls::careless_client()));
    let without = ZeroSslSettings { api_key: Secret::default(), ..settings(80) };
    let error = ZeroSslIssuer::new(without, storage, client).unwrap_err().to_string();
    assert_eq!(error, "the API key is empty");
}

#[tokio::test]
async fn a_name_in_the_zone_is_shown_and_taken_away() {
    let zerossl = Arc::new(ZeroSsl::default());
    let dns = Dns01::of_provider(Arc::new(Zone(zerossl.clone())));
    let storage = FileStorage::shared(std::path::Path::new("/nowhere"));
    let by_zone = ZeroSslSettings { dns: Some(Arc::new(dns)), ..settings(80) };
    let issuer = issuer(&zerossl, by_zone, storage);
    let issued = issuer.issue(&order("*.a.test")).await.unwrap();
    assert_eq!(issued.chain_pem.matches("-----BEGIN CERTIFICATE-----\n").count(), 2, "{}", issued.chain_pem);
    assert_eq!(issued.data["status"], "issued");
    assert!(zerossl.records.lock().unwrap().is_empty());
    let asked = ["POST /certificates", "POST /certificates/ID/challenges", "GET /certificates/ID"];
    assert_eq!(zerossl.asked()[..3], asked);
    assert_eq!(zerossl.asked()[3..], ["GET /certificates/ID/download/return"]);
}

/// What the row of [`a_configuration_gets_and_keeps_its_certificates`] makes.
static PREPARED: Mutex<Option<ZeroSslIssuer>> = Mutex::new(None);

fn prepared(_: &crate::config::ModuleJson, _: &IssuerContext<'_>) -> Result<Arc<dyn Issuer>, TlsError> {
    Ok(Arc::new(PREPARED.lock().unwrap().take().unwrap()))
}

#[tokio::test]
async fn a_configuration_gets_and_keeps_its_certificates() {
    static ROW: IssuerType = IssuerType { id: "zerossl", provision: prepared };
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(folder.path());
    let port = free_port();
    let zerossl = Arc::new(ZeroSsl { port, storage: Some(storage.clone()), ..ZeroSsl::default() });
    *PREPARED.lock().unwrap() = Some(issuer(&zerossl, settings(port), Arc::new(storage.clone())));
    let modules = Arc::new(Modules { issuers: [("zerossl", &ROW)].into(), ..Modules::default() });
    let config = json!({"automation": {"policies": [{"issuers": [{"module": "zerossl"}]}]}});
    let config: crate::config::tls::App = serde_json::from_value(config).unwrap();
    let mut app = App::provision(Some(&config), None, Arc::new(storage.clone()), &modules).unwrap();
    let names = BTreeSet::from(["a.zero.test".to_owned()]);
    app.automate(Some(&config), &names, Ports::default()).unwrap();
    let app = Arc::new(app);
    let got = async {
        while !app.has_certificate_for("a.zero.test") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = app.clone().maintain() => unreachable!("it never ends"),
        got = tokio::time::timeout(Duration::from_secs(20), got) => got.unwrap(),
    }
    let read = |kind: &str| {
        let key = format!("certificates/zerossl/a.zero.test/a.zero.test.{kind}");
        std::fs::read_to_string(storage.path(&key)).unwrap()
    };
    assert_eq!(read("crt").matches("BEGIN CERTIFICATE").count(), 2);
    assert!(read("key").contains("PRIVATE KEY"));
    let kept: Value = serde_json::from_str(&read("json")).unwrap();
    // What Caddy needs to revoke it.
    assert_eq!(kept["issuer_data"]["id"], ID);
    assert_eq!(kept["sans"], json!(["a.zero.test"]));
}
