//! Whose word counts for a client's address (`trusted_proxies`, `client_ip_headers`).

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Exchange, ProvisionError};
use crate::config;
use crate::config::schema::ModuleSchema;

/// The tag under which an IP source's name stands.
const SOURCE_TAG: &str = "source";

/// A server's trusted proxies.
pub(super) struct TrustedProxies {
    ranges: Option<Vec<IpNet>>,
    unix: bool,
    strict: bool,
    headers: Vec<HeaderName>,
}

/// The JSON form of `http.ip_sources.static`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StaticRanges {
    #[serde(default)]
    ranges: Vec<String>,
}

/// What can be said of each source of addresses.
pub(super) const SCHEMAS: &[ModuleSchema] = &[ModuleSchema::of::<StaticRanges>("http.ip_sources", "static")];

impl TrustedProxies {
    /// What a server says of them; `None` if it trusts nobody, which costs nothing.
    pub(super) fn provision(config: &config::http::Server) -> Result<Option<Self>, ProvisionError> {
        if config.trusted_proxies.is_none() && !config.trusted_proxies_unix {
            return Ok(None);
        }
        let ranges = config.trusted_proxies.as_ref().map(ranges).transpose()?;
        let headers = match &*config.client_ip_headers {
            [] => vec![HeaderName::from_static("x-forwarded-for")],
            names => names.iter().map(|name| header_name(name)).collect::<Result<_, _>>()?,
        };
        let strict = config.trusted_proxies_strict > 0;
        Ok(Some(Self { ranges, unix: config.trusted_proxies_unix, strict, headers }))
    }

    /// Settles whether a request's client is a trusted proxy, and what the real client's address is.
    pub(super) fn judge(&self, x: &mut Exchange) {
        x.trusted_proxy = match x.client_ip {
            Some(peer) => self.trusts(peer),
            None => self.unix,
        };
        if !x.trusted_proxy {
            return;
        }
        let said = if self.strict { self.rightmost_untrusted(&x.headers) } else { self.leftmost(&x.headers) };
        if said.is_some() {
            x.client_ip = said;
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.ranges.iter().flatten().any(|range| range.contains(&address))
    }

    /// The first address of all header fields together.
    fn leftmost(&self, headers: &HeaderMap) -> Option<IpAddr> {
        self.headers.iter().flat_map(|name| addresses(headers, name)).next()
    }

    /// Of the first header field that has one, the last address that no trusted proxy has.
    fn rightmost_untrusted(&self, headers: &HeaderMap) -> Option<IpAddr> {
        self.headers.iter().find_map(|name| {
            let all: Vec<IpAddr> = addresses(headers, name).collect();
            all.into_iter().rev().find(|address| !self.trusts(*address))
        })
    }
}

fn ranges(source: &config::ModuleJson) -> Result<Vec<IpNet>, ProvisionError> {
    let name = source.name(SOURCE_TAG)?;
    if name != "static" {
        return Err(ProvisionError::Unknown { namespace: "http.ip_sources", name: name.to_owned() });
    }
    let source: StaticRanges = source.decode(SOURCE_TAG)?;
    source.ranges.iter().map(|text| range(text)).collect()
}

fn range(text: &str) -> Result<IpNet, ProvisionError> {
    let parsed =
        if text.contains('/') { text.parse().ok() } else { text.parse::<IpAddr>().ok().map(IpNet::from) };
    parsed.ok_or_else(|| ProvisionError::invalid(format!("invalid IP range of a trusted proxy: '{text}'")))
}

fn header_name(name: &str) -> Result<HeaderName, ProvisionError> {
    name.parse()
        .map_err(|_| ProvisionError::invalid(format!("invalid header name in client_ip_headers: '{name}'")))
}

/// The addresses in a list field, without ports and zones; what is none is passed over.
fn addresses<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = IpAddr> + 'a {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(address)
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let host = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or(bracketed),
        // One colon ends an IPv4 address; more belong to an IPv6 one.
        None if text.matches(':').count() == 1 => text.split(':').next().unwrap_or(text),
        None => text,
    };
    host.split('%').next().unwrap_or(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::{Body, ConnInfo};

    /// Whether `peer` is trusted, and the client's address.
    fn judge(peer: &str, strict: bool, fields: &[&str]) -> (bool, String) {
        let mut config = config::http::Server { trusted_proxies_strict: strict.into(), ..Default::default() };
        config.trusted_proxies =
            Some(serde_json::from_str(r#"{"source":"static","ranges":["10.0.0.0/8","::1"]}"#).unwrap());
        let proxies = TrustedProxies::provision(&config).unwrap().unwrap();
        let conn = ConnInfo::new(Some(format!("{peer}:1").parse().unwrap()), None, None);
        let mut x = Exchange::new(http::Request::new(Body::Empty), Arc::new(conn));
        for field in fields {
            x.headers.append("x-forwarded-for", field.parse().unwrap());
        }
        proxies.judge(&mut x);
        (x.trusted_proxy, x.client_ip.unwrap().to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(judge("8.8.8.8", false, &["1.1.1.1"]), (false, "8.8.8.8".into()));
        assert_eq!(judge("10.1.2.3", false, &["1.1.1.1, 2.2.2.2"]), (true, "1.1.1.1".into()));
        assert_eq!(judge("[::1]", false, &["junk", " [2001:db8::1]:80 "]), (true, "2001:db8::1".into()));
        assert_eq!(judge("10.1.2.3", false, &[]), (true, "10.1.2.3".into()));
    }

    #[test]
    fn strict_takes_the_rightmost_that_is_not_trusted() {
        assert_eq!(judge("10.1.2.3", true, &["6.6.6.6, 1.1.1.1:99", "10.9.9.9"]), (true, "1.1.1.1".into()));
        assert_eq!(judge("10.1.2.3", true, &["10.9.9.9"]), (true, "10.1.2.3".into()));
    }

    #[test]
    fn a_source_that_does_not_exist_is_an_error() {
        let source = serde_json::from_str(r#"{"source":"cloudflare"}"#).unwrap();
        let config = config::http::Server { trusted_proxies: Some(source), ..Default::default() };
        let error = TrustedProxies::provision(&config).err().unwrap().to_string();
        assert!(error.contains("http.ip_sources.cloudflare"), "{error}");
    }
}
