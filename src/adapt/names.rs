//! What kind of name a host is, as far as certificates are concerned.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::split_host_port;

/// Whether a certificate could be for this name at all.
pub fn qualifies_for_certificate(name: &str) -> bool {
    !name.trim().is_empty()
        && !name.starts_with('.')
        && !name.ends_with('.')
        && (!name.contains('*') || name.starts_with("*.") || name == "*")
        && !name.contains(|ch| "()[]{}<> \t\n\"\\!@#$%^&|;'+=".contains(ch))
}

/// Whether a public authority could issue a certificate for it.
pub fn qualifies_for_public_certificate(name: &str) -> bool {
    let wildcards = name.matches('*').count();
    qualifies_for_certificate(name)
        && !is_internal(name)
        && (wildcards == 0
            || wildcards == 1 && name.matches('.').count() > 1 && name.len() > 2 && name.starts_with("*."))
}

/// Whether it is an IP address.
pub fn is_ip(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

/// Whether it is a name or an address that only this machine or network knows.
pub fn is_internal(name: &str) -> bool {
    let host = host_only(name);
    let host = host.strip_suffix('.').unwrap_or(host).to_lowercase();
    host == "localhost"
        || [".localhost", ".local", ".internal", ".home.arpa"].iter().any(|suffix| host.ends_with(suffix))
        || is_internal_ip(&host)
}

fn is_internal_ip(name: &str) -> bool {
    const NETWORKS: [&str; 9] = [
        "127.0.0.0/8",
        "0.0.0.0/16",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::/7",
        "fe80::/10",
        "fc00::/7",
    ];
    let Ok(ip) = host_only(name).parse::<IpAddr>() else { return false };
    let ip = ip.to_canonical();
    NETWORKS.iter().filter_map(|network| network.parse::<IpNet>().ok()).any(|network| network.contains(&ip))
}

/// The host without a port and without brackets.
fn host_only(name: &str) -> &str {
    match split_host_port(name) {
        Ok((host, _)) => host,
        Err(_) => name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name),
    }
}

/// Whether `wildcard` covers `name`: it is the same, or one label of the name is `*` in it.
pub fn matches_wildcard(name: &str, wildcard: &str) -> bool {
    let name = host_only(name).to_lowercase();
    let wildcard = wildcard.to_lowercase();
    if name == wildcard {
        return true;
    }
    if !wildcard.contains('*') {
        return false;
    }
    // Stars spread from the left: `*.b.c`, then `*.*.c`, and so on.
    let mut labels: Vec<&str> = name.split('.').collect();
    for at in 0..labels.len() {
        if labels[at].is_empty() {
            continue;
        }
        labels[at] = "*";
        if labels.join(".") == wildcard {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_public_certificates() {
        for name in ["example.com", "*.example.com", "sub.example.com"] {
            assert!(qualifies_for_public_certificate(name), "{name}");
        }
        for name in
            ["localhost", "a.localhost", "a.local", "192.168.1.1", "::1", "*.com", "*.*.a.b", "", "a b", ".a"]
        {
            assert!(!qualifies_for_public_certificate(name), "{name}");
        }
    }

    #[test]
    fn internal_names() {
        for name in ["localhost", "LOCALHOST.", "x.internal", "10.1.2.3", "[::1]", "127.0.0.1:80", "fe80::1"]
        {
            assert!(is_internal(name), "{name}");
        }
        for name in ["example.com", "8.8.8.8", "2606:4700::1111"] {
            assert!(!is_internal(name), "{name}");
        }
    }

    #[test]
    fn wildcards_cover_labels() {
        assert!(matches_wildcard("a.example.com", "*.example.com"));
        assert!(matches_wildcard("a.b.example.com", "*.*.example.com"));
        assert!(matches_wildcard("EXAMPLE.com", "example.COM"));
        assert!(!matches_wildcard("example.com", "*.example.com"));
        assert!(!matches_wildcard("a.b.example.com", "*.example.com"));
    }
}
