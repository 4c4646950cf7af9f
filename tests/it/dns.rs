//! The challenge `dns-01` with BIND as the zone's server, so that our signatures are checked by another.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tollgate::acme::dns01::{Dns01, DnsError};
use tollgate::dns::Resolver;
use tollgate::fetch::Client;

use crate::support::{eventually, free_port, program_of_ci};

const ALGORITHMS: &[&str] = &["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"];
/// Base64 of the keys, all of which are the same.
pub const SECRET: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0cywgbG9uZyBlbm91Z2g=";

/// A name server with the zone `a.test`, which ends with the test.
pub struct Named {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Named {
    /// Nothing where there is no BIND.
    pub fn start() -> Option<Named> {
        let program = program_of_ci("named")?;
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        write_configuration(folder.path(), port);
        let child = Command::new(program)
            .args(["-g", "-n", "1", "-c"])
            .arg(folder.path().join("named.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("named runs");
        let path = folder.path().join("log");
        let mut named = Named { child, port, _folder: folder };
        eventually("named answers", || {
            let ended = named.child.try_wait().expect("its state");
            assert!(ended.is_none(), "{}", std::fs::read_to_string(&path).expect("a log"));
            texts(port, "a.test")
        });
        Some(named)
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The texts of a name.
    pub fn texts(&self, name: &str) -> Vec<String> {
        texts(self.port, name).expect("an answer")
    }

    fn challenge(&self, provider: &Value) -> Dns01 {
        let json = json!({ "provider": provider, "ttl": "1m", "resolvers": [self.address()] });
        let json = serde_json::from_value(json).expect("a challenge");
        let types = tollgate::modules::dns_providers::types();
        Dns01::provision(&json, None, &[], &types, &client()).expect("it can be used")
    }

    fn provider(&self, name: &str, algorithm: &str, key: &str) -> Value {
        json!({
            "name": "rfc2136", "key_name": name, "key_alg": algorithm, "key": key, "server": self.address()
        })
    }
}

fn write_configuration(folder: &Path, port: u16) {
    let mut text = format!(
        "options {{\n directory \"{0}\";\n pid-file \"{0}/named.pid\";\n session-keyfile \"{0}/session.key\";\n \
         listen-on port {port} {{ 127.0.0.1; }};\n listen-on-v6 {{ none; }};\n recursion no;\n \
         dnssec-validation no;\n}};\ncontrols {{ }};\n",
        folder.display()
    );
    let mut grants = String::new();
    for algorithm in ALGORITHMS {
        let key = format!("key \"{algorithm}.key\" {{ algorithm {algorithm}; secret \"{SECRET}\"; }};");
        writeln!(text, "{key}").expect("text");
        writeln!(grants, "  grant {algorithm}.key name _acme-challenge.w.a.test TXT;").expect("text");
        writeln!(grants, "  grant {algorithm}.key name _acme-challenge.a.test TXT;").expect("text");
    }
    writeln!(
        text,
        "zone \"a.test\" {{\n type primary;\n file \"{}/a.test.zone\";\n update-policy {{\n{grants} }};\n}};",
        folder.display()
    )
    .expect("text");
    std::fs::write(folder.join("named.conf"), text).expect("a configuration");
    let zone = "$TTL 60\n@ IN SOA ns host\\.master 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\n";
    std::fs::write(folder.join("a.test.zone"), zone).expect("a zone");
}

/// The texts of a name at the server of this port, if it answers.
fn texts(port: u16, name: &str) -> Option<Vec<String>> {
    let texts = block_on(Resolver::at(&[[127, 0, 0, 1].into()], port).texts(name)).ok()?;
    Some(texts.into_iter().map(|text| String::from_utf8(text).expect("UTF-8")).collect())
}

fn client() -> Client {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Client::new(Arc::new(config))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

#[test]
fn dns_records_are_added_seen_and_removed_at_a_real_server() {
    let Some(named) = Named::start() else { return };
    let name = "_acme-challenge.w.a.test";
    for algorithm in ALGORITHMS {
        let mut dns = named.challenge(&named.provider(&format!("{algorithm}.key"), algorithm, SECRET));
        let one = block_on(dns.present("*.w.a.test", "one")).expect(algorithm);
        let two = block_on(dns.present("w.a.test", "two")).expect(algorithm);
        let mut texts = named.texts(name);
        texts.sort();
        assert_eq!(texts, ["one", "two"], "{algorithm}");
        block_on(dns.clean_up(one)).expect(algorithm);
        assert_eq!(named.texts(name), ["two"], "{algorithm}");
        if *algorithm == "hmac-sha512" {
            block_on(dns.wait(&two)).expect("it shows");
        }
        block_on(dns.clean_up(two)).expect(algorithm);
        assert!(named.texts(name).is_empty(), "{algorithm}");
        // Also at the top of the zone.
        dns = named.challenge(&named.provider(
            &format!("{}.KEY.", algorithm.to_uppercase()),
            algorithm,
            SECRET,
        ));
        let top = block_on(dns.present("a.test", "three")).expect(algorithm);
        block_on(dns.clean_up(top)).expect(algorithm);
    }
}

#[test]
fn dns_updates_that_a_real_server_refuses_say_why() {
    let Some(named) = Named::start() else { return };
    let failure = |provider: &Value, domain: &str| {
        let error = block_on(named.challenge(provider).present(domain, "one")).expect_err("it is refused");
        assert!(matches!(error, DnsError::Change { .. }), "{error}");
        error.to_string()
    };
    let key = "hmac-sha256.key";
    let begin = format!(
        "adding the record _acme-challenge.a.test in the zone a.test.: the answer of {}: ",
        named.address()
    );
    let other = named.provider(key, "hmac-sha256", "b3RoZXIgc2VjcmV0");
    let error = failure(&other, "a.test");
    assert_eq!(
        error,
        format!("{begin}the server does not accept the key: BADSIG, its secret or its algorithm is another")
    );
    let unknown = named.provider("none.key", "hmac-sha256", SECRET);
    let error = failure(&unknown, "a.test");
    assert_eq!(
        error,
        format!("{begin}the server does not accept the key: BADKEY, there is none of this name")
    );
    assert!(failure(&named.provider(key, "hmac-sha512", SECRET), "a.test").starts_with(&begin));
    // The key may add nothing under this name.
    let mut dns = json!({
        "provider": named.provider(key, "hmac-sha256", SECRET),
        "resolvers": [named.address()], "override_domain": "other.a.test"
    });
    let types = tollgate::modules::dns_providers::types();
    let challenge = serde_json::from_value(dns.take()).expect("a challenge");
    let challenge = Dns01::provision(&challenge, None, &[], &types, &client()).expect("it can be used");
    let error = block_on(challenge.present("a.test", "one")).expect_err("it is refused").to_string();
    let says = format!("{} does not change the zone: REFUSED", named.address());
    assert!(error.ends_with(&says), "{error}");
}
