use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion};
use serde_json::{Value, json};

use super::super::certificate::testing::{certificate, pem};
use super::super::testing::{careless_client, careless_verifier, handshake};
use super::super::{App, Certificate, FileStorage, provider as standard_provider};
use super::*;

const ALL: HttpVersions = HttpVersions { http1: true, http2: true };

/// The policies of this JSON over these certificates.
fn policies(json: Value, certificates: Vec<Certificate>) -> Result<ConnectionPolicies, TlsError> {
    policies_for(json, certificates, ALL)
}

fn policies_for(
    json: Value,
    certificates: Vec<Certificate>,
    versions: HttpVersions,
) -> Result<ConnectionPolicies, TlsError> {
    let config: Vec<ConnectionPolicy> = serde_json::from_value(json).unwrap();
    let app = App::provision(None, None, FileStorage::shared("/nowhere"), &Arc::default()).unwrap();
    app.store().extend(certificates);
    app.connection_policies(&config, versions)
}

fn two_certificates() -> Vec<Certificate> {
    vec![certificate(&["a.test"], &["cert0"]), certificate(&["b.test"], &["cert1"])]
}

/// The first name in the certificate that a careless client gets when it asks for `name`.
fn served(policies: &ConnectionPolicies, name: &str) -> Option<String> {
    let (_, client) = handshake(policies, &Arc::new(careless_client()), name, Ends::default()).ok()?;
    let chain = client.peer_certificates().unwrap().to_vec();
    let names = x509_names(&chain[0]);
    names.first().cloned()
}

fn x509_names(der: &[u8]) -> Vec<String> {
    use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(der).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    names
        .into_iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_owned()),
            _ => None,
        })
        .collect()
}

#[test]
fn the_first_policy_that_matches_decides() {
    let json = json!([
        {"match": {"sni": ["*.deep.test"]}, "certificate_selection": {"any_tag": ["cert1"]}},
        {"match": {"sni": ["a.test"]}, "certificate_selection": {"any_tag": ["cert0"]}},
        {"match": {"sni": ["x.deep.test"]}, "drop": true},
        {"match": {"sni": ["dropped.test"]}, "drop": true},
    ]);
    let policies = policies(json, two_certificates()).unwrap();
    assert_eq!(served(&policies, "a.test").as_deref(), Some("a.test"));
    assert_eq!(served(&policies, "x.deep.test").as_deref(), Some("b.test"));
    let refused =
        |name| matches!(handshake(&policies, &Arc::new(careless_client()), name, Ends::default()), Err(None));
    assert!(refused("b.test") && refused("dropped.test") && refused("127.0.0.1"));
}

#[test]
fn an_empty_policy_serves_every_name_that_has_a_certificate() {
    let policies = policies(json!([{}]), two_certificates()).unwrap();
    assert_eq!(served(&policies, "b.test").as_deref(), Some("b.test"));
    assert_eq!(served(&policies, "c.test"), None);
}

#[test]
fn default_sni_counts_for_the_certificate() {
    let json = json!([{"match": {"sni": ["a.test"]}}, {"default_sni": "b.test", "fallback_sni": "a.test"}]);
    let policies = policies(json, two_certificates()).unwrap();
    assert_eq!(served(&policies, "127.0.0.1").as_deref(), Some("b.test"));
    assert_eq!(served(&policies, "c.test").as_deref(), Some("a.test"));
}

#[test]
fn clients_that_connect_by_address() {
    let certificates = vec![certificate(&["a.test", "127.0.0.1"], &[]), certificate(&["b.test"], &[])];
    let policies = policies(json!([{"default_sni": "b.test"}]), certificates).unwrap();
    let served_at = |local: &str| {
        let ends = Ends { local: Some(local.parse().unwrap()), peer: None };
        let (_, client) = handshake(&policies, &Arc::new(careless_client()), "127.0.0.1", ends).unwrap();
        x509_names(&client.peer_certificates().unwrap()[0])[0].clone()
    };
    assert_eq!(served_at("127.0.0.1:443"), "a.test");
    assert_eq!(served_at("[::ffff:127.0.0.1]:443"), "a.test");
    assert_eq!(served_at("127.0.0.2:443"), "b.test");
}

#[test]
fn versions_and_suites_and_groups() {
    let connect = |json: Value, client: ClientConfig| {
        let policies = policies(json, two_certificates()).unwrap();
        let (server, _) = handshake(&policies, &Arc::new(client), "a.test", Ends::default()).ok()?;
        Some((
            server.protocol_version().unwrap(),
            server.negotiated_cipher_suite().unwrap().suite(),
            server.negotiated_key_exchange_group().unwrap().name(),
        ))
    };
    let client = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        ClientConfig::builder_with_provider(standard_provider().clone())
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(careless_verifier())
            .with_no_client_auth()
    };
    let (both, old, new) = (client(&[&TLS12, &TLS13]), client(&[&TLS12]), client(&[&TLS13]));
    let (version, suite, group) = connect(json!([{}]), both.clone()).unwrap();
    assert_eq!(version, ProtocolVersion::TLSv1_3);
    assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
    assert_eq!(group, NamedGroup::X25519);
    assert_eq!(
        connect(json!([{"protocol_max": "tls1.2"}]), both.clone()).unwrap().0,
        ProtocolVersion::TLSv1_2
    );
    assert_eq!(connect(json!([{"protocol_min": "tls1.3"}]), old.clone()), None);
    assert_eq!(connect(json!([{"protocol_max": "tls1.2"}]), new), None);
    let limited =
        json!([{"cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"], "curves": ["secp384r1"]}]);
    let (_, suite, group) = connect(limited.clone(), old).unwrap();
    assert_eq!(suite, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
    assert_eq!(group, NamedGroup::secp384r1);
    assert_eq!(connect(limited, both).unwrap().1, CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[test]
fn protocols_are_the_servers_choice_within_what_it_speaks() {
    let agreed = |json: Value, versions: HttpVersions, offered: &[&str]| {
        let policies = policies_for(json, two_certificates(), versions).unwrap();
        let mut client = careless_client();
        client.alpn_protocols = offered.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let (server, _) = handshake(&policies, &Arc::new(client), "a.test", Ends::default()).ok()?;
        Some(String::from_utf8_lossy(server.alpn_protocol().unwrap_or_default()).into_owned())
    };
    assert_eq!(agreed(json!([{}]), ALL, &["http/1.1", "h2"]).as_deref(), Some("h2"));
    assert_eq!(agreed(json!([{}]), ALL, &["http/1.1"]).as_deref(), Some("http/1.1"));
    assert_eq!(agreed(json!([{}]), ALL, &[]).as_deref(), Some(""));
    assert_eq!(agreed(json!([{}]), ALL, &["spdy/3"]), None);
    let only_http1 = HttpVersions { http1: true, http2: false };
    assert_eq!(agreed(json!([{}]), only_http1, &["h2", "http/1.1"]).as_deref(), Some("http/1.1"));
    assert_eq!(agreed(json!([{"alpn": ["http/1.1", "x"]}]), ALL, &["h2", "x"]).as_deref(), Some("x"));
}

#[test]
fn sessions_resume_but_not_with_client_certificates() {
    let second = |json: Value| {
        let policies = policies(json, two_certificates()).unwrap();
        let client = Arc::new(careless_client());
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (server, _) = handshake(&policies, &client, "a.test", Ends::default()).unwrap();
            kinds.push(server.handshake_kind().unwrap());
        }
        assert_eq!(kinds[0], HandshakeKind::Full);
        kinds[1]
    };
    assert_eq!(second(json!([{}])), HandshakeKind::Resumed);
    assert_eq!(second(json!([{"protocol_max": "tls1.2"}])), HandshakeKind::Resumed);
    assert_eq!(second(json!([{"client_authentication": {"mode": "request"}}])), HandshakeKind::Full);
    let old = json!([{"client_authentication": {"mode": "request"}, "protocol_max": "tls1.2"}]);
    assert_eq!(second(old), HandshakeKind::Full);
}

/// A client's certificate: its chain and key, and the DER of who vouches for it.
struct Identity {
    chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    key: Vec<u8>,
    trusted: Vec<u8>,
}

fn self_signed() -> Identity {
    let (certificate, key) = pem(&["client.test"]);
    let der = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap().secret_der().to_vec();
    Identity { trusted: der.to_vec(), chain: vec![der], key }
}

fn issued() -> Identity {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let trusted = root.self_signed(&root_key).unwrap().der().to_vec();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(root, &root_key)).unwrap();
    Identity { chain: vec![leaf.der().clone()], key: key.serialize_der(), trusted }
}

fn client_with(identity: Option<&Identity>) -> Arc<ClientConfig> {
    let Some(identity) = identity else { return Arc::new(careless_client()) };
    let key = PrivateKeyDer::try_from(identity.key.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(standard_provider().clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(careless_verifier())
        .with_client_auth_cert(identity.chain.clone(), key)
        .unwrap();
    Arc::new(client)
}

fn base64(der: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(der)
}

#[test]
fn client_certificates_by_mode() {
    let (known, stranger) = (issued(), issued());
    let accepts = |auth: Value, identity: Option<&Identity>| {
        let policies = policies(json!([{"client_authentication": auth}]), two_certificates()).unwrap();
        handshake(&policies, &client_with(identity), "a.test", Ends::default()).is_ok()
    };
    let inline = json!({"provider": "inline", "trusted_ca_certs": [base64(&known.trusted)]});
    // For each mode: none at all, one from a known issuer, one from another.
    let table =
        |auth: Value| [None, Some(&known), Some(&stranger)].map(|identity| accepts(auth.clone(), identity));
    assert_eq!(table(json!({"mode": "request"})), [true, true, true]);
    assert_eq!(table(json!({"mode": "require"})), [false, true, true]);
    assert_eq!(table(json!({"mode": "verify_if_given", "ca": inline})), [true, true, false]);
    assert_eq!(table(json!({"mode": "require_and_verify", "ca": inline})), [false, true, false]);
    assert_eq!(table(json!({"ca": inline})), [false, true, false]);
    assert_eq!(table(json!({"trusted_ca_certs": [base64(&known.trusted)]})), [false, true, false]);
}

#[test]
fn a_self_signed_client_certificate_may_be_trusted_by_itself() {
    let (known, stranger) = (self_signed(), self_signed());
    let pool = json!({"provider": "inline", "trusted_ca_certs": [base64(&known.trusted)]});
    let policies = policies(json!([{"client_authentication": {"ca": pool}}]), two_certificates()).unwrap();
    let connect = |identity| handshake(&policies, &client_with(Some(identity)), "a.test", Ends::default());
    let (server, _) = connect(&known).map_err(|error| format!("{error:?}")).unwrap();
    assert_eq!(server.peer_certificates().unwrap(), known.chain);
    assert!(connect(&stranger).is_err());
}

#[test]
fn leaf_verifiers_pin_certificates() {
    let (known, stranger) = (issued(), issued());
    let folder = tempfile::tempdir().unwrap();
    let pem = super::super::authority::certificate_pem(&[&known.chain[0]]);
    std::fs::write(folder.path().join("leaf.pem"), &pem).unwrap();
    for loader in [
        json!({"loader": "pem", "certificates": [pem]}),
        json!({"loader": "file", "files": [folder.path().join("leaf.pem")]}),
        json!({"loader": "folder", "folders": [folder.path()]}),
    ] {
        let verifier = json!({"verifier": "leaf", "leaf_certs_loaders": [loader]});
        let auth = json!({"mode": "request", "verifiers": [verifier]});
        let policies = policies(json!([{"client_authentication": auth}]), two_certificates()).unwrap();
        let accepts =
            |identity| handshake(&policies, &client_with(identity), "a.test", Ends::default()).is_ok();
        assert!(accepts(Some(&known)) && !accepts(Some(&stranger)) && !accepts(None), "{loader}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    let refused = |policy: Value| policies(json!([{}, policy]), Vec::new()).unwrap_err().to_string();
    let cases = [
        (json!({"match": {"no": 1}}), "tls.handshake_match.no"),
        (json!({"cipher_suites": ["X"]}), "unsupported cipher suite: X"),
        (json!({"protocol_min": "tls1.3", "protocol_max": "tls1.2"}), "cannot be greater"),
        (json!({"client_authentication": {"mode": "x"}}), "client auth mode not recognized: x"),
        (json!({"client_authentication": {"ca": {"provider": "inline"}}}), "no certificates specified"),
        (json!({"client_authentication": {"ca": {"provider": "x"}}}), "tls.ca_pool.source.x"),
        (
            json!({"client_authentication": {"ca": {"provider": "file", "pem_files": ["/no"]}}}),
            "reading /no: ",
        ),
        (json!({"client_authentication": {"verifiers": [{"verifier": "x"}]}}), "tls.client_auth.verifier.x"),
        (json!({"handshake_context": {"module": "x"}}), "tls.context.x"),
    ];
    for (policy, expected) in cases {
        let error = refused(policy);
        assert!(error.starts_with("connection policy 1: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn secrets_go_to_a_private_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.log");
    let policies = policies(json!([{"insecure_secrets_log": path}]), two_certificates()).unwrap();
    assert!(served(&policies, "a.test").is_some());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !std::fs::read_to_string(&path).unwrap().contains("SERVER_TRAFFIC_SECRET_0 ") {
        assert!(std::time::Instant::now() < deadline, "the log stayed empty");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
