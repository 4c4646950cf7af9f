//! Session tickets of several gateways with one storage.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use serde_json::json;

use crate::support::{eventually, free_port, gateway_binary};
use crate::tls::client;

/// A gateway that ends with the test.
struct Gateway {
    child: Child,
    port: u16,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// One whose storage is a folder of `directory`.
fn gateway(directory: &std::path::Path, name: &str) -> Gateway {
    let (port, http_port) = (free_port(), free_port());
    let site =
        json!({"match": [{"host": ["localhost"]}], "handle": [{"handler": "static_response", "body": "hi"}]});
    let config = json!({
        "admin": {"disabled": true},
        "storage": {"module": "file_system", "root": directory.join("storage")},
        "apps": {
            "http": {
                "http_port": http_port, "https_port": port,
                "servers": {"s": {"listen": [format!("127.0.0.1:{port}")], "routes": [site]}},
            },
            "tls": {"session_tickets": {"key_source": {"provider": "distributed"}}},
        },
    });
    let file = directory.join(format!("{name}.json"));
    fs::write(&file, config.to_string()).unwrap();
    let child = Command::new(gateway_binary())
        .args(["run", "--config"])
        .arg(&file)
        .envs([("HOME", directory), ("XDG_DATA_HOME", directory), ("XDG_CONFIG_HOME", directory)])
        .stdin(Stdio::null())
        .stderr(fs::File::create(directory.join(format!("{name}.log"))).unwrap())
        .spawn()
        .unwrap();
    let gateway = Gateway { child, port };
    eventually("the port opens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    gateway
}

/// How a client shook hands that then asked for something.
fn shake(gateway: &Gateway, client: &Arc<ClientConfig>) -> HandshakeKind {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(client.clone(), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    // It may end without a word of TLS's.
    _ = stream.read_to_string(&mut answer);
    assert!(answer.ends_with("hi"), "{answer}");
    stream.conn.handshake_kind().unwrap()
}

#[test]
fn gateways_with_one_folder_resume_each_others_sessions() {
    let directory = tempfile::tempdir().unwrap();
    let one = gateway(directory.path(), "one");
    let root = directory.path().join("storage/pki/authorities/local/root.crt");
    let client = client(&CertificateDer::from_pem_file(root).unwrap(), None);
    assert_eq!(shake(&one, &client), HandshakeKind::Full);
    let keys = fs::read(directory.path().join("storage/stek/stek.bin")).unwrap();
    let other = gateway(directory.path(), "other");
    assert_eq!(shake(&other, &client), HandshakeKind::Resumed);
    assert_eq!(shake(&one, &client), HandshakeKind::Resumed);
    // It outlasts both.
    drop((one, other));
    assert_eq!(shake(&gateway(directory.path(), "third"), &client), HandshakeKind::Resumed);
    assert_eq!(fs::read(directory.path().join("storage/stek/stek.bin")).unwrap(), keys);
}
