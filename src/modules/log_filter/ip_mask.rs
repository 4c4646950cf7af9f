//! `ip_mask`: addresses cut to the network that they are in.
//!
//! ```caddyfile
//! :8080 {
//! 	log {
//! 		format filter {
//! 			request>remote_ip ip_mask 16 32
//! 		}
//! 	}
//! 	respond "Hello"
//! }
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{NAMESPACE, change_texts};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::logging::FILTER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{is_default, join_host_port, split_host_port};
use crate::log::{self, FieldFilter, FilterType, Visitor};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_filters: &[FilterType {
        id: NAME,
        provision: |json| Ok(Box::new(json.decode::<IpMask>(FILTER_TAG)?)),
    }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: NAME,
        syntax: "<field> ip_mask [<ipv4> [<ipv6>]] {\n\tipv4 <cidr>\n\tipv6 <cidr>\n}",
        parse,
    }],
    schemas: &[ModuleSchema::of::<IpMask>("caddy.logging.encoders.filter", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "ip_mask";

/// The JSON form (<https://caddyserver.com/docs/json/logging/logs/encoder/filter/fields/ip_mask/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct IpMask {
    /// How many bits of an IPv4 address are kept. Without it, nothing of one is.
    #[serde(skip_serializing_if = "is_default")]
    ipv4_cidr: i64,
    /// How many bits of an IPv6 address are kept.
    #[serde(skip_serializing_if = "is_default")]
    ipv6_cidr: i64,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let args = cursor.remaining_args();
    if args.len() > 2 {
        return Err(cursor.err("too many arguments"));
    }
    let number = |text: &str| {
        let invalid = |_| format!("error parsing {text}: strconv.Atoi: parsing {text:?}: invalid syntax");
        text.parse::<i64>().map_err(invalid)
    };
    let mut mask = IpMask::default();
    for (arg, part) in args.iter().zip([&mut mask.ipv4_cidr, &mut mask.ipv6_cidr]) {
        *part = number(arg).map_err(|problem| cursor.err(problem))?;
    }
    while cursor.next_block(0) {
        let part = match cursor.val() {
            "ipv4" => &mut mask.ipv4_cidr,
            "ipv6" => &mut mask.ipv6_cidr,
            other => return Err(cursor.err(format!("unrecognized subdirective {other}"))),
        };
        let [arg] = cursor.args()?;
        *part = number(&arg).map_err(|problem| cursor.err(problem))?;
    }
    Ok(json!(mask))
}

impl FieldFilter for IpMask {
    fn filter(&self, key: &str, value: log::Value<'_>, next: &mut dyn Visitor) {
        change_texts(key, value, next, |text| self.change(&String::from_utf8_lossy(text)).into_bytes());
    }
}

impl IpMask {
    /// A list of addresses, with or without ports. What is no address stays.
    fn change(&self, list: &str) -> String {
        let changed: Vec<String> = list.split(',').map(|item| self.change_one(item.trim())).collect();
        changed.join(", ")
    }

    fn change_one(&self, item: &str) -> String {
        let (host, port) = split_host_port(item).unwrap_or((item, ""));
        let Ok(address) = host.parse::<IpAddr>() else { return item.to_owned() };
        let masked = match address.to_canonical() {
            IpAddr::V4(address) => bits(self.ipv4_cidr, 32)
                .map(|kept| Ipv4Addr::from_bits(address.to_bits() & high_bits(kept, 32) as u32).to_string()),
            IpAddr::V6(address) => bits(self.ipv6_cidr, 128)
                .map(|kept| Ipv6Addr::from_bits(address.to_bits() & high_bits(kept, 128)).to_string()),
        };
        // What Go prints for no address at all.
        let masked = masked.unwrap_or_else(|| "<nil>".to_owned());
        if port.is_empty() { masked } else { join_host_port(&masked, port) }
    }
}

/// How many bits are kept; `None` if that was not said, or makes no sense.
fn bits(said: i64, all: u32) -> Option<u32> {
    u32::try_from(said).ok().filter(|bits| (1..=all).contains(bits))
}

/// The highest `kept` of `all` bits.
fn high_bits(kept: u32, all: u32) -> u128 {
    let shifted = u128::MAX.checked_shl(all - kept).unwrap_or(0);
    if all == 128 { shifted } else { shifted & ((1 << all) - 1) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::filtered;
    use super::*;

    #[test]
    fn addresses_are_masked() {
        let json = json!({"filter": "ip_mask", "ipv4_cidr": 16, "ipv6_cidr": 32});
        let mask = |text: &str| filtered(&MODULE, json.clone(), log::Value::text(text))["f"].take();
        for (text, want) in [
            ("127.0.0.1", "127.0.0.0"),
            (
                "10.1.2.3, [2001:db8:1:2::1]:80, 2001:db8:1:2::1,foo",
                "10.1.0.0, [2001:db8::]:80, 2001:db8::, foo",
            ),
            ("10.1.2.3:80", "10.1.0.0:80"),
            ("::ffff:10.1.2.3", "10.1.0.0"),
            ("", ""),
        ] {
            assert_eq!(mask(text), json!(want), "{text}");
        }
    }

    #[test]
    fn all_bits_and_none() {
        let mask = IpMask { ipv4_cidr: 32, ipv6_cidr: 128 };
        assert_eq!(mask.change("1.2.3.4, 2001:db8::1"), "1.2.3.4, 2001:db8::1");
        assert_eq!(IpMask::default().change("1.2.3.4, ::1"), "<nil>, <nil>");
        assert_eq!(IpMask { ipv4_cidr: 33, ipv6_cidr: 1 }.change("1.2.3.4, ::1"), "<nil>, ::");
    }
}
