//! `redis`: a Redis server, a cluster of them, or a master that sentinels name, which several gateways may share. Written as for the plugin
//! <https://github.com/pberkel/caddy-storage-redis>, and laid out as by it, so that either finds what
//! the other has left.
//!
//! ```text
//! storage redis {
//! 	host           redis.internal
//! 	password       {env.REDIS_PASSWORD}
//! 	encryption_key {env.REDIS_ENCRYPTION_KEY}
//! }
//! ```

mod options;
mod resp;
mod servers;
mod store;
mod value;

use serde_json::{Map, Value, json};

use crate::adapt::{Cursor, Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::schema::ModuleSchema;
use crate::module::Module;
use crate::tls::StorageType;

pub(super) static MODULE: Module = Module {
    storage: Some(StorageType { id: "redis", open: store::open }),
    submodules: &[SubmoduleSyntax { namespace: "caddy.storage", name: "redis", syntax: SYNTAX, parse }],
    schemas: &[ModuleSchema::of::<options::Json>("caddy.storage", "redis")],
    ..Module::EMPTY
};

const SYNTAX: &str = "redis [cluster|failover] {
	address <host:port>
	host <host>
	port <port>
	db <number>
	timeout <seconds>
	username <name>
	password <password>
	sentinel_password <password>
	master_name <name>
	key_prefix <prefix>
	encryption_key <key>
	compression false|true|flate|zlib
	tls_enabled true|false
	tls_insecure true|false
	tls_server_certs_pem <pem>
	tls_server_certs_path <file>
	route_by_latency true|false
	route_randomly true|false
}";

/// What the JSON says where the Caddyfile says nothing: all of it, as the plugin's does.
fn defaults() -> Map<String, Value> {
    let defaults = json!({
        "client_type": "simple",
        "address": null,
        "host": [options::DEFAULT_HOST],
        "port": [options::DEFAULT_PORT],
        "db": "0",
        "timeout": "",
        "username": "",
        "password": "",
        "sentinel_password": "",
        "master_name": "",
        "key_prefix": options::DEFAULT_PREFIX,
        "encryption_key": "",
        "compression": "",
        "tls_enabled": false,
        "tls_insecure": false,
        "tls_server_certs_pem": "",
        "tls_server_certs_path": "",
        "route_by_latency": false,
        "route_randomly": false,
    });
    match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    }
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut json = defaults();
    cursor.next();
    if cursor.next_arg() {
        match cursor.val() {
            kind @ ("cluster" | "failover") => json["client_type"] = kind.into(),
            _ => return Err(cursor.arg_err()),
        }
    }
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        let word = cursor.val().to_owned();
        if word != "aes_key" && !known().any(|key| key == word) {
            return Err(cursor
                .err(format!("unknown configuration key: {word}"))
                .did_you_mean(&word, known()));
        }
        let mut values = Vec::new();
        if cursor.next_arg() {
            values.push(cursor.val().to_owned());
        } else {
            let nesting = cursor.nesting();
            while cursor.next_block(nesting) {
                values.push(cursor.val().to_owned());
            }
        }
        // The plugin's own spelling, for those who look for it.
        let missing = || cursor.err(format!("no value supplied for configuraton key '{word}'"));
        let first = values.first().cloned().ok_or_else(missing)?;
        let (key, value) = read(cursor, word, first, values)?;
        // The others keep what they have if nothing is said.
        let keeps = !matches!(&*key, "db" | "timeout" | "encryption_key" | "compression");
        if !(keeps && value == "") {
            json[&key] = value;
        }
    }
    Ok(Value::Object(json))
}

/// The words that there are, except for an old one.
fn known() -> impl Iterator<Item = &'static str> {
    let lines = SYNTAX.lines().filter_map(|line| line.strip_prefix('\t'));
    lines.filter_map(|line| line.split_whitespace().next())
}

/// What one line says: the key in JSON, and its value.
fn read(cursor: &Cursor, word: String, first: String, all: Vec<String>) -> Result<(String, Value), Error> {
    let value = match &*word {
        "aes_key" => return Ok(("encryption_key".to_owned(), first.into())),
        "compression" => match (boolean(&first), &*first) {
            (Some(true), _) => "flate".into(),
            (Some(false), _) => "".into(),
            (None, "flate" | "zlib") => first.into(),
            (None, _) => {
                return Err(cursor.err(format!(
                    "invalid value for 'compression': {first} (expected 'true', 'flate', 'zlib', or 'false')"
                )));
            }
        },
        "address" | "host" | "port" => all.into(),
        "tls_enabled" | "tls_insecure" | "route_by_latency" | "route_randomly" => boolean(&first)
            .ok_or_else(|| cursor.err(format!("invalid boolean value for '{word}': {first}")))?
            .into(),
        _ => first.into(),
    };
    Ok((word, value))
}

/// A truth value as Go reads it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
