//! Caddy's JSON configuration as types. Nothing here behaves: each type only holds what was said.
//!
//! The serde form is Caddy's, field for field (<https://caddyserver.com/docs/json/>), so that
//! `adapt` prints it, JSON files and the admin API enter by it, and both entrances meet in one type.
//! A field that holds nothing is left out when printed; an unknown field is an error.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

mod address;
mod admin;
mod decode;
pub mod dirs;
mod duration;
mod go_json;
mod header_name;
pub mod headers;
pub mod http;
mod idna;
mod integer;
mod ip_ranges;
pub mod logging;
mod module;
mod network_proxy;
pub mod pki;
pub mod rewrite;
pub mod schema;
mod secret;
mod size;
pub mod subject;
pub mod tls;
mod unique;
mod weak_string;

pub use address::{AddressError, NetworkAddress, join_host_port, split_host_port, split_network_address};
pub use admin::{
    Admin, AdminAccess, AdminPermissions, ConfigSettings, Identity, RemoteAdmin, default_admin_listen,
};
pub use decode::{Misfit, decode};
pub use duration::{Duration, DurationError};
pub use go_json::{to_go_json, to_go_json_pretty};
pub use header_name::canonical_header_name;
pub use idna::ascii_host;
pub use integer::{IntegerError, parse_integer};
pub use ip_ranges::PRIVATE_RANGES;
pub use module::{ModuleError, ModuleJson};
pub use network_proxy::{NETWORK_PROXIES, NETWORK_PROXY_TAG, NetworkProxyUrl};
pub use secret::Secret;
pub use size::{SizeError, parse_bytes};
pub use unique::{DEPTH_MAX, parse_json};
pub use weak_string::WeakString;

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The admin endpoint.
    #[serde(skip_serializing_if = "is_default")]
    pub admin: Option<Admin>,
    /// Logs.
    #[serde(skip_serializing_if = "is_default")]
    pub logging: Option<logging::Logging>,
    /// Where certificates and keys are kept; a module of `caddy.storage`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::Storage>")]
    pub storage: Option<ModuleJson>,
    /// What runs.
    #[serde(skip_serializing_if = "is_default")]
    pub apps: Apps,
}

impl Config {
    /// Decodes a configuration from JSON.
    ///
    /// # Errors
    /// [`Misfit`] with the path of what does not fit.
    pub fn from_json(json: Value) -> Result<Self, Misfit> {
        decode::decode(json)
    }
}

/// The apps of a configuration. Those known here are typed; others are kept as they are, and refused
/// when the configuration is provisioned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Apps {
    /// The HTTP servers.
    pub http: Option<http::App>,
    /// Certificate authorities of our own.
    pub pki: Option<pki::Pki>,
    /// Certificates.
    pub tls: Option<tls::App>,
    /// Any other app by its name.
    pub other: BTreeMap<String, Value>,
}

impl Serialize for Apps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeMap};
        // Names in order, as Caddy prints them.
        let mut names: Vec<&str> = self.other.keys().map(String::as_str).collect();
        names.extend(self.http.as_ref().map(|_| "http"));
        names.extend(self.pki.as_ref().map(|_| "pki"));
        names.extend(self.tls.as_ref().map(|_| "tls"));
        names.sort_unstable();
        let mut map = serializer.serialize_map(Some(names.len()))?;
        for name in names {
            match name {
                "http" => map.serialize_entry(name, &self.http)?,
                "pki" => map.serialize_entry(name, &self.pki)?,
                "tls" => map.serialize_entry(name, &self.tls)?,
                _ => {
                    let app = self.other.get(name).ok_or_else(|| S::Error::custom("app vanished"))?;
                    map.serialize_entry(name, app)?;
                }
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Apps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Apps;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of apps")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Apps, A::Error> {
                let mut apps = Apps::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "http" => apps.http = map.next_value()?,
                        "pki" => apps.pki = map.next_value()?,
                        "tls" => apps.tls = map.next_value()?,
                        _ => {
                            apps.other.insert(name, map.next_value()?);
                        }
                    }
                }
                Ok(apps)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Whether a field holds nothing, so that it is left out (Go's `omitempty`).
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Sorts the keys of all objects within, as Go prints maps.
pub(crate) fn sort_keys(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<String, Value> = fields.into_iter().collect();
            Value::Object(
                sorted.into_iter().map(|(key, value)| (key, sort_keys(value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sort_keys).collect()),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_errors_with_their_path() {
        let json = serde_json::json!({"apps": {"http": {"servers": {"srv0": {"listne": []}}}}});
        let error = Config::from_json(json).unwrap_err().to_string();
        let expected = "apps.http.servers.srv0: json: unknown field \"listne\"; did you mean \"listen\"?";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_configuration_comes_back_as_it_went_in() {
        let json = serde_json::json!({
            "admin": {"disabled": true, "config": {"persist": false}},
            "logging": {"logs": {"default": {"level": "DEBUG", "exclude": ["http.log.access.log0"]}}},
            "apps": {
                "events": {"subscriptions": []},
                "http": {
                    "http_port": 8080,
                    "grace_period": 5_000_000_000_i64,
                    "servers": {"srv0": {
                        "listen": [":443"],
                        "routes": [{"match": [{"host": ["a"]}], "handle": [{"handler": "x"}], "terminal": true}],
                        "listen_protocols": [null, ["h1"]],
                    }},
                },
                "tls": {"automation": {"policies": [{"subjects": ["a"], "issuers": [{"module": "internal"}]}]}},
            },
        });
        let config = Config::from_json(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&config).unwrap(), json);
    }
}
