//! Which handshakes a connection policy is for.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::TlsError;
use super::placeholder::{expand, server_name};
use crate::config;
use crate::config::schema::ModuleSchema;
use crate::config::subject::matches_wildcard;
use crate::config::tls::HandshakeMatchers;

/// The two ends of a connection, as far as they are IP addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// Our own address.
    pub local: Option<SocketAddr>,
    /// The client's address.
    pub peer: Option<SocketAddr>,
}

/// One matcher; modules of `tls.handshake_match`.
#[derive(Debug)]
pub(super) enum Matcher {
    /// One of these names, in lower case; the leftmost labels may be `*`.
    ServerName(Vec<String>),
    ServerNameRegexp(Regex),
    RemoteIp {
        ranges: Vec<IpNet>,
        not_ranges: Vec<IpNet>,
    },
    LocalIp {
        ranges: Vec<IpNet>,
    },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RegexpJson {
    #[serde(default)]
    #[expect(dead_code, reason = "captures have no use in a handshake")]
    name: String,
    pattern: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct RemoteIpJson {
    ranges: Vec<String>,
    not_ranges: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct LocalIpJson {
    ranges: Vec<String>,
}

/// What can be said of each matcher.
pub(super) const SCHEMAS: &[ModuleSchema] = &[
    ModuleSchema::of::<Vec<String>>(MATCHERS, "sni"),
    ModuleSchema::of::<RegexpJson>(MATCHERS, "sni_regexp"),
    ModuleSchema::of::<RemoteIpJson>(MATCHERS, "remote_ip"),
    ModuleSchema::of::<LocalIpJson>(MATCHERS, "local_ip"),
];

const MATCHERS: &str = "tls.handshake_match";

impl Matcher {
    /// Compiles all matchers of a policy, all of which must match.
    ///
    /// # Errors
    /// [`TlsError`] for an unknown matcher, or a range or pattern that makes no sense.
    pub(super) fn compile(matchers: &HandshakeMatchers) -> Result<Vec<Self>, TlsError> {
        matchers.iter().map(|(name, json)| Self::one(name, json)).collect()
    }

    fn one(name: &str, json: &Value) -> Result<Self, TlsError> {
        let invalid = |problem: String| TlsError::Invalid(format!("handshake matcher {name}: {problem}"));
        Ok(match name {
            "sni" => {
                let names: Vec<String> = decode(name, json)?;
                Self::ServerName(names.iter().map(|name| server_name(&expand(name))).collect())
            }
            "sni_regexp" => {
                let RegexpJson { pattern, .. } = decode(name, json)?;
                Self::ServerNameRegexp(
                    Regex::new(&expand(&pattern)).map_err(|error| invalid(error.to_string()))?,
                )
            }
            "remote_ip" => {
                let RemoteIpJson { ranges, not_ranges } = decode(name, json)?;
                Self::RemoteIp {
                    ranges: parse_ranges(&ranges).map_err(invalid)?,
                    not_ranges: parse_ranges(&not_ranges).map_err(invalid)?,
                }
            }
            "local_ip" => {
                let LocalIpJson { ranges } = decode(name, json)?;
                Self::LocalIp { ranges: parse_ranges(&ranges).map_err(invalid)? }
            }
            _ => {
                return Err(TlsError::unknown_module("tls.handshake_match", name));
            }
        })
    }

    /// Whether a handshake that asks for `server_name` (empty if it names none) matches.
    pub(super) fn matches(&self, server_name: &str, ends: Ends) -> bool {
        match self {
            Self::ServerName(names) => names.iter().any(|name| matches_wildcard(server_name, name)),
            Self::ServerNameRegexp(pattern) => pattern.is_match(server_name),
            Self::RemoteIp { ranges, not_ranges } => ip(ends.peer).is_some_and(|ip| {
                (ranges.is_empty() || within(ip, ranges))
                    && (not_ranges.is_empty() || !within(ip, not_ranges))
            }),
            Self::LocalIp { ranges } => {
                ip(ends.local).is_some_and(|ip| ranges.is_empty() || within(ip, ranges))
            }
        }
    }
}

fn decode<T: serde::de::DeserializeOwned>(name: &str, json: &Value) -> Result<T, TlsError> {
    config::decode(json.clone())
        .map_err(|error| TlsError::Invalid(format!("handshake matcher {name}: {error}")))
}

fn parse_ranges(ranges: &[String]) -> Result<Vec<IpNet>, String> {
    let parse = |range: &String| {
        let range = expand(range);
        if range.contains('/') {
            return range.parse().map_err(|_| format!("invalid CIDR expression: '{range}'"));
        }
        range.parse::<IpAddr>().map(IpNet::from).map_err(|_| format!("invalid IP address: '{range}'"))
    };
    ranges.iter().map(parse).collect()
}

fn ip(end: Option<SocketAddr>) -> Option<IpAddr> {
    end.map(|end| end.ip().to_canonical())
}

fn within(ip: IpAddr, ranges: &[IpNet]) -> bool {
    ranges.iter().any(|range| range.contains(&ip))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(matchers: Value, server_name: &str, ends: Ends) -> bool {
        let Value::Object(matchers) = matchers else { panic!("an object") };
        Matcher::compile(&matchers).unwrap().iter().all(|matcher| matcher.matches(server_name, ends))
    }

    #[test]
    fn server_names() {
        let named = |name| matches(json!({"sni": ["A.test", "*.b.test", ""]}), name, Ends::default());
        assert!(named("a.test") && named("x.b.test") && named(""));
        assert!(!named("b.test") && !named("x.y.b.test"));
        let pattern =
            |name| matches(json!({"sni_regexp": {"pattern": "^[ab]\\.test$"}}), name, Ends::default());
        assert!(pattern("b.test") && !pattern("c.test"));
    }

    #[test]
    fn addresses() {
        let from = |peer: &str| Ends { peer: Some(peer.parse().unwrap()), local: None };
        let remote = json!({"remote_ip": {"ranges": ["10.0.0.0/8", "::1"], "not_ranges": ["10.1.0.0/16"]}});
        assert!(matches(remote.clone(), "", from("10.2.0.1:5")));
        assert!(matches(remote.clone(), "", from("[::ffff:10.2.0.1]:5")));
        assert!(!matches(remote.clone(), "", from("10.1.0.1:5")));
        assert!(!matches(remote, "", Ends::default()));
        let local = |ends| matches(json!({"local_ip": {"ranges": ["127.0.0.1"]}}), "", ends);
        assert!(local(Ends { local: Some("127.0.0.1:443".parse().unwrap()), peer: None }));
        assert!(!local(from("127.0.0.1:443")));
    }

    #[test]
    fn all_must_match_and_unknown_ones_are_refused() {
        let ends = Ends { peer: Some("10.0.0.1:5".parse().unwrap()), local: None };
        let both = json!({"sni": ["a.test"], "remote_ip": {"ranges": ["10.0.0.1"]}});
        assert!(matches(both.clone(), "a.test", ends) && !matches(both, "b.test", ends));
        for bad in [json!({"no": []}), json!({"sni": "a"}), json!({"local_ip": {"ranges": ["a/8"]}})] {
            assert!(Matcher::compile(bad.as_object().unwrap()).is_err(), "{bad}");
        }
    }
}
