use serde_json::{Value, json};

use super::super::authority::certificate_pem;
use super::super::automation::tests::INTERNAL;
use super::super::certificate::testing::{certificate, expired, pem};
use super::super::issuance::Ports;
use super::super::testing::handshake;
use super::super::{App, ConnectionPolicies, Ends, FileStorage, HttpVersions, Modules};
use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    app: App,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let app = App::provision(None, None, FileStorage::shared(folder.path()), &Arc::default()).unwrap();
        Self { folder, app }
    }

    fn server(&self, policies: Value, certificates: Vec<Certificate>) -> ConnectionPolicies {
        self.app.store().extend(certificates);
        let policies: Vec<_> = serde_json::from_value(policies).unwrap();
        self.app.connection_policies(&policies, HttpVersions { http1: true, http2: true }).unwrap()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// Whether a handshake with a server that has this certificate stands.
    fn trusts(&self, options: &ClientOptions<'_>, certificate: Certificate, name: &str) -> bool {
        let server = Fixture::new();
        let policies = server.server(json!([{"fallback_sni": &*certificate.names[0]}]), vec![certificate]);
        let client = self.app.client_config(options).unwrap();
        handshake(&policies, &client, name, Ends::default()).is_ok()
    }
}

/// A self-signed certificate, with its PEM.
fn self_signed(names: &[&str]) -> (Certificate, String) {
    let certificate = certificate(names, &[]);
    let pem = certificate_pem(&[&certificate.chain()[0]]);
    (certificate, pem)
}

#[test]
fn a_self_signed_certificate_in_the_pool_is_trusted_for_its_names() {
    let fixture = Fixture::new();
    let trusts = |name: &str| {
        let (certificate, pem) = self_signed(&["a.test", "127.0.0.1"]);
        let files = [fixture.write("ca.pem", &pem)];
        let options = ClientOptions { root_ca_pem_files: &files, ..Default::default() };
        fixture.trusts(&options, certificate, name)
    };
    assert!(trusts("a.test") && trusts("127.0.0.1"));
    assert!(!trusts("b.test") && !trusts("127.0.0.2"));
    let (_, other) = self_signed(&["a.test"]);
    let files = [fixture.write("other.pem", &other)];
    let options = ClientOptions { root_ca_pem_files: &files, ..Default::default() };
    assert!(!fixture.trusts(&options, certificate(&["a.test"], &[]), "a.test"));
}

#[test]
fn an_expired_certificate_is_not_trusted_even_if_it_is_in_the_pool() {
    let fixture = Fixture::new();
    let expired = expired(&["a.test"]);
    let files = [fixture.write("ca.pem", &certificate_pem(&[&expired.chain()[0]]))];
    let options = ClientOptions { root_ca_pem_files: &files, ..Default::default() };
    assert!(!fixture.trusts(&options, expired, "a.test"));
}

#[test]
fn pools_of_our_own_authority() {
    let fixture = Fixture::new();
    let root = json!({"provider": "pki_root", "authority": ["local"]});
    let ca: ModuleJson = serde_json::from_value(root).unwrap();
    let options = ClientOptions { ca: Some(&ca), ..Default::default() };
    let client = fixture.app.client_config(&options).unwrap();
    let modules = Arc::new(Modules { issuers: [("internal", &INTERNAL)].into(), ..Modules::default() });
    let mut server =
        App::provision(None, None, FileStorage::shared(fixture.folder.path()), &modules).unwrap();
    let config =
        serde_json::from_value(json!({"automation": {"policies": [{"issuers": [{"module": "internal"}]}]}}));
    server.automate(Some(&config.unwrap()), &["localhost".to_owned()].into(), Ports::default()).unwrap();
    let policies =
        server.connection_policies(&[Default::default()], HttpVersions { http1: true, http2: true }).unwrap();
    assert!(handshake(&policies, &client, "localhost", Ends::default()).is_ok());
}

#[test]
fn skipping_verification_trusts_anyone() {
    let fixture = Fixture::new();
    let options = ClientOptions { insecure_skip_verify: true, ..Default::default() };
    assert!(fixture.trusts(&options, certificate(&["a.test"], &[]), "b.test"));
    assert!(fixture.trusts(&options, expired(&["a.test"]), "a.test"));
}

#[test]
fn our_own_certificate_is_shown() {
    let fixture = Fixture::new();
    let (certificate_text, key) = pem(&["client.test"]);
    let (certificate_file, key_file) =
        (fixture.write("c.crt", &certificate_text), fixture.write("c.key", &key));
    let pool = json!({"provider": "file", "pem_files": [certificate_file]});
    let auth = json!([{"client_authentication": {"ca": pool}}]);
    let policies = fixture.server(auth, vec![certificate(&["a.test"], &[])]);
    let insecure = ClientOptions { insecure_skip_verify: true, ..Default::default() };
    let with = ClientOptions { certificate_file: &certificate_file, key_file: &key_file, ..insecure };
    let connect = |options: &ClientOptions<'_>| {
        let client = fixture.app.client_config(options).unwrap();
        handshake(&policies, &client, "a.test", Ends::default()).is_ok()
    };
    assert!(connect(&with) && !connect(&insecure));

    // One of the store, which may be renewed.
    let managed = ClientOptions { certificate_name: "Managed.test", ..insecure };
    let refused = fixture.app.client_config(&managed).unwrap_err().to_string();
    assert!(refused.ends_with("who issues a certificate for managed.test"), "{refused}");
    let text = (certificate_text.as_bytes(), key.as_bytes());
    let mut managed_certificate = Certificate::from_pem(text.0, "c", text.1, "k", Vec::new()).unwrap();
    managed_certificate.names.push("managed.test".into());
    fixture.app.store().extend([managed_certificate]);
    assert!(connect(&managed));
}

#[test]
fn protocols_and_groups_are_offered() {
    let fixture = Fixture::new();
    let policies = fixture.server(json!([{}]), vec![certificate(&["a.test"], &[])]);
    let curves = ["secp384r1".to_owned()];
    let options = ClientOptions { insecure_skip_verify: true, alpn: &["http/1.1"], ..Default::default() };
    let agreed = |options: &ClientOptions<'_>| {
        let client = fixture.app.client_config(options).unwrap();
        let (server, _) = handshake(&policies, &client, "a.test", Ends::default()).ok()?;
        Some(server.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(agreed(&options), Some(Some(b"http/1.1".to_vec())));
    assert_eq!(agreed(&ClientOptions { alpn: &["h2", "http/1.1"], ..options }), Some(Some(b"h2".to_vec())));
    assert_eq!(agreed(&ClientOptions { curves: &curves, ..options }), None);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let fixture = Fixture::new();
    let refused = |options: &ClientOptions<'_>| fixture.app.client_config(options).unwrap_err().to_string();
    let files = ["/no.pem".to_owned()];
    let file_options = ClientOptions { root_ca_pem_files: &files, ..Default::default() };
    assert!(refused(&file_options).starts_with("reading /no.pem: "));
    let ca: ModuleJson = serde_json::from_value(json!({"provider": "inline"})).unwrap();
    assert!(refused(&ClientOptions { ca: Some(&ca), ..file_options }).contains("conflicting config"));
    assert!(refused(&ClientOptions { ca: Some(&ca), ..Default::default() }).contains("no certificates"));
    let half = ClientOptions { certificate_file: "x", insecure_skip_verify: true, ..Default::default() };
    assert!(refused(&half).contains("without client_certificate_key_file"));
    let curves = ["x".to_owned()];
    assert!(refused(&ClientOptions { curves: &curves, ..half }).contains("unsupported curve: x"));
}
