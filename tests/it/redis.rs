//! `storage redis` against a real server; its client looks at what is there, and puts there what the
//! plugin would.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tollgate::config::ModuleJson;
use tollgate::tls::{SharedStorage, TlsError, open_storage};

use crate::support::{eventually, free_port, gateway_binary, program_of_ci};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A Redis server that ends with the test.
pub struct Redis {
    child: Child,
    pub port: u16,
    folder: tempfile::TempDir,
    options: Vec<String>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Redis {
    /// Nothing where there is none.
    pub fn start(options: &[&str]) -> Option<Redis> {
        Self::start_in(tempfile::tempdir().unwrap(), options)
    }

    fn start_in(folder: tempfile::TempDir, options: &[&str]) -> Option<Redis> {
        let port = free_port();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let child = spawn(folder.path(), port, &options)?;
        let redis = Redis { child, port, folder, options };
        redis.wait();
        Some(redis)
    }

    fn wait(&self) {
        eventually("Redis listens", || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok());
    }

    fn stop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }

    fn restart(&mut self) {
        self.stop();
        self.child = spawn(self.folder.path(), self.port, &self.options).unwrap();
        self.wait();
    }

    fn try_open(&self, mut fields: Value) -> Result<SharedStorage, TlsError> {
        fields["module"] = "redis".into();
        fields["address"] = json!([format!("127.0.0.1:{}", self.port)]);
        open(fields)
    }

    fn open(&self, fields: Value) -> SharedStorage {
        self.try_open(fields).unwrap()
    }

    /// What Redis's own client shows of a command.
    fn client(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(command).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

fn spawn(folder: &Path, port: u16, options: &[String]) -> Option<Child> {
    let child = Command::new(program_of_ci("redis-server")?)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(options)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Some(child.unwrap())
}

pub fn open(fields: Value) -> Result<SharedStorage, TlsError> {
    let json: ModuleJson = serde_json::from_value(fields).unwrap();
    open_storage(&json, &tollgate::modules::registry().tls.storages)
}

#[test]
fn redis_has_values_and_folders_as_the_plugin_has_them() {
    let Some(redis) = Redis::start(&[]) else { return };
    let storage = redis.open(json!({}));
    let (cert, key) = ("certificates/le/a.test/a.test.crt", "certificates/le/a.test/a.test.key");
    assert_eq!(storage.load_if_there(cert).unwrap(), None);
    assert_eq!(storage.modified(cert).unwrap(), None);
    storage.store(cert, b"one").unwrap();
    storage.store(cert, b"two").unwrap();
    storage.store(key, b"secret").unwrap();
    assert_eq!(storage.load(cert).unwrap(), b"two");
    let age = SystemTime::now().duration_since(storage.modified(cert).unwrap().unwrap()).unwrap();
    assert!(age < Duration::from_secs(60), "{age:?}");
    assert_eq!(redis.client(&["ZRANGE", "caddy", "0", "-1"]), "certificates/");
    assert_eq!(redis.client(&["ZRANGE", "caddy/certificates", "0", "-1"]), "le/");
    assert_eq!(
        redis.client(&["ZRANGE", "caddy/certificates/le/a.test", "0", "-1"]),
        "a.test.crt\na.test.key"
    );
    let stored: Value = serde_json::from_str(&redis.client(&["GET", &format!("caddy/{key}")])).unwrap();
    assert_eq!(stored["value"], "c2VjcmV0");
    assert_eq!(
        (&stored["size"], &stored["compression"], &stored["encryption"]),
        (&json!(6), &json!(0), &json!(0))
    );

    // What another has left.
    let by_caddy = r#"{"value":"aGVsbG8=","modified":"2026-01-02T05:04:05.6781+02:00","size":5,"compression":0,"encryption":0}"#;
    redis.client(&["SET", "caddy/acme/le/users/x.json", by_caddy]);
    redis.client(&["ZADD", "caddy/acme/le/users", "1", "x.json"]);
    redis.client(&["ZADD", "caddy/acme/le", "1", "users/"]);
    redis.client(&["ZADD", "caddy/acme", "1", "le/"]);
    redis.client(&["ZADD", "caddy", "1", "acme/"]);
    assert_eq!(storage.load("acme/le/users/x.json").unwrap(), b"hello");
    assert_eq!(storage.keys("").unwrap(), ["acme/le/users/x.json", cert, key]);
    assert_eq!(storage.keys("certificates/le").unwrap(), [cert, key]);
    assert!(storage.keys("none").unwrap().is_empty() && storage.keys(cert).unwrap().is_empty());
    // A folder is no value.
    assert_eq!(storage.load_if_there("certificates").unwrap(), None);

    storage.delete(cert).unwrap();
    assert_eq!(redis.client(&["ZRANGE", "caddy/certificates/le/a.test", "0", "-1"]), "a.test.key");
    storage.delete("certificates").unwrap();
    assert_eq!(redis.client(&["KEYS", "caddy/certificates*"]), "");
    assert_eq!(redis.client(&["ZRANGE", "caddy", "0", "-1"]), "acme/");
    storage.delete("certificates").unwrap();
    storage.delete("acme/le/users/x.json").unwrap();
    assert_eq!(redis.client(&["KEYS", "*"]), "");
    assert!(storage.delete("").is_err());
    // Where there is no prefix, either.
    let bare = redis.open(json!({ "key_prefix": "/" }));
    bare.store("a/b", b"x").unwrap();
    assert_eq!(redis.client(&["ZRANGE", "a", "0", "-1"]), "b");
    assert_eq!(bare.keys("a").unwrap(), ["a/b"]);
}

#[test]
fn redis_values_may_be_compressed_and_encrypted() {
    let Some(redis) = Redis::start(&[]) else { return };
    let plain = redis.open(json!({}));
    let long = b"a certificate ".repeat(100);
    plain.store("plain", &long).unwrap();
    for compression in ["flate", "zlib"] {
        let sealed = redis.open(json!({ "compression": compression, "encryption_key": SECRET }));
        sealed.store(compression, &long).unwrap();
        assert_eq!(sealed.load(compression).unwrap(), long);
        assert_eq!(sealed.load("plain").unwrap(), long);
        let error = plain.load(compression).unwrap_err().to_string();
        assert!(error.ends_with("it is encrypted, and there is no encryption_key"), "{error}");
        assert!(redis.client(&["GET", &format!("caddy/{compression}")]).len() < long.len());
    }
}

#[test]
fn redis_locks_belong_to_one_until_they_expire() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (one, two) = (redis.open(json!({})), redis.open(json!({})));
    let mut lock = one.try_lock("issue_cert_a.test").unwrap().unwrap();
    assert!(one.try_lock("issue_cert_a.test").unwrap().is_none());
    assert!(two.try_lock("issue_cert_a.test").unwrap().is_none());
    assert!(two.try_lock("issue_cert_b.test").unwrap().is_some());
    let path = "caddy/locks/issue_cert_a.test";
    let left: u32 = redis.client(&["PTTL", path]).parse().unwrap();
    assert!((1..=15_000).contains(&left), "{left}");
    redis.client(&["PEXPIRE", path, "9000"]);
    lock.refresh().unwrap();
    assert!(redis.client(&["PTTL", path]).parse::<u32>().unwrap() > 9000);
    drop(lock);
    // Locks are no values.
    assert!(one.keys("").unwrap().is_empty());

    // It expires, and another takes it; then it is neither ours to keep nor to give back.
    let mut lost = one.try_lock("issue_cert_a.test").unwrap().unwrap();
    redis.client(&["DEL", path]);
    let other = two.try_lock("issue_cert_a.test").unwrap().unwrap();
    let error = lost.refresh().unwrap_err().to_string();
    assert_eq!(error, format!("storage: {path}: the lock is lost"));
    drop(lost);
    assert!(one.try_lock("issue_cert_a.test").unwrap().is_none());
    drop(other);
    // One of Caddy's is respected.
    redis.client(&["SET", path, "0123456789abcdef", "PX", "60000"]);
    assert!(one.try_lock("issue_cert_a.test").unwrap().is_none());
}

#[test]
fn redis_lets_in_who_has_the_password() {
    let user = ["--user", "gate", "on", ">s3cret", "~*", "+@all"];
    let Some(redis) = Redis::start(&[&["--requirepass", "s3cret"][..], &user].concat()) else { return };
    for fields in [json!({"password": "s3cret"}), json!({"username": "gate", "password": "s3cret", "db": 3})]
    {
        redis.open(fields.clone()).store("a", fields.to_string().as_bytes()).unwrap();
    }
    let client = |command: &[&str]| redis.client(&[&["--no-auth-warning", "-a", "s3cret"], command].concat());
    assert_eq!(client(&["EXISTS", "caddy/a"]), "1");
    assert_eq!(client(&["-n", "3", "EXISTS", "caddy/a"]), "1");
    let error = |fields: Value| redis.try_open(fields).unwrap_err().to_string();
    assert!(error(json!({})).contains("NOAUTH"));
    for fields in [json!({"password": "wr0ng"}), json!({"username": "nobody", "password": "wr0ng"})] {
        let error = error(fields);
        assert!(error.ends_with("says: WRONGPASS to AUTH") && !error.contains("wr0ng"), "{error}");
    }
    let error = error(json!({"password": "s3cret", "db": 99}));
    assert!(error.ends_with("says: ERR to SELECT"), "{error}");
}

#[test]
fn redis_may_be_spoken_to_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let tls_port = free_port();
    let options = [
        "--tls-port",
        &tls_port.to_string(),
        "--tls-cert-file",
        cert.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
        "--tls-auth-clients",
        "no",
    ];
    let Some(_redis) = Redis::start_in(folder, &options) else { return };
    let try_open = |host: &str, mut fields: Value| {
        fields["module"] = "redis".into();
        fields["address"] = json!([format!("{host}:{tls_port}")]);
        fields["tls_enabled"] = true.into();
        open(fields)
    };
    let by_path = try_open("localhost", json!({ "tls_server_certs_path": cert })).unwrap();
    let large = vec![b'x'; 1_000_000];
    by_path.store("a", &large).unwrap();
    let by_text = try_open("localhost", json!({ "tls_server_certs_pem": pair.cert.pem() })).unwrap();
    assert_eq!(by_text.load("a").unwrap(), large);
    assert_eq!(try_open("127.0.0.1", json!({ "tls_insecure": true })).unwrap().load("a").unwrap(), large);
    for (host, fields) in [("localhost", json!({})), ("127.0.0.1", json!({ "tls_server_certs_path": cert }))]
    {
        let error = try_open(host, fields).unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }
}

#[test]
fn redis_may_go_and_come_back() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let storage = redis.open(json!({ "timeout": "2" }));
    storage.store("a", b"one").unwrap();
    // The connection that was kept is of no use then.
    redis.restart();
    storage.store("a", b"two").unwrap();
    assert_eq!(storage.load("a").unwrap(), b"two");
    redis.stop();
    let error = storage.load("a").unwrap_err().to_string();
    assert!(error.starts_with(&format!("storage: a: Redis at 127.0.0.1:{}: ", redis.port)), "{error}");
    // One that is silent is not waited for.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let error = open(json!({ "module": "redis", "address": [address], "timeout": "1" })).unwrap_err();
    assert!(error.to_string().ends_with("no answer in time"), "{error}");
}

#[test]
fn redis_keeps_what_a_gateway_stores() {
    let Some(redis) = Redis::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let caddyfile = format!(
        "{{\n\tadmin off\n\tskip_install_trust\n\tstorage redis {{\n\t\thost 127.0.0.1\n\t\tport {}\n\t}}\n\thttp_port {}\n\t\
         https_port {}\n}}\n\nlocalhost {{\n\trespond hello\n}}\n",
        redis.port,
        free_port(),
        free_port()
    );
    std::fs::write(folder.path().join("Caddyfile"), caddyfile).unwrap();
    let mut child = Command::new(gateway_binary())
        .arg("run")
        .current_dir(folder.path())
        .env("XDG_DATA_HOME", folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the authority is in Redis", || {
        let keys = redis.client(&["ZRANGE", "caddy/pki/authorities/local", "0", "-1"]);
        (keys.contains("root.crt") && keys.contains("intermediate.key")).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path().join("caddy/pki").exists());
}
