//! `rfc2136`: a name server that takes signed updates, such as BIND, Knot or PowerDNS. Written as for
//! the plugin <https://github.com/caddy-dns/rfc2136>.
//!
//! ```text
//! dns rfc2136 {
//! 	key_name acme.example.com
//! 	key_alg  hmac-sha256
//! 	key      {env.ACME_KEY}
//! 	server   192.0.2.53:53
//! }
//! ```

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::acme::dns01::{self, Changed, DnsProvider, DnsProviderType, NAMESPACE, Record};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, Secret, is_default};
use crate::dns::{Change, TsigKey, Updater};
use crate::fetch::Client;
use crate::module::Module;
use crate::tls::{TlsError, expand};

pub(super) static MODULE: Module = Module {
    dns_provider: Some(DnsProviderType { id: NAME, provision }),
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: NAME, syntax: SYNTAX, parse }],
    schemas: &[ModuleSchema::of::<Json>("dns.providers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "rfc2136";
const SYNTAX: &str = "rfc2136 {
	key_name <name>
	key_alg <algorithm>
	key <base64>
	server <address>
}";

/// The JSON form.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Json {
    #[serde(skip_serializing_if = "is_default")]
    key_name: String,
    #[serde(skip_serializing_if = "is_default")]
    key_alg: String,
    #[serde(skip_serializing_if = "is_default")]
    key: Secret,
    #[serde(skip_serializing_if = "is_default")]
    server: String,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut json = Json::default();
    cursor.next();
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        match cursor.val() {
            "key_name" => [json.key_name] = cursor.all_args()?,
            "key_alg" => [json.key_alg] = cursor.all_args()?,
            "key" => {
                let [key] = cursor.all_args()?;
                json.key = key.into();
            }
            "server" => [json.server] = cursor.all_args()?,
            word => {
                let message = format!("unrecognized subdirective '{word}'");
                return Err(cursor.err(message).did_you_mean(word, ["key_name", "key_alg", "key", "server"]));
            }
        }
    }
    let fields = [
        ("key", &*json.key),
        ("key_name", &*json.key_name),
        ("key_alg", &json.key_alg),
        ("server", &json.server),
    ];
    match fields.into_iter().find(|(_, value)| value.is_empty()) {
        Some((field, _)) => Err(cursor.err(format!("rfc2136: missing {field}"))),
        None => Ok(json!(json)),
    }
}

fn provision(json: &ModuleJson, _: &Client) -> Result<Arc<dyn DnsProvider>, TlsError> {
    let Json { key_name, key_alg, key, server } = dns01::decode(json)?;
    let key = TsigKey::new(&expand(&key_name), &expand(&key_alg), &expand(&key))
        .map_err(|error| TlsError::Invalid(error.to_string()))?;
    if server.is_empty() {
        return Err(TlsError::Invalid("no server".into()));
    }
    let updater = Updater::new(&expand(&server), key).map_err(TlsError::Invalid)?;
    Ok(Arc::new(Rfc2136 { updater }))
}

#[derive(Debug)]
struct Rfc2136 {
    updater: Updater,
}

impl DnsProvider for Rfc2136 {
    fn append<'a>(&'a self, zone: &'a str, record: &'a Record) -> Changed<'a> {
        let ttl = u32::try_from(record.ttl.as_secs()).unwrap_or(u32::MAX);
        Box::pin(async move {
            Ok(self.updater.change(zone, &Change::Add(&record.name, &record.data, ttl)).await?)
        })
    }

    fn delete<'a>(&'a self, zone: &'a str, record: &'a Record) -> Changed<'a> {
        Box::pin(
            async move { Ok(self.updater.change(zone, &Change::Remove(&record.name, &record.data)).await?) },
        )
    }
}
