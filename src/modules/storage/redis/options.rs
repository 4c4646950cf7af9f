//! What the JSON says, checked: where the server is, and what is done with keys and values.

use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::connection::Server;
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
    #[serde(rename = "sentinel_password")]
    _sentinel_password: Secret,
    #[serde(rename = "master_name")]
    _master_name: String,
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
    pub(super) server: Server,
    pub(super) format: Format,
    /// What all keys begin with, without slashes around it.
    pub(super) prefix: String,
}

impl Options {
    /// Reads the options of a module's JSON. It may read a file.
    ///
    /// # Errors
    /// [`TlsError`] for what makes no sense, or can't be had here.
    pub(super) fn read(json: &ModuleJson) -> Result<Self, TlsError> {
        let json: Json = decode_storage(json)?;
        if !matches!(&*json.client_type, "" | "simple") {
            return Err(invalid(format!(
                "client_type '{}' can't be had yet: only one server",
                json.client_type
            )));
        }
        let (host, port) = json.address()?;
        let database = text(json.db.as_ref(), "0");
        let database = database.parse().map_err(|_| invalid(format!("invalid db value: {database}")))?;
        let timeout = text(json.timeout.as_ref(), "0");
        let timeout = timeout.parse().map_err(|_| invalid(format!("invalid timeout value: {timeout}")))?;
        Ok(Self {
            server: Server {
                host,
                port,
                username: expand(&json.username).into_owned(),
                password: expand(&json.password).into_owned().into(),
                database,
                timeout: if timeout == 0 { TIMEOUT } else { Duration::from_secs(timeout) },
                tls: if json.tls_enabled { Some(json.tls()?) } else { None },
            },
            format: Format { compression: json.compression()?, key: json.key()? },
            prefix: prefix(json.key_prefix.as_deref().unwrap_or(DEFAULT_PREFIX))?,
        })
    }
}

impl Json {
    /// The only server's host and port.
    fn address(&self) -> Result<(String, u16), TlsError> {
        let several = || invalid("several servers can't be had yet: only one".into());
        let port_of = |port: &str| port.parse().map_err(|_| invalid(format!("invalid port value: {port}")));
        if let [first, rest @ ..] = self.address.as_deref().unwrap_or_default() {
            let address = expand(first);
            if !rest.is_empty() {
                return Err(several());
            }
            let (host, port) =
                split_host_port(&address).map_err(|_| invalid(format!("invalid address: {address}")))?;
            return Ok((host.to_owned(), port_of(port)?));
        }
        let only = |said: &Option<Vec<String>>, default: &str| match said.as_deref().unwrap_or_default() {
            [] => Ok(default.to_owned()),
            [one] if expand(one).is_empty() => Ok(default.to_owned()),
            [one] => Ok(expand(one).into_owned()),
            _ => Err(several()),
        };
        Ok((only(&self.host, DEFAULT_HOST)?, port_of(&only(&self.port, DEFAULT_PORT)?)?))
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

    fn tls(&self) -> Result<std::sync::Arc<rustls::ClientConfig>, TlsError> {
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
            assert_eq!((&*options.server.host, options.server.port), ("127.0.0.1", 6379));
            assert_eq!((options.server.database, options.server.timeout), (0, TIMEOUT));
            assert_eq!((&*options.prefix, options.format.compression), ("caddy", Compression::None));
            assert!(options.server.tls.is_none() && options.format.key.is_none());
        }
    }

    #[test]
    fn older_configurations_have_other_types() {
        let options = read(json!({
            "address": ["[::1]:1234"], "host": ["other"], "db": 3, "timeout": 7, "compression": true,
            "key_prefix": " /a/b/ ", "username": "me", "password": "s3cret",
        }));
        let options = options.unwrap();
        assert_eq!((&*options.server.host, options.server.port), ("::1", 1234));
        assert_eq!((options.server.database, options.server.timeout), (3, Duration::from_secs(7)));
        assert_eq!((&*options.prefix, options.format.compression), ("a/b", Compression::Flate));
        assert!(!format!("{options:?}").contains("s3cret"));
    }

    #[test]
    fn what_makes_no_sense_or_can_not_be_had_is_named() {
        for (json, says) in [
            (json!({"client_type": "cluster"}), "client_type 'cluster' can't be had yet"),
            (
                json!({"client_type": "failover", "master_name": "m"}),
                "client_type 'failover' can't be had yet",
            ),
            (json!({"address": ["a:1", "b:1"]}), "several servers can't be had yet"),
            (json!({"host": ["a", "b"]}), "several servers can't be had yet"),
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
