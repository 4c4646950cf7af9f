//! TLS over real sockets: certificates, handshakes, redirects, reloads.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{PATIENCE, eventually, free_port, gateway_binary, get};

/// A running gateway in a directory of its own, which ends with the test.
pub(crate) struct Gateway {
    child: Child,
    directory: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) http_port: u16,
    admin: u16,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Gateway {
    /// Starts it with a Caddyfile in which `{PORT}` stands for a port of its own, and waits until that
    /// is open. `files` are written beside it.
    pub(crate) fn start(caddyfile: &str, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            fs::write(directory.path().join(name), text).expect("write");
        }
        let (port, http_port, admin) = (free_port(), free_port(), free_port());
        let caddyfile = filled(caddyfile, port, http_port);
        fs::write(directory.path().join("Caddyfile"), caddyfile).expect("write");
        let child = command(&directory, admin)
            .args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"])
            .stderr(fs::File::create(directory.path().join("log")).expect("a log"))
            .spawn()
            .expect("it starts");
        let gateway = Self { child, directory, port, http_port, admin };
        eventually("the port opens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        gateway
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A client that trusts the gateway's own authority.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let root = self.path("caddy/pki/authorities/local/root.crt");
        client(&CertificateDer::from_pem_file(root).expect("a root"), None)
    }

    pub(crate) fn reload(&self, caddyfile: &str) -> Output {
        fs::write(self.path("Caddyfile"), filled(caddyfile, self.port, self.http_port)).expect("write");
        let mut reload = command(&self.directory, self.admin);
        reload.args(["reload", "--force", "--config", "Caddyfile", "--adapter", "caddyfile"]);
        reload.output().expect("it runs")
    }

    /// Shakes hands under `name`, asks for `/` of `host`, and reads the answer.
    pub(crate) fn ask(&self, client: &Arc<ClientConfig>, name: &str, host: &str) -> io::Result<Answer> {
        self.ask_behind(client, name, host, ["", ""])
    }

    /// The same behind these headers of the PROXY protocol, before TLS and in it.
    fn ask_behind(
        &self,
        client: &Arc<ClientConfig>,
        name: &str,
        host: &str,
        headers: [&str; 2],
    ) -> io::Result<Answer> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(headers[0].as_bytes())?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connection = ClientConnection::new(client.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        write!(stream, "{}GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", headers[1])?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let leaf = stream.conn.peer_certificates().expect("a certificate")[0].clone().into_owned();
        Ok(Answer { status, text, leaf })
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    leaf: CertificateDer<'static>,
}

fn command(directory: &tempfile::TempDir, admin: u16) -> Command {
    let mut command = Command::new(gateway_binary());
    command
        .current_dir(directory)
        .env("HOME", directory.path())
        .env("XDG_DATA_HOME", directory.path())
        .env("XDG_CONFIG_HOME", directory.path())
        .env("CADDY_ADMIN", format!("127.0.0.1:{admin}"))
        .env("TS_SOCKET", directory.path().join("tailscale.sock"))
        .stdin(Stdio::null());
    command
}

fn filled(caddyfile: &str, port: u16, http_port: u16) -> String {
    caddyfile.replace("{PORT}", &port.to_string()).replace("{HTTP_PORT}", &http_port.to_string())
}

/// A client that trusts `root`, and shows a certificate if it has one.
pub(crate) fn client(root: &CertificateDer<'static>, own: Option<&(String, String)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(chain, key).expect("a pair")
        }
    })
}

/// A certificate for these names that nobody else has signed, and its key.
pub(crate) fn pair(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let params = rcgen::CertificateParams::new(names).expect("names");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

pub(crate) fn trusting(certificate: &str) -> Arc<ClientConfig> {
    client(&CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate"), None)
}

pub(crate) const INTERNAL: &str = "{
	skip_install_trust
	http_port {HTTP_PORT}
}
https://localhost:{PORT}, https://*.wild.test:{PORT}, https://127.0.0.1:{PORT} {
	bind 127.0.0.1
	tls internal
	respond \"hello {host}\"
}
";

#[test]
fn certificates_of_our_own_are_there_before_the_port_opens() {
    let gateway = Gateway::start(INTERNAL, &[]);
    // The very first handshakes, without another try.
    for name in ["localhost", "a.wild.test", "127.0.0.1"] {
        let answer = gateway.ask(&gateway.client(), name, name).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.text.ends_with(&format!("hello {name}")), "{}", answer.text);
    }
    let error = gateway.ask(&gateway.client(), "other.test", "other.test").err().expect("no certificate");
    assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
    assert!(gateway.path("caddy/certificates/local/wildcard_.wild.test/wildcard_.wild.test.key").is_file());
}

/// A site that tells who its client is, behind these listener wrappers.
fn wrapped(wrappers: &str) -> Gateway {
    let caddyfile = format!(
        "{{\n\tskip_install_trust\n\thttp_port {{HTTP_PORT}}\n\tservers {{\n\t\tlistener_wrappers {{\n{wrappers}\n\t\t}}\n\
         \t}}\n}}\nhttps://localhost:{{PORT}} {{\n\tbind 127.0.0.1\n\ttls internal\n\trespond {{remote_host}}\n}}\n"
    );
    Gateway::start(&caddyfile, &[])
}

const PROXY: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";

#[test]
fn a_proxy_header_is_read_before_tls_or_in_it_as_the_wrappers_stand() {
    for (wrappers, headers, others) in [
        ("proxy_protocol {\nallow 127.0.0.1/32\n}\ntls", [PROXY, ""], ["", PROXY]),
        ("tls\nproxy_protocol {\nallow 127.0.0.1/32\n}", ["", PROXY], [PROXY, ""]),
        ("proxy_protocol {\nallow 127.0.0.1/32\n}", ["", PROXY], [PROXY, ""]),
    ] {
        let gateway = wrapped(wrappers);
        let ask = |headers| gateway.ask_behind(&gateway.client(), "localhost", "localhost", headers);
        let answer = ask(headers).unwrap();
        assert!(answer.text.ends_with("192.0.2.7"), "{wrappers}: {}", answer.text);
        let answer = ask(["", ""]).unwrap();
        assert!(answer.text.ends_with("127.0.0.1"), "{wrappers}: {}", answer.text);
        // In the other place it is neither TLS nor HTTP.
        assert!(ask(others).map_or(true, |answer| answer.status == 400), "{wrappers}");
    }
}

#[test]
fn plain_http_on_a_port_for_tls_is_redirected_if_asked_for() {
    let gateway = wrapped("http_redirect\ntls");
    let answer = get(gateway.port, "/a?b", &[]).unwrap();
    assert_eq!(answer.status, 308, "{}", answer.text);
    let location = format!("Location: https://localhost:{}/a?b\r\n", gateway.port);
    assert!(answer.text.contains(&location), "{}", answer.text);
    let answer = gateway.ask(&gateway.client(), "localhost", "localhost").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[test]
fn certificates_outlast_a_restart_and_a_reload() {
    let gateway = Gateway::start(INTERNAL, &[]);
    let leaf = |gateway: &Gateway| gateway.ask(&gateway.client(), "localhost", "localhost").unwrap().leaf;
    let first = leaf(&gateway);
    let reload = gateway.reload(INTERNAL);
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    assert!(leaf(&gateway) == first);
}

#[test]
fn certificates_got_on_demand_are_at_hand_after_a_reload() {
    let caddyfile = "{\n\tskip_install_trust\n\thttp_port {HTTP_PORT}\n}\n\
        https://:{PORT} {\n\ttls internal {\n\t\ton_demand\n\t}\n\trespond hello\n}\n";
    let gateway = Gateway::start(caddyfile, &[]);
    let leaf = || gateway.ask(&gateway.client(), "od.test", "od.test").unwrap().leaf;
    let first = leaf();
    // What is not in the storage can only have come from before.
    let stored = gateway.path("caddy/certificates/local/od.test");
    fs::remove_dir_all(&stored).unwrap();
    let reload = |caddyfile: &str| {
        let reload = gateway.reload(caddyfile);
        assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    };
    reload(&caddyfile.replace("respond hello", "respond bye"));
    assert!(leaf() == first && !stored.exists());
    // Another policy gets its own.
    reload(&caddyfile.replace("\t\ton_demand\n", "\t\ton_demand\n\t\tkey_type p384\n"));
    assert!(leaf() != first && stored.exists());
}

#[test]
fn certificates_are_renewed_while_running() {
    let caddyfile =
        INTERNAL.replace("tls internal", "tls {\n\t\tissuer internal {\n\t\t\tlifetime 6s\n\t\t}\n\t}");
    let gateway = Gateway::start(&caddyfile, &[]);
    // A new client each time: one that resumes a session sees no certificate anew.
    let leaf = || gateway.ask(&gateway.client(), "localhost", "localhost").unwrap().leaf;
    let begin = Instant::now();
    let first = leaf();
    let renewed = eventually("a renewed certificate", || {
        // All along, whatever is served is valid.
        let leaf = leaf();
        (leaf != first).then(|| begin.elapsed())
    });
    assert!(renewed > Duration::from_secs(2), "{renewed:?}");
}

pub(crate) const GIVEN: &str = "{
	skip_install_trust
	auto_https off
}
https://a.test:{PORT} {
	bind 127.0.0.1
	tls a.crt a.key
	respond \"site a\"
}
https://b.test:{PORT} {
	bind 127.0.0.1
	tls b.crt b.key {
		client_auth {
			trust_pool file client.crt
		}
	}
	respond \"site b\"
}
";

#[test]
fn given_certificates_go_by_name_and_client_certificates_count() {
    let (a, b, own) = (pair(&["a.test"]), pair(&["b.test"]), pair(&["client.test"]));
    let files =
        [("a.crt", a.0.as_str()), ("a.key", &a.1), ("b.crt", &b.0), ("b.key", &b.1), ("client.crt", &own.0)];
    let gateway = Gateway::start(GIVEN, &files);
    assert!(gateway.ask(&trusting(&a.0), "a.test", "a.test").unwrap().text.ends_with("site a"));
    assert!(gateway.ask(&trusting(&b.0), "b.test", "b.test").is_err(), "without a client certificate");
    let root = CertificateDer::from_pem_slice(b.0.as_bytes()).unwrap();
    let known = client(&root, Some(&own));
    assert!(gateway.ask(&known, "b.test", "b.test").unwrap().text.ends_with("site b"));
    assert!(gateway.ask(&client(&root, Some(&a)), "b.test", "b.test").is_err(), "with a stranger's");
    // Who shook hands for one site gets no other: else the certificate could be left out.
    assert_eq!(gateway.ask(&trusting(&a.0), "a.test", "b.test").unwrap().status, 421);
    assert!(gateway.ask(&trusting(&a.0), "c.test", "a.test").is_err(), "an unknown name");
    let plain = get(gateway.port, "/", &[]).unwrap();
    assert_eq!(plain.status, 400);
    assert!(plain.text.ends_with("Client sent an HTTP request to an HTTPS server.\n"), "{}", plain.text);
}

#[test]
fn a_reload_takes_new_certificates_and_refuses_broken_ones() {
    let (a, b, own) = (pair(&["a.test"]), pair(&["b.test"]), pair(&["client.test"]));
    let files =
        [("a.crt", a.0.as_str()), ("a.key", &a.1), ("b.crt", &b.0), ("b.key", &b.1), ("client.crt", &own.0)];
    let gateway = Gateway::start(GIVEN, &files);
    let next = pair(&["a.test"]);
    fs::write(gateway.path("a.crt"), &next.0).unwrap();
    let refused = gateway.reload(GIVEN);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("a.crt: does not belong to the key a.key"), "{said}");
    assert_eq!(gateway.ask(&trusting(&a.0), "a.test", "a.test").unwrap().status, 200);
    fs::write(gateway.path("a.key"), &next.1).unwrap();
    let taken = gateway.reload(GIVEN);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    assert_eq!(gateway.ask(&trusting(&next.0), "a.test", "a.test").unwrap().status, 200);
}

#[test]
fn http_is_redirected_to_https() {
    let gateway = Gateway::start(INTERNAL, &[]);
    let location = |host: &str| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.http_port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /x?y=%20z HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut text = String::new();
        // The connection ends by itself.
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 308 "), "{text}");
        let location = text.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("location").then(|| value.to_owned())
        });
        location.expect("a location")
    };
    let port = gateway.port;
    assert_eq!(location("localhost"), format!("https://localhost:{port}/x?y=%20z"));
    assert_eq!(location("a.wild.test:80"), format!("https://a.wild.test:{port}/x?y=%20z"));
    assert_eq!(location("unknown.test"), "https://unknown.test/x?y=%20z");
}

#[test]
fn names_of_tailscale_come_from_its_client() {
    let gateway = Gateway::start(
        "{\n\thttp_port {HTTP_PORT}\n\thttps_port {PORT}\n}\nx.tail.ts.net {\n\trespond hello\n}\n",
        &[],
    );
    let made = rcgen::generate_simple_self_signed(vec!["x.tail.ts.net".to_owned()]).expect("a certificate");
    let client = client(made.cert.der(), None);
    assert!(gateway.ask(&client, "x.tail.ts.net", "x.tail.ts.net").is_err(), "nobody is there to be asked");
    let pair = format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem());
    let listener = UnixListener::bind(gateway.path("tailscale.sock")).expect("a socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 1024];
            let length = stream.read(&mut head).expect("a question");
            let status = r#"{"CertDomains":["x.tail.ts.net"]}"#;
            let body = if head[..length].starts_with(b"GET /localapi/v0/status?peers=false ") {
                status
            } else {
                &pair
            };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).expect("it is read");
        }
    });
    let answer = gateway.ask(&client, "x.tail.ts.net", "x.tail.ts.net").expect("a handshake");
    assert!(answer.text.ends_with("hello"), "{}", answer.text);
}
