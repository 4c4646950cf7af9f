//! Authorities that are reached by a proxy.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use super::*;

/// What a proxy is asked for first by a gateway of this configuration, with `ENV` for an environment.
fn asked_of_proxy(config: &str, environment: &str) -> String {
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = proxy.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), config.replace("PROXY", &address)).unwrap();
    let mut child = Command::new(gateway_binary())
        .args(["run", "--config", "config.json"])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("XDG_DATA_HOME", folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .env("HTTPS_PROXY", environment.replace("PROXY", &address))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut stream, _) = proxy.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = [0; 1024];
    let length = stream.read(&mut head).unwrap();
    _ = child.kill();
    _ = child.wait();
    String::from_utf8_lossy(&head[..length]).into_owned()
}

#[test]
fn the_environment_or_the_issuer_names_the_proxy() {
    let config = |network_proxy: &str| {
        format!(
            r#"{{"admin": {{"disabled": true}}, "apps": {{"tls": {{"certificates": {{"automate": ["a.test.com"]}},
            "automation": {{"policies": [{{"issuers": [{{"module": "acme",
            "ca": "https://ca.nowhere.test/dir"{network_proxy}}}]}}]}}}}}}}}"#
        )
    };
    let by_environment = asked_of_proxy(&config(""), "http://PROXY");
    assert!(by_environment.starts_with("CONNECT ca.nowhere.test:443 HTTP/1.1\r\n"), "{by_environment}");
    let by_issuer = asked_of_proxy(
        &config(r#", "network_proxy": {"from": "url", "url": "http://me:secret@PROXY"}"#),
        "http://127.0.0.1:1",
    );
    assert!(by_issuer.starts_with("CONNECT ca.nowhere.test:443 HTTP/1.1\r\n"), "{by_issuer}");
    assert!(by_issuer.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{by_issuer}");
}
