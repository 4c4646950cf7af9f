//! What `remote_ip` and `client_ip` share: ranges of addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{decode, no_block};
use crate::adapt::{Cursor, Error};
use crate::config::PRIVATE_RANGES;
use crate::http::{ProvisionError, Template, Unknown};

/// Reads addresses, CIDR ranges and `private_ranges`. `no_longer` is a word that is refused with
/// a reason.
pub(super) fn parse(
    cursor: &mut Cursor,
    name: &str,
    no_longer: Option<(&str, &str)>,
) -> Result<Value, Error> {
    let mut ranges = Vec::new();
    while cursor.next() {
        while cursor.next_arg() {
            match (cursor.val(), no_longer) {
                ("private_ranges", _) => ranges.extend(PRIVATE_RANGES.map(str::to_owned)),
                (word, Some((refused, reason))) if word == refused => return Err(cursor.err(reason)),
                (range, _) => ranges.push(range.to_owned()),
            }
        }
        no_block(cursor, name)?;
    }
    Ok(if ranges.is_empty() { json!({}) } else { json!({ "ranges": ranges }) })
}

/// Ranges of addresses, compiled.
pub(super) struct IpRanges(Box<[IpNet]>);

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RangesJson {
    ranges: Vec<String>,
}

impl IpRanges {
    /// Compiles a matcher's JSON.
    pub(super) fn provision(name: &str, json: &Value) -> Result<Self, ProvisionError> {
        let said: RangesJson = decode(name, json)?;
        let mut ranges = Vec::with_capacity(said.ranges.len());
        for range in &said.ranges {
            // What the environment says is looked up now; a request has no say in this.
            let range = Template::compile(range, Unknown::Empty).constant().unwrap_or_default().into_owned();
            let range = String::from_utf8_lossy(&range).into_owned();
            // The zone of a link-local address is the listener's, of which a request knows only a number.
            if range.contains('%') {
                return Err(ProvisionError::invalid(format!("'{range}': zones are not supported")));
            }
            ranges.push(parse_range(&range)?);
        }
        Ok(Self(ranges.into()))
    }

    /// Whether the address is in one of the ranges.
    pub(super) fn contains(&self, ip: Option<IpAddr>) -> bool {
        let Some(ip) = ip.map(|ip| ip.to_canonical()) else { return false };
        self.0.iter().any(|range| range.contains(&ip))
    }
}

fn parse_range(text: &str) -> Result<IpNet, ProvisionError> {
    if text.contains('/') {
        text.parse()
            .map_err(|error| ProvisionError::invalid(format!("parsing CIDR expression '{text}': {error}")))
    } else {
        text.parse::<IpAddr>()
            .map(IpNet::from)
            .map_err(|error| ProvisionError::invalid(format!("invalid IP address: '{text}': {error}")))
    }
}
