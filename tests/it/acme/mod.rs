//! Certificates from an authority that speaks ACME: a real one, on loopback.

mod own_server;
mod pebble;
mod proxies;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::dns::{Named, SECRET};
use crate::redis::Redis;
use crate::support::{PATIENCE, careless_client, eventually, free_port, gateway_binary};
use pebble::{MAC_KEY, Pebble, Wish};

/// A running gateway, which ends with the test.
struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    data: PathBuf,
    port: u16,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Gateway {
    /// Starts one that listens for HTTP and TLS at these ports, and keeps what it has in `data`.
    fn start(ports: (u16, u16), data: &Path, options: &str, sites: &str) -> Self {
        let storage = format!("file_system {}", data.display());
        let mut gateway = Self::start_with(ports, &storage, options, sites);
        data.clone_into(&mut gateway.data);
        gateway
    }

    /// The same with another storage.
    fn start_with(ports: (u16, u16), storage: &str, options: &str, sites: &str) -> Self {
        let (http_port, port) = ports;
        let folder = tempfile::tempdir().unwrap();
        let caddyfile = format!(
            "{{\n\tadmin off\n\thttp_port {http_port}\n\thttps_port {port}\n\t\
             storage {storage}\n\t{options}\n}}\n{sites}\n"
        );
        fs::write(folder.path().join("Caddyfile"), caddyfile).unwrap();
        let child = Command::new(gateway_binary())
            .args(["run", "--config", "Caddyfile"])
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .stdin(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let gateway = Self { child, folder, data: PathBuf::new(), port };
        eventually("the port opens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        gateway
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The certificate that a handshake for a name shows.
    fn certificate(&self, client: &Arc<ClientConfig>, name: &str) -> io::Result<CertificateDer<'static>> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(client.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, &mut socket);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut first = [0; 8];
        stream.read_exact(&mut first)?;
        let chain = stream.conn.peer_certificates().unwrap_or_default();
        chain.first().cloned().map(CertificateDer::into_owned).ok_or(io::ErrorKind::NotFound.into())
    }

    /// Waits until a name has a certificate.
    fn wait_for(&self, name: &str) -> CertificateDer<'static> {
        let client = careless_client();
        let begin = Instant::now();
        loop {
            match self.certificate(&client, name) {
                Ok(certificate) => return certificate,
                Err(error) => assert!(begin.elapsed() < PATIENCE, "{name}: {error}\n{}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stored(&self, pebble: &Pebble, name: &str, ending: &str) -> PathBuf {
        self.data.join(format!("certificates/{}/{name}/{name}.{ending}", pebble.name()))
    }
}

fn ports() -> (u16, u16) {
    (free_port(), free_port())
}

#[test]
fn a_name_gets_its_certificate_and_keeps_it() {
    let ports = ports();
    let Some(pebble) = Pebble::start(&Wish::at(ports.0, ports.1)) else { return };
    let data = tempfile::tempdir().unwrap();
    let options = format!("{}\n\temail Me@example.test", pebble.options());
    let sites = "a.acme.test, b.acme.test {\n\trespond hi\n}";
    let gateway = Gateway::start(ports, data.path(), &options, sites);
    let first = gateway.wait_for("a.acme.test");
    gateway.wait_for("b.acme.test");
    for ending in ["crt", "key", "json"] {
        let path = gateway.stored(&pebble, "a.acme.test", ending);
        eventually("it is stored", || path.is_file().then_some(()));
    }
    let json = fs::read(gateway.stored(&pebble, "a.acme.test", "json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["sans"], serde_json::json!(["a.acme.test"]));
    assert!(json["issuer_data"]["url"].as_str().unwrap().starts_with("https://localhost:"), "{json}");
    let account = data.path().join(format!("acme/{}/users/me@example.test/me.json", pebble.name()));
    let account: serde_json::Value = serde_json::from_slice(&fs::read(account).unwrap()).unwrap();
    assert_eq!(account["contact"], serde_json::json!(["mailto:me@example.test"]));
    drop(gateway);

    // Another start finds it, and asks for nothing.
    let issued = pebble.issued();
    let gateway = Gateway::start(ports, data.path(), &options, sites);
    assert_eq!(gateway.certificate(&careless_client(), "a.acme.test").unwrap(), first);
    assert_eq!(pebble.issued(), issued);
    // What was shown is shown no more, and nobody holds a lock.
    let left = |folder: &str| fs::read_dir(data.path().join(folder)).map_or(0, Iterator::count);
    assert_eq!((left("locks"), left(&format!("acme/{}/challenge_tokens", pebble.name()))), (0, 0));
}

#[test]
fn the_certificate_of_a_challenge_is_shown_in_a_handshake() {
    let ports = ports();
    let Some(pebble) = Pebble::start(&Wish::at(free_port(), ports.1)) else { return };
    let data = tempfile::tempdir().unwrap();
    let issuer = "tls {\n\t\tissuer acme {\n\t\t\tdisable_http_challenge\n\t\t}\n\t}";
    let site = format!("alpn.acme.test {{\n\t{issuer}\n\trespond hi\n}}");
    let gateway = Gateway::start(ports, data.path(), &pebble.options(), &site);
    gateway.wait_for("alpn.acme.test");
    assert!(gateway.log().contains("\"name\":\"alpn.acme.test\""), "{}", gateway.log());
    assert!(!gateway.log().contains("http-01"), "{}", gateway.log());
}

#[test]
fn one_way_fails_and_the_other_is_taken() {
    let ports = ports();
    // Nobody can reach the port for HTTP: it is another one that the authority looks at.
    let Some(pebble) = Pebble::start(&Wish::at(free_port(), ports.1)) else { return };
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(ports, data.path(), &pebble.options(), "other.acme.test {\n\trespond hi\n}");
    gateway.wait_for("other.acme.test");
    assert!(gateway.log().contains("trying another challenge"), "{}", gateway.log());
}

#[test]
fn a_port_where_nobody_listens_is_opened_for_the_challenge() {
    let ports = ports();
    let Some(pebble) = Pebble::start(&Wish::at(ports.0, ports.1)) else { return };
    let data = tempfile::tempdir().unwrap();
    let options = format!("{}\n\tauto_https disable_redirects", pebble.options());
    let issuer = "tls {\n\t\tissuer acme {\n\t\t\tdisable_tlsalpn_challenge\n\t\t}\n\t}";
    let site = format!("closed.acme.test {{\n\t{issuer}\n\trespond hi\n}}");
    let gateway = Gateway::start(ports, data.path(), &options, &site);
    gateway.wait_for("closed.acme.test");
    eventually("the port is closed again", || TcpListener::bind((Ipv4Addr::LOCALHOST, ports.0)).ok());
}

#[test]
fn an_authority_that_likes_few_nonces() {
    let ports = ports();
    let wish = Wish { bad_nonces: 20, ..Wish::at(ports.0, ports.1) };
    let Some(pebble) = Pebble::start(&wish) else { return };
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(ports, data.path(), &pebble.options(), "nonce.acme.test {\n\trespond hi\n}");
    gateway.wait_for("nonce.acme.test");
    assert!(pebble.log().contains("reject 20% of good nonces"), "{}", pebble.log());
}

#[test]
fn an_account_known_by_other_means() {
    let ports = ports();
    let wish = Wish { external_accounts: true, ..Wish::at(ports.0, ports.1) };
    let Some(pebble) = Pebble::start(&wish) else { return };
    let data = tempfile::tempdir().unwrap();
    let options =
        format!("{}\n\tacme_eab {{\n\t\tkey_id kid-1\n\t\tmac_key {MAC_KEY}\n\t}}", pebble.options());
    let gateway = Gateway::start(ports, data.path(), &options, "eab.acme.test {\n\trespond hi\n}");
    gateway.wait_for("eab.acme.test");
    assert!(!gateway.log().contains(MAC_KEY));
}

#[test]
fn an_account_that_the_authority_has_forgotten_is_made_anew() {
    let ports = ports();
    let Some(pebble) = Pebble::start(&Wish::at(ports.0, ports.1)) else { return };
    let data = tempfile::tempdir().unwrap();
    // As Caddy leaves it, with a key as Go writes it.
    let folder = data.path().join(format!("acme/{}/users/default", pebble.name()));
    fs::create_dir_all(&folder).unwrap();
    let location = format!("{}/my-account/1", pebble.address());
    let account = serde_json::json!({"status": "valid", "termsOfServiceAgreed": true, "location": location});
    fs::write(folder.join("default.json"), account.to_string()).unwrap();
    let key = "-----BEGIN EC PRIVATE KEY-----\n\
         MHcCAQEEIAOAWRF4A6pHVKbtAObormLfAAS0LzcLnTplXTXVvh6BoAoGCCqGSM49\n\
         AwEHoUQDQgAEOjkG6L7sKAi5MtLHh3Mu9DCkTpcSNTdNpP8sYGl7hZpr5dKXxEYz\n\
         w4CDX3v4skxZ3ybENm14aj2Ax+wFpMj7VA==\n-----END EC PRIVATE KEY-----\n";
    fs::write(folder.join("default.key"), key).unwrap();
    let gateway = Gateway::start(ports, data.path(), &pebble.options(), "lost.acme.test {\n\trespond hi\n}");
    gateway.wait_for("lost.acme.test");
    assert!(gateway.log().contains("attempting to recreate"), "{}", gateway.log());
    assert_ne!(fs::read_to_string(folder.join("default.key")).unwrap(), key);
}

#[test]
fn instances_that_share_a_storage_answer_for_each_other() {
    // The authority meets the second one, whichever has asked.
    let (first_ports, second_ports) = (ports(), ports());
    let Some(pebble) = Pebble::start(&Wish::at(second_ports.0, second_ports.1)) else { return };
    let data = tempfile::tempdir().unwrap();
    let site = "shared.acme.test {\n\trespond hi\n}";
    let options = pebble.options();
    // The second one knows the authority, but has no site of that name.
    let second =
        Gateway::start(second_ports, data.path(), &options, "localhost {\n\ttls {\n\t\tissuer acme\n\t}\n}");
    let first = Gateway::start(first_ports, data.path(), &options, site);
    first.wait_for("shared.acme.test");
    assert!(second.log().contains("\"distributed\":true"), "{}", second.log());
}

#[test]
fn a_fleet_that_shares_a_redis_asks_once() {
    let all = [ports(), ports(), ports()];
    let Some(pebble) = Pebble::start(&Wish::at(all[0].0, all[0].1)) else { return };
    let Some(redis) = Redis::start(&[]) else { return };
    let storage = format!("redis {{\n\t\thost 127.0.0.1\n\t\tport {}\n\t}}", redis.port);
    let site = "fleet.acme.test {\n\trespond hi\n}";
    let start = |ports| Gateway::start_with(ports, &storage, &pebble.options(), site);
    let fleet = all.map(start);
    let [first, second, third] = fleet.each_ref().map(|gateway| gateway.wait_for("fleet.acme.test"));
    let logs = || fleet.each_ref().map(|gateway| gateway.log()).join("\n");
    assert!(first == second && second == third, "{}", logs());
    assert_eq!(pebble.issued(), 1);
}

#[test]
fn a_wildcard_is_shown_to_be_ours_by_its_zone() {
    let ports = ports();
    let Some(zone) = Named::start() else { return };
    let wish = Wish { name_server: Some(zone.address()), ..Wish::at(free_port(), free_port()) };
    let Some(pebble) = Pebble::start(&wish) else { return };
    let data = tempfile::tempdir().unwrap();
    let provider = format!(
        "rfc2136 {{\n\t\t\tserver {}\n\t\t\tkey_name hmac-sha256.key\n\t\t\tkey_alg hmac-sha256\n\t\t\tkey {SECRET}\n\t\t}}",
        zone.address()
    );
    let tls = format!("tls {{\n\t\tdns {provider}\n\t\tresolvers {}\n\t}}", zone.address());
    let site = format!("*.w.a.test {{\n\t{tls}\n\trespond hi\n}}");
    let gateway = Gateway::start(ports, data.path(), &pebble.options(), &site);
    gateway.wait_for("any.w.a.test");
    assert!(zone.texts("_acme-challenge.w.a.test").is_empty(), "the record is gone");
    assert!(gateway.stored(&pebble, "wildcard_.w.a.test", "crt").is_file());
    assert!(!gateway.log().contains(SECRET));
}

#[test]
fn certificates_are_renewed_and_no_handshake_fails() {
    let ports = ports();
    let wish = Wish { validity: 24, ..Wish::at(ports.0, ports.1) };
    let Some(pebble) = Pebble::start(&wish) else { return };
    let data = tempfile::tempdir().unwrap();
    let options = format!("{}\n\trenew_interval 1s", pebble.options());
    let gateway = Gateway::start(ports, data.path(), &options, "renewed.acme.test {\n\trespond hi\n}");
    let client = careless_client();
    let mut last = gateway.wait_for("renewed.acme.test");
    let (mut renewals, begin) = (0, Instant::now());
    while renewals < 2 {
        assert!(begin.elapsed() < PATIENCE * 2, "{}", gateway.log());
        let now = gateway.certificate(&client, "renewed.acme.test").expect("a handshake");
        if now != last {
            (last, renewals) = (now, renewals + 1);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_name_that_is_not_ours_is_told_and_holds_nobody_up() {
    let ports = ports();
    let Some(pebble) = Pebble::start(&Wish::at(ports.0, ports.1)) else { return };
    pebble.lose("bad.acme.test");
    let data = tempfile::tempdir().unwrap();
    let sites = "bad.acme.test, good.acme.test {\n\trespond hi\n}";
    let gateway = Gateway::start(ports, data.path(), &pebble.options(), sites);
    gateway.wait_for("good.acme.test");
    let log = eventually("it is told", || Some(gateway.log()).filter(|log| log.contains("will retry")));
    let line = log.lines().find(|line| line.contains("will retry")).unwrap();
    assert!(line.contains("bad.acme.test") && line.contains("\"retrying_in\":\"60s\""), "{line}");
    assert!(gateway.certificate(&careless_client(), "bad.acme.test").is_err());
    pebble.find_again("bad.acme.test");
}

/// Says yes to names that begin with `ok`, and notes what it is asked.
fn doorkeeper() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let noted = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 2048];
            let length = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let name =
                head.split("domain=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            noted.lock().unwrap().push(name.to_owned());
            let status = if name.starts_with("ok") { "200 OK" } else { "403 Forbidden" };
            _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (port, asked)
}

#[test]
fn names_on_demand_are_ordered_once_and_only_if_allowed() {
    let ports = ports();
    let Some(pebble) = Pebble::start(&Wish::at(ports.0, ports.1)) else { return };
    let (door, asked) = doorkeeper();
    let data = tempfile::tempdir().unwrap();
    let options =
        format!("{}\n\ton_demand_tls {{\n\t\task http://127.0.0.1:{door}/ask?x=1\n\t}}", pebble.options());
    let site = "https:// {\n\ttls {\n\t\ton_demand\n\t}\n\trespond hi\n}";
    let gateway = Gateway::start(ports, data.path(), &options, site);
    let client = careless_client();
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for asker in 0..24 {
            let (gateway, client, failed) = (&gateway, &client, &failed);
            scope.spawn(move || {
                let name = format!("ok-{}.demand.test", asker % 6);
                if gateway.certificate(client, &name).is_err() {
                    failed.store(true, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(!failed.load(Ordering::Relaxed), "{}", gateway.log());
    assert_eq!(pebble.issued(), 6, "{}", gateway.log());
    assert_eq!(asked.lock().unwrap().iter().filter(|name| name.starts_with("ok-")).count(), 6);
    assert!(gateway.certificate(&client, "stranger.demand.test").is_err());
    assert!(asked.lock().unwrap().iter().any(|name| name == "stranger.demand.test"));
    assert_eq!(pebble.issued(), 6);
}
