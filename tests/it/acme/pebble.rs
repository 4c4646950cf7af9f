//! Pebble, a certificate authority for tests, with the name server that belongs to it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{eventually, free_port, program_of_ci};

/// An authority with a name server that says 127.0.0.1 to everything.
pub struct Pebble {
    children: Vec<Child>,
    pub folder: tempfile::TempDir,
    port: u16,
    name_server_control: u16,
}

/// How the authority is to be.
pub struct Wish {
    /// Where it looks for `http-01`.
    pub http_port: u16,
    /// Where it looks for `tls-alpn-01`.
    pub tls_port: u16,
    /// How long certificates are valid, in seconds.
    pub validity: u64,
    /// Of so many messages in a hundred it does not like the nonce.
    pub bad_nonces: u8,
    /// The name server that it asks; one of its own unless given.
    pub name_server: Option<String>,
    /// Whether it wants an account to be known by other means: the key id `kid-1`.
    pub external_accounts: bool,
}

impl Wish {
    /// One that looks at these ports.
    pub fn at(http_port: u16, tls_port: u16) -> Self {
        Self {
            http_port,
            tls_port,
            validity: 90 * 24 * 3600,
            bad_nonces: 5,
            name_server: None,
            external_accounts: false,
        }
    }
}

/// The MAC key of `kid-1`, base64url.
pub const MAC_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

impl Pebble {
    /// Starts one. `None` where it isn't installed; on CI it has to be.
    pub fn start(wish: &Wish) -> Option<Self> {
        let program = program_of_ci("pebble")?;
        let folder = tempfile::tempdir().unwrap();
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.path().join("ca.pem"), pair.cert.pem()).unwrap();
        fs::write(folder.path().join("ca.key"), pair.signing_key.serialize_pem()).unwrap();
        let (port, management) = (free_port(), free_port());
        let (name_server, name_server_control) = (free_port(), free_port());
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": folder.path().join("ca.pem"),
            "privateKey": folder.path().join("ca.key"),
            "httpPort": wish.http_port,
            "tlsPort": wish.tls_port,
            "externalAccountBindingRequired": wish.external_accounts,
            "externalAccountMACKeys": {"kid-1": MAC_KEY},
            "certificateValidityPeriod": wish.validity,
        }});
        fs::write(folder.path().join("pebble.json"), config.to_string()).unwrap();
        let output = |name: &str| File::create(folder.path().join(name)).unwrap();
        let names = Command::new("pebble-challtestsrv")
            .args(["-management", &format!("127.0.0.1:{name_server_control}")])
            .args(["-dns01", &format!("127.0.0.1:{name_server}")])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""])
            .stdout(output("names.log"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let asked = wish.name_server.clone().unwrap_or(format!("127.0.0.1:{name_server}"));
        let authority = Command::new(program)
            .args(["-config", "pebble.json", "-dnsserver", &asked])
            .current_dir(folder.path())
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", wish.bad_nonces.to_string())
            .stdout(output("pebble.log"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pebble = Self { children: vec![names, authority], folder, port, name_server_control };
        for port in [port, name_server_control] {
            eventually("the authority listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        }
        Some(pebble)
    }

    /// The global options of a Caddyfile by which its certificates are got from here.
    pub fn options(&self) -> String {
        format!("acme_ca https://localhost:{}/dir\n\tacme_ca_root {}", self.port, self.root().display())
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Whom to trust when speaking with it.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What it is called in the storage.
    pub fn name(&self) -> String {
        format!("localhost-{}-dir", self.port)
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("pebble.log")).unwrap_or_default()
    }

    /// How many certificates it has issued.
    pub fn issued(&self) -> usize {
        self.log().matches("Issued certificate serial").count()
    }

    /// Lets the name server fail for a name from now on.
    pub fn lose(&self, name: &str) {
        self.control("/set-servfail", &json!({"host": format!("{name}.")}));
    }

    /// Lets the name server know it again.
    pub fn find_again(&self, name: &str) {
        self.control("/clear-servfail", &json!({"host": format!("{name}.")}));
    }

    fn control(&self, path: &str, what: &Value) {
        use std::io::{Read as _, Write as _};
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.name_server_control)).unwrap();
        let body = what.to_string();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
