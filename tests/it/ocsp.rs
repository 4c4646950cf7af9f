//! What others say of certificates, with OpenSSL's own responder and client. Skipped where there is no `openssl`.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    SerialNumber,
};

use crate::support::{eventually, free_port};
use crate::tls::Gateway;

/// `openssl ocsp`, which ends with the test.
struct Responder(Child);

impl Drop for Responder {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Responder {
    fn start(folder: &Path, port: u16) -> Self {
        let log = folder.join("responder.log");
        let output = fs::File::create(&log).unwrap();
        let child = Command::new("openssl")
            .args(["ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key"])
            .args(["-ndays", "2", "-ignore_err", "-port", &port.to_string()])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let responder = Self(child);
        // It must not be tried out: whoever connects and says nothing keeps it from all others.
        let listens = || fs::read_to_string(&log).is_ok_and(|text| text.contains("waiting for"));
        eventually("the responder listens", || listens().then_some(()));
        responder
    }
}

/// An authority's files in a folder, and the chain and key of a certificate for `localhost` with serial number 77.
fn authority(folder: &Path, responder: u16) -> (String, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "An authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    fs::write(folder.join("ca.key"), ca_key.serialize_pem()).unwrap();
    fs::write(folder.join("index.txt"), "V\t991231235959Z\t\t4D\tunknown\t/CN=localhost\n").unwrap();

    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from(77_u64));
    let url = format!("http://127.0.0.1:{responder}");
    // SEQUENCE of one SEQUENCE: id-ad-ocsp, and the URL.
    let length = url.len() as u8;
    let mut access = vec![0x30, length + 14, 0x30, length + 12];
    access.extend_from_slice(&[6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 0x86, length]);
    access.extend_from_slice(url.as_bytes());
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access)];
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::from_ca_cert_der(ca.der(), ca_key).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    (leaf.pem() + &ca.pem(), key.serialize_pem())
}

/// What OpenSSL's client says of a handshake.
fn s_client(port: u16) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-status", "-servername", "localhost", "-connect", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    _ = child.stdin.take().unwrap().write_all(b"Q\n");
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}

#[test]
fn openssl_answers_and_sees_the_staple() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: there is no openssl on this machine");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let responder = free_port();
    let (chain, key) = authority(folder.path(), responder);
    let files = [("chain.pem", chain.as_str()), ("key.pem", key.as_str())];
    let caddyfile = |stapling: &str| {
        format!(
            "{{\n\thttp_port {{HTTP_PORT}}\n\tskip_install_trust\n\tocsp_interval 1h\n\t{stapling}\n}}\n\
             https://localhost:{{PORT}} {{\n\ttls chain.pem key.pem\n}}\n"
        )
    };
    let running = Responder::start(folder.path(), responder);
    let gateway = Gateway::start(&caddyfile(""), &files);
    let said = s_client(gateway.port);
    assert!(
        said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good"),
        "{said}"
    );
    let stored: Vec<_> = fs::read_dir(gateway.path("caddy/ocsp")).unwrap().flatten().collect();
    let [file] = &stored[..] else { panic!("{stored:?}") };
    assert!(file.file_name().to_string_lossy().starts_with("localhost-"), "{file:?}");
    let valid = Command::new("openssl")
        .args(["ocsp", "-respin"])
        .arg(file.path())
        .args(["-CAfile", "ca.pem", "-issuer", "ca.pem", "-serial", "77"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&valid.stdout).into_owned();
    assert!(text.contains("77: good"), "{text}{}", String::from_utf8_lossy(&valid.stderr));

    // What is stored needs nobody who answers.
    drop(running);
    assert!(gateway.reload(&caddyfile("")).status.success());
    assert!(s_client(gateway.port).contains("Cert Status: good"));
    assert!(gateway.reload(&caddyfile("ocsp_stapling off")).status.success());
    assert!(s_client(gateway.port).contains("OCSP response: no response sent"));
}
