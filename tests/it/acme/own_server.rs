//! One gateway gets its certificates from another, which is the authority.
//!
//! Authorities look at ports 80 and 443, so both run in a network of their own, if the system lets us have one.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::support::{eventually, gateway_binary};

/// What the namespaces run: the authority, and once it serves, its client.
const SCRIPT: &str = r#"
ip link set lo up || exit 1
touch begun
export HOME="$PWD" XDG_DATA_HOME="$PWD" XDG_CONFIG_HOME="$PWD"
"$GATEWAY" run --config server.caddyfile --adapter caddyfile 2>server.log &
until grep -q "serving initial configuration" server.log; do sleep 0.05; done
exec "$GATEWAY" run --config client.caddyfile --adapter caddyfile 2>client.log
"#;

/// Both gateways, which end with the test.
struct Network(Child);

impl Drop for Network {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Network {
    /// Starts it in `folder`; `None` if the system gives us no network.
    fn start(folder: &Path) -> Option<Self> {
        let isolated = ["--map-root-user", "--net", "--pid", "--fork", "--kill-child"];
        let child = Command::new("unshare")
            .args(isolated)
            .args(["sh", "-c", SCRIPT])
            .env("GATEWAY", gateway_binary())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut network = Self(child);
        let begun = eventually("it begins or ends", || {
            let has_begun = folder.join("begun").exists();
            let has_ended = network.0.try_wait().unwrap().is_some();
            (has_begun || has_ended).then_some(has_begun)
        });
        begun.then_some(network)
    }
}

#[test]
fn a_gateway_gets_certificates_from_another() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let server = "{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n\thttps_port 8443\n\
         \tstorage file_system server\n}\n\
         https://127.0.0.1:8443 {\n\ttls internal\n\tacme_server {\n\t\tallow {\n\t\t\tip_ranges 127.0.0.0/8\n\t\t}\n\t}\n}\n";
    fs::write(at("server.caddyfile"), server).unwrap();
    // Each in another way, and an address that the authority does not allow.
    let issuer = |disabled: &str| {
        format!(
            "\ttls {{\n\t\tissuer acme https://127.0.0.1:8443/acme/local/directory {{\n\
             \t\t\ttrusted_roots server/pki/authorities/local/root.crt\n\t\t\t{disabled}\n\t\t}}\n\t}}\n\trespond hi\n"
        )
    };
    let client = format!(
        "{{\n\tadmin off\n\tskip_install_trust\n\tstorage file_system client\n}}\n\
         https://127.0.0.1 {{\n{}}}\nhttps://127.0.0.2 {{\n{}}}\nhttps://10.0.0.1 {{\n{}}}\n",
        issuer("disable_tlsalpn_challenge"),
        issuer("disable_http_challenge\n\t\t\tlifetime 2h"),
        issuer("disable_http_challenge"),
    );
    fs::write(at("client.caddyfile"), client).unwrap();
    let Some(_network) = Network::start(folder.path()) else { return };
    for (name, hours) in [("127.0.0.1", 12), ("127.0.0.2", 2)] {
        let stored =
            at(&format!("client/certificates/127.0.0.1-8443-acme-local-directory/{name}/{name}.crt"));
        let chain = eventually("it is stored", || fs::read_to_string(&stored).ok());
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(hours_of(&chain), hours, "{name}");
    }
    let log = eventually("it is refused", || {
        let log = fs::read_to_string(at("client.log")).unwrap_or_default();
        Some(log).filter(|log| log.contains("10.0.0.1 is not allowed"))
    });
    assert!(!log.contains("\"level\":\"panic\""), "{log}");
    let kept =
        |kind: &str| fs::read_dir(at(&format!("server/acme_server/local/{kind}"))).map_or(0, Iterator::count);
    assert_eq!((kept("accounts"), kept("certificates")), (1, 2));
}

/// How long the first certificate of a chain is valid, in hours, rounded up.
fn hours_of(chain: &str) -> i64 {
    let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&der).unwrap();
    let validity = leaf.validity();
    (validity.not_after.timestamp() - validity.not_before.timestamp()) / 3600
}
