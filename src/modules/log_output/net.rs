//! `output net`: entries sent to a socket.
//!
//! ```caddyfile
//! {
//! 	log {
//! 		output net udp/127.0.0.1:5140 {
//! 			dial_timeout 2s
//! 			soft_start
//! 		}
//! 	}
//! }
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::logging::WRITER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{Duration, ModuleJson, NetworkAddress, is_default};
use crate::log::{Destination, LogError, NetOptions, NetOutput, WriterType, global};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_writers: &[WriterType { id: NAME, provision }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: NAME,
        syntax: "net <address> {\n\tdial_timeout <duration>\n\tsoft_start\n}",
        parse,
    }],
    schemas: &[ModuleSchema::of::<NetWriter>("caddy.logging.writers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "net";
/// The networks that entries can be sent by.
const NETWORKS: [&str; 8] = ["tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "unixgram"];

/// The JSON form (<https://caddyserver.com/docs/json/logging/logs/writer/net/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct NetWriter {
    /// The network address, with placeholders.
    #[serde(skip_serializing_if = "is_default")]
    address: String,
    /// How long connecting may take.
    #[serde(skip_serializing_if = "is_default")]
    dial_timeout: Duration,
    /// Whether it is no error if nobody is there yet.
    #[serde(skip_serializing_if = "is_default")]
    soft_start: bool,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let [address] = cursor.last_args()?;
    let mut writer = NetWriter { address, ..NetWriter::default() };
    while cursor.next_block(0) {
        match cursor.val() {
            "dial_timeout" => {
                let [timeout] = cursor.last_args()?;
                let invalid = |_| cursor.err(format!("invalid duration: {timeout}"));
                writer.dial_timeout = timeout.parse().map_err(invalid)?;
            }
            "soft_start" => {
                let [] = cursor.last_args()?;
                writer.soft_start = true;
            }
            other => return Err(cursor.err(format!("unrecognized subdirective '{other}'"))),
        }
    }
    Ok(json!(writer))
}

fn provision(json: &ModuleJson) -> Result<Option<Destination>, LogError> {
    let writer: NetWriter = json.decode(WRITER_TAG)?;
    let text = global::expand(&writer.address)?;
    let address = NetworkAddress::parse_with_defaults(&text, "tcp", 0)
        .map_err(|error| LogError::invalid(format!("parsing network address '{text}': {error}")))?;
    if !address.is_unix() && address.port_count() != 1 {
        return Err(LogError::invalid("multiple ports not supported"));
    }
    let network = address.network.as_str();
    if !NETWORKS.contains(&network) {
        return Err(LogError::invalid(format!("logs can't be sent by network '{network}'")));
    }
    if writer.dial_timeout < Duration::ZERO {
        return Err(LogError::invalid("timeout cannot be less than 0"));
    }
    let name = address.to_string();
    let options =
        NetOptions { address, dial_timeout: writer.dial_timeout.positive(), soft_start: writer.soft_start };
    Ok(Some(Destination {
        key: format!("net:{name}:{}", json!(writer)),
        name,
        standard_stream: false,
        open: Box::new(|| Ok(Box::new(NetOutput::open(options)?))),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provisioned(json: Value) -> Result<String, String> {
        let destination = provision(&serde_json::from_value(json).unwrap());
        destination.map(|destination| destination.unwrap().name).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses() {
        let net = |address: &str| provisioned(json!({"output": "net", "address": address}));
        assert_eq!(net("udp/localhost:514").as_deref(), Ok("udp/localhost:514"));
        assert_eq!(net("localhost:514").as_deref(), Ok("localhost:514"));
        assert_eq!(net("localhost:1-2").unwrap_err(), "multiple ports not supported");
        assert!(net("unixpacket//tmp/socket").unwrap_err().contains("unixpacket"));
        assert!(net("tcp/{env.SURELY_NOT_SET_ANYWHERE}:1").is_err());
    }
}
