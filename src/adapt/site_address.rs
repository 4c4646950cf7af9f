//! Site addresses: `example.com`, `http://*.example.com:8080`, `:443`, `https://a/path`.

use std::fmt;
use std::net::Ipv6Addr;

use crate::config::{join_host_port, split_host_port};

/// Where a site is, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteAddress {
    /// As it was written, without spaces around it.
    pub original: String,
    /// `http`, `https`, or nothing.
    pub scheme: String,
    /// The host, without brackets; empty if the site is there for all hosts.
    pub host: String,
    /// The port, if it was given.
    pub port: String,
    /// The path, if there is one; it begins with `/`.
    pub path: String,
}

/// Characters that are looked at; what comes after them is not.
const TEXT_BYTES_MAX: usize = 4096;

impl SiteAddress {
    /// Takes an address apart and normalises it.
    ///
    /// # Errors
    /// What is wrong with its port, as Caddy says it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(text);
        let original = text.trim();
        let (scheme, rest) = original.split_once("://").unwrap_or(("", original));
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, format!("/{path}")),
            None => (rest, String::new()),
        };
        let with_port = format!("{authority}:");
        let (host, port) =
            split_host_port(authority).or_else(|_| split_host_port(&with_port)).unwrap_or((authority, ""));
        check_port(port)?;
        Ok(Self {
            original: original.to_owned(),
            scheme: lower_except_placeholders(scheme),
            host: lower_except_placeholders(&normal_ip(host.trim())),
            port: port.to_owned(),
            path,
        })
    }
}

impl fmt::Display for SiteAddress {
    /// As a URL, without what goes without saying.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.is_empty() && self.port.is_empty() {
            return Ok(());
        }
        let scheme = match (self.scheme.as_str(), self.port.as_str()) {
            ("", "443") => "https",
            ("", _) => "http",
            (scheme, _) => scheme,
        };
        write!(f, "{scheme}://")?;
        let special = match scheme {
            "https" => self.port != "443",
            "http" => self.port != "80",
            _ => false,
        };
        if special && !self.port.is_empty() {
            f.write_str(&join_host_port(&self.host, &self.port))?;
        } else {
            f.write_str(&self.host)?;
        }
        f.write_str(&self.path)
    }
}

fn check_port(port: &str) -> Result<(), String> {
    if port.is_empty() {
        return Ok(());
    }
    match port.parse::<i64>() {
        Ok(0..=65535) => Ok(()),
        Ok(number) => Err(format!("port {number} is out of range")),
        Err(_) => Err(format!("invalid port '{port}': strconv.Atoi: parsing {port:?}: invalid syntax")),
    }
}

/// An IPv6 address in its shortest form; other hosts as they are.
fn normal_ip(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(ip) if ip.to_ipv4_mapped().is_none() => ip.to_string(),
        _ => host.to_owned(),
    }
}

/// Lower case, but for placeholders.
fn lower_except_placeholders(text: &str) -> String {
    let mut lower = String::with_capacity(text.len());
    let (mut escaped, mut in_placeholder) = (false, false);
    for ch in text.chars() {
        if ch == '\\' && !escaped {
            escaped = true;
            lower.push(ch);
            continue;
        }
        match ch {
            '{' if !escaped => in_placeholder = true,
            '}' if !escaped => in_placeholder = false,
            _ => {}
        }
        if in_placeholder {
            lower.push(ch)
        } else {
            lower.extend(ch.to_lowercase())
        }
        escaped = false;
    }
    lower
}

/// How specific a host or path is: its length without wildcards and placeholders.
pub(super) fn specificity(text: &str) -> usize {
    let mut length = text.len() - text.matches('*').count();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let Some(end) = rest[start..].find('}').map(|at| start + at + 1) else { break };
        length = length.saturating_sub(end - start);
        rest = &rest[end..];
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> [String; 4] {
        let address = SiteAddress::parse(text).unwrap();
        [address.scheme, address.host, address.port, address.path]
    }

    #[test]
    fn every_form_is_taken_apart() {
        assert_eq!(parts("example.com"), ["", "example.com", "", ""]);
        assert_eq!(parts(" HTTP://EXAMPLE.com:80/Path "), ["http", "example.com", "80", "/Path"]);
        assert_eq!(parts(":8080"), ["", "", "8080", ""]);
        assert_eq!(parts("[::1]:80"), ["", "::1", "80", ""]);
        assert_eq!(parts("[2001:DB8:0::1]"), ["", "2001:db8::1", "", ""]);
        assert_eq!(parts("https://"), ["https", "", "", ""]);
        assert_eq!(parts("{env.HOST}:1"), ["", "{env.HOST}", "1", ""]);
        assert_eq!(parts("::1"), ["", "::1", "", ""]);
    }

    #[test]
    fn bad_ports_are_refused() {
        assert_eq!(SiteAddress::parse(":70000").unwrap_err(), "port 70000 is out of range");
        let error = SiteAddress::parse("a:http").unwrap_err();
        assert_eq!(error, r#"invalid port 'http': strconv.Atoi: parsing "http": invalid syntax"#);
    }

    #[test]
    fn display_is_a_url() {
        let shown = |text: &str| SiteAddress::parse(text).unwrap().to_string();
        assert_eq!(shown("a"), "http://a");
        assert_eq!(shown("a:443"), "https://a");
        assert_eq!(shown("https://a:8443/x"), "https://a:8443/x");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn specificity_leaves_out_wildcards_and_placeholders() {
        assert_eq!(specificity("*.example.com"), 12);
        assert_eq!(specificity("{env.X}.example.com"), 12);
        assert_eq!(specificity("{open"), 5);
    }
}
