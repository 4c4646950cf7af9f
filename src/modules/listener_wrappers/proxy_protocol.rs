//! `proxy_protocol`: a load balancer in front says by the PROXY protocol who the client is.

use serde::Serialize;
use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::{Duration, is_default};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "proxy_protocol",
        syntax: "proxy_protocol {
	timeout <duration>
	allow <ranges...>
	deny <ranges...>
	fallback_policy ignore|use|reject|require|skip
}",
        parse,
    }],
    ..Module::EMPTY
};

/// What may happen to those who are neither allowed nor denied. The first is what happens if nothing is said.
const POLICIES: [&str; 5] = ["IGNORE", "USE", "REJECT", "REQUIRE", "SKIP"];

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/listener_wrappers/proxy_protocol/>).
#[derive(Default, Serialize)]
struct ProxyProtocol {
    #[serde(skip_serializing_if = "is_default")]
    timeout: Duration,
    #[serde(skip_serializing_if = "is_default")]
    allow: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    deny: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    fallback_policy: Option<&'static str>,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut wrapper = ProxyProtocol::default();
    cursor.next();
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "timeout" => {
                let [text] = cursor.args()?;
                wrapper.timeout = text.parse().map_err(|error| {
                    cursor.err(format!("parsing proxy_protocol timeout duration: {error}"))
                })?;
            }
            "allow" => wrapper.allow.extend(cursor.remaining_args()),
            "deny" => wrapper.deny.extend(cursor.remaining_args()),
            "fallback_policy" => {
                let [text] = cursor.args()?;
                let upper = text.to_uppercase();
                let Some(at) = POLICIES.iter().position(|policy| *policy == upper) else {
                    let message = format!("{text} is invalid policy");
                    return Err(cursor.err(message).did_you_mean(&text, POLICIES));
                };
                wrapper.fallback_policy = (at > 0).then_some(POLICIES[at]);
            }
            _ => return Err(cursor.arg_err()),
        }
    }
    Ok(json!(wrapper))
}
