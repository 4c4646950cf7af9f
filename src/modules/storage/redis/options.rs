//! What the JSON says, checked: where the server is, and what is done with keys and values.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::servers::{Address, Login};
use super::value::{Compression, Format, Key};
use crate::config::{ModuleJson, Secret, split_host_port};
use crate::tls::{TlsError, Trust, decode_storage, expand, own_client_config};

pub(super) const DEFAULT_HOST: &str = "127.0.0.1";
pub(super) const DEFAULT_PORT: &str = "6379";
pub(super) const DEFAULT_PREFIX: &str = "caddy";
/// A command must be done within this time, unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The JSON form.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Json {
    client_type: String,
    address: Option<Vec<String>>,
    host: Option<Vec<String>>,
    port: Option<Vec<String>>,
    db: Option<Loose>,
    timeout: Option<Loose>,
    username: String,
    password: Secret,
    sentinel_password: Secret,
    master_name: String,
    key_prefix: Option<String>,
    encryption_key: Secret,
    compression: Option<Loose>,
    tls_enabled: bool,
    tls_insecure: bool,
    tls_server_certs_pem: String,
    tls_server_certs_path: String,
    #[serde(rename = "route_by_latency")]
    _route_by_latency: bool,
    #[serde(rename = "route_randomly")]
    _route_randomly: bool,
}

/// Text, or what older configurations have in its place.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Loose {
    Bool(bool),
    Number(i64),
    Text(String),
}

/// A storage that is to be opened.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) kind: Kind,
    /// Of the server, of some of a cluster's, or of sentinels.
    pub(super) addresses: Vec<Address>,
    pub(super) login: Arc<Login>,
    pub(super) format: Format,
    /// What all keys begin with, without slashes around it.
    pub(super) prefix: String,
}

/// What is at the addresses.
#[derive(Debug)]
pub(super) enum Kind {
    One,
    Cluster,
    /// Sentinels, who know the server by a name, and let us in so.
    Failover {
        master_name: String,
        sentinels: Arc<Login>,
    },
}

impl Options {
    /// Reads the options of a module's JSON. It may read a file.
    ///
    /// # Errors
    /// [`TlsError`] for what makes no sense, or can't be had here.
    pub(super) fn read(json: &ModuleJson) -> Result<Self, TlsError> {
        let json: Json = decode_storage(json)?;
        let addresses = json.addresses()?;
        let database = text(json.db.as_ref(), "0");
        let database = database.parse().map_err(|_| invalid(format!("invalid db value: {database}")))?;
        let timeout = text(json.timeout.as_ref(), "0");
        let timeout = timeout.parse().map_err(|_| invalid(format!("invalid timeout value: {timeout}")))?;
        let login = Login {
            username: expand(&json.username).into_owned(),
            password: expand(&json.password).into_owned().into(),
            database,
            timeout: if timeout == 0 { TIMEOUT } else { Duration::from_secs(timeout) },
            tls: if json.tls_enabled { Some(json.tls()?) } else { None },
        };
        Ok(Self {
            kind: json.kind(&addresses, &login)?,
            addresses,
            login: Arc::new(login),
            format: Format { compression: json.compression()?, key: json.key()? },
            prefix: prefix(json.key_prefix.as_deref().unwrap_or(DEFAULT_PREFIX))?,
        })
    }
}

impl Json {
    fn kind(&self, addresses: &[Address], login: &Login) -> Result<Kind, TlsError> {
        match &*self.client_type {
            "failover" => {
                let master_name = expand(&self.master_name).into_owned();
                if master_name.is_empty() {
                    let problem = "'master_name' is required when using 'failover' client type";
                    return Err(invalid(problem.into()));
                }
                let password = expand(&self.sentinel_password).into_owned().into();
                let sentinels = Login { username: String::new(), password, database: 0, ..login.clone() };
                Ok(Kind::Failover { master_name, sentinels: Arc::new(sentinels) })
            }
            // Several servers are a cluster, as for the plugin.
            "cluster" | "simple" | "" if self.client_type == "cluster" || addresses.len() > 1 => {
                if login.database != 0 {
                    return Err(invalid("a cluster has no databases but 0".into()));
                }
                Ok(Kind::Cluster)
            }
            "simple" | "" => Ok(Kind::One),
            other => Err(invalid(format!("unknown client_type '{other}': simple, cluster or failover"))),
        }
    }

    /// Hosts and ports; there is one at least.
    fn addresses(&self) -> Result<Vec<Address>, TlsError> {
        let port_of = |port: &str| port.parse().map_err(|_| invalid(format!("invalid port value: {port}")));
        let said = self.address.as_deref().unwrap_or_default();
        if !said.is_empty() {
            let address = |said: &String| {
                let address = expand(said);
                let (host, port) =
                    split_host_port(&address).map_err(|_| invalid(format!("invalid address: {address}")))?;
                Ok((host.to_owned(), port_of(port)?))
            };
            return said.iter().map(address).collect();
        }
        // Where one list is shorter, its last entry goes on.
        let list = |said: &Option<Vec<String>>, default: &str| -> Vec<String> {
            let or_default = |said: &String| {
                let said = expand(said);
                if said.is_empty() { default.to_owned() } else { said.into_owned() }
            };
            let said: Vec<String> = said.iter().flatten().map(or_default).collect();
            if said.is_empty() { vec![default.to_owned()] } else { said }
        };
        let (hosts, ports) = (list(&self.host, DEFAULT_HOST), list(&self.port, DEFAULT_PORT));
        let count = hosts.len().max(ports.len());
        let nth = |list: &[String], at: usize| list[at.min(list.len() - 1)].clone();
        (0..count).map(|at| Ok((nth(&hosts, at), port_of(&nth(&ports, at))?))).collect()
    }

    fn compression(&self) -> Result<Compression, TlsError> {
        match &*text(self.compression.as_ref(), "") {
            "" | "false" => Ok(Compression::None),
            "flate" | "true" => Ok(Compression::Flate),
            "zlib" => Ok(Compression::Zlib),
            other => Err(invalid(format!(
                "invalid compression value: {other:?} (expected 'flate', 'zlib', or 'false')"
            ))),
        }
    }

    fn key(&self) -> Result<Option<Key>, TlsError> {
        if self.encryption_key.is_empty() {
            return Ok(None);
        }
        let problem =
            || invalid("invalid length for 'encryption_key', must contain at least 32 bytes".into());
        Key::new(&expand(&self.encryption_key)).ok_or_else(problem).map(Some)
    }

    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, TlsError> {
        let (pem, path) = (expand(&self.tls_server_certs_pem), expand(&self.tls_server_certs_path));
        if !pem.is_empty() && !path.is_empty() {
            return Err(invalid(
                "cannot specify tls_server_certs_pem alongside tls_server_certs_path".into(),
            ));
        }
        if self.tls_insecure {
            return own_client_config(Trust::Anybody);
        }
        if !pem.is_empty() {
            return own_client_config(Trust::Pem { text: pem.as_bytes(), origin: "tls_server_certs_pem" });
        }
        if path.is_empty() {
            return own_client_config(Trust::System);
        }
        let read = std::fs::read(&*path);
        let text = read.map_err(|source| TlsError::Read { path: Path::new(&*path).to_owned(), source })?;
        own_client_config(Trust::Pem { text: &text, origin: &path })
    }
}

/// A text with its placeholders replaced; `default` if nothing is left.
fn text(said: Option<&Loose>, default: &str) -> String {
    let text = match said {
        None => String::new(),
        Some(Loose::Bool(value)) => value.to_string(),
        Some(Loose::Number(number)) => number.to_string(),
        Some(Loose::Text(text)) => expand(text).into_owned(),
    };
    if text.is_empty() { default.to_owned() } else { text }
}

fn prefix(said: &str) -> Result<String, TlsError> {
    let expanded = expand(said);
    let prefix = expanded.trim().trim_matches('/');
    match prefix.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some(part) if !prefix.is_empty() => Err(invalid(format!("invalid key_prefix segment: {part:?}"))),
        _ => Ok(prefix.to_owned()),
    }
}

fn invalid(problem: String) -> TlsError {
    TlsError::Invalid(format!("caddy.storage.redis: {problem}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::defaults;
    use super::*;

    fn read(fields: Value) -> Result<Options, String> {
        let mut json = fields;
        json["module"] = "redis".into();
        Options::read(&serde_json::from_value(json).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_is_what_the_caddyfile_says_then() {
        for json in [json!({}), Value::Object(defaults())] {
            let options = read(json).unwrap();
            assert_eq!(options.addresses, [("127.0.0.1".to_owned(), 6379)]);
            assert!(matches!(options.kind, Kind::One));
            assert_eq!((options.login.database, options.login.timeout), (0, TIMEOUT));
            assert_eq!((&*options.prefix, options.format.compression), ("caddy", Compression::None));
            assert!(options.login.tls.is_none() && options.format.key.is_none());
        }
    }

    #[test]
    fn several_servers_are_a_cluster_or_sentinels() {
        let address = |host: &str, port| (host.to_owned(), port);
        let options = read(json!({"address": ["a:1", "b:2"]})).unwrap();
        assert!(matches!(options.kind, Kind::Cluster));
        assert_eq!(options.addresses, [address("a", 1), address("b", 2)]);
        let options = read(json!({"client_type": "cluster", "host": ["a", "b", ""], "port": ["1"]})).unwrap();
        assert_eq!(options.addresses, [address("a", 1), address("b", 1), address("127.0.0.1", 1)]);
        let fields = json!({
            "client_type": "failover", "master_name": "m", "port": ["1", "2"], "username": "me",
            "password": "s3cret", "sentinel_password": "0ther", "db": "3",
        });
        let options = read(fields).unwrap();
        assert_eq!(options.addresses, [address("127.0.0.1", 1), address("127.0.0.1", 2)]);
        let Kind::Failover { master_name, sentinels } = &options.kind else { panic!("{:?}", options.kind) };
        let of_sentinels = (&*sentinels.username, &*sentinels.password, sentinels.database);
        assert_eq!((&**master_name, of_sentinels), ("m", ("", "0ther", 0)));
        assert_eq!((&*options.login.password, options.login.database), ("s3cret", 3));
        let shown = format!("{options:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("0ther"), "{shown}");
    }

    #[test]
    fn older_configurations_have_other_types() {
        let options = read(json!({
            "address": ["[::1]:1234"], "host": ["other"], "db": 3, "timeout": 7, "compression": true,
            "key_prefix": " /a/b/ ", "username": "me", "password": "s3cret",
        }));
        let options = options.unwrap();
        assert_eq!(options.addresses, [("::1".to_owned(), 1234)]);
        assert_eq!((options.login.database, options.login.timeout), (3, Duration::from_secs(7)));
        assert_eq!((&*options.prefix, options.format.compression), ("a/b", Compression::Flate));
        assert!(!format!("{options:?}").contains("s3cret"));
    }

    #[test]
    fn what_makes_no_sense_or_can_not_be_had_is_named() {
        for (json, says) in [
            (json!({"client_type": "clutser"}), "unknown client_type 'clutser'"),
            (json!({"client_type": "failover"}), "'master_name' is required when using 'failover'"),
            (json!({"client_type": "cluster", "db": "1"}), "a cluster has no databases but 0"),
            (json!({"address": ["a:1", "b:1"], "db": 1}), "a cluster has no databases but 0"),
            (json!({"address": ["a"]}), "invalid address: a"),
            (json!({"port": ["x"]}), "invalid port value: x"),
            (json!({"db": "-1"}), "invalid db value: -1"),
            (json!({"timeout": "1s"}), "invalid timeout value: 1s"),
            (json!({"key_prefix": "a//b"}), "invalid key_prefix segment: \"\""),
            (json!({"key_prefix": "../b"}), "invalid key_prefix segment: \"..\""),
            (json!({"encryption_key": "short"}), "must contain at least 32 bytes"),
            (json!({"compression": "gzip"}), "invalid compression value: \"gzip\""),
            (json!({"tls_enabled": true, "tls_server_certs_pem": "x"}), "no CERTIFICATE pem block found"),
            (
                json!({"tls_enabled": true, "tls_server_certs_pem": "x", "tls_server_certs_path": "y"}),
                "cannot specify tls_server_certs_pem alongside tls_server_certs_path",
            ),
            (json!({"tls_enabled": true, "tls_server_certs_path": "/no/such"}), "reading /no/such"),
            (json!({"hots": ["a"]}), "unknown field"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
