//! What a certificate's subject is: a public name, a name of this machine or network, an address.
//!
//! Automatic HTTPS decides by these which names get certificates, and from whom. They are the rules
//! that Caddy follows, asked of it name by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::split_host_port;

/// Names that no certificate can hold contain one of these.
const FORBIDDEN: &[char] = &[
    '(', ')', '[', ']', '{', '}', '<', '>', ' ', '\t', '\n', '"', '\\', '!', '@', '#', '$', '%', '^', '&',
    '|', ';', '\'', '+', '=',
];

/// Endings of names that no public authority certifies.
const INTERNAL_SUFFIXES: &[&str] = &[".localhost", ".local", ".internal", ".home.arpa"];

/// Networks that no public authority certifies.
const INTERNAL_V4: &[Ipv4Net] = &[
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
];
const INTERNAL_V6: &[Ipv6Net] = &[
    Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 7),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
];

/// Whether `subject` is an IP address.
pub fn is_ip(subject: &str) -> bool {
    subject.parse::<IpAddr>().is_ok()
}

/// Whether `subject` is a name or an address of this machine or network; a port doesn't matter.
pub fn is_internal(subject: &str) -> bool {
    let host = host_only(subject);
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match ip.to_canonical() {
            IpAddr::V4(ip) => INTERNAL_V4.iter().any(|net| net.contains(&ip)),
            IpAddr::V6(ip) => INTERNAL_V6.iter().any(|net| net.contains(&ip)),
        };
    }
    host == "localhost" || INTERNAL_SUFFIXES.iter().any(|suffix| host.ends_with(suffix))
}

/// Whether a name is one of Tailscale's, which has certificates by other means.
pub fn is_tailscale(name: &str) -> bool {
    name.to_lowercase().ends_with(".ts.net")
}

/// The host without its port and brackets.
fn host_only(subject: &str) -> &str {
    match split_host_port(subject) {
        Ok((host, _)) => host,
        Err(_) => subject.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(subject),
    }
}

/// Whether a certificate for `subject` can be made at all.
pub fn qualifies_for_certificate(subject: &str) -> bool {
    !subject.trim().is_empty()
        && !subject.starts_with('.')
        && !subject.ends_with('.')
        && (!subject.contains('*') || subject.starts_with("*.") || subject == "*")
        && !subject.contains(FORBIDDEN)
}

/// Whether a public authority would certify `subject`.
pub fn qualifies_for_public_certificate(subject: &str) -> bool {
    let stars = subject.matches('*').count();
    qualifies_for_certificate(subject)
        && !is_internal(subject)
        && (stars == 0 || (stars == 1 && subject.matches('.').count() > 1))
}

/// Whether `wildcard` stands for `subject`: they are equal, or `wildcard` is `subject` with its first
/// labels replaced by `*`.
pub fn matches_wildcard(subject: &str, wildcard: &str) -> bool {
    if subject.eq_ignore_ascii_case(wildcard) {
        return true;
    }
    let mut subject_labels = subject.split('.');
    let mut starred = false;
    let mut only_stars = true;
    for label in wildcard.split('.') {
        let Some(subject_label) = subject_labels.next() else { return false };
        if label == "*" && only_stars && !subject_label.is_empty() {
            starred = true;
        } else if subject_label.eq_ignore_ascii_case(label) {
            only_stars = false;
        } else {
            return false;
        }
    }
    starred && subject_labels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_names_and_addresses() {
        let internal = [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "printer.local",
            "db.internal",
            "nas.home.arpa",
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "[::1]",
            "127.0.0.1:80",
            "[::1]:80",
        ];
        let public =
            ["example.com", "local", "internal", "notlocalhost", "8.8.8.8", "172.32.0.1", "2001:db8::1"];
        assert_eq!(internal.iter().filter(|name| !is_internal(name)).collect::<Vec<_>>(), [&""; 0]);
        assert_eq!(public.iter().filter(|name| is_internal(name)).collect::<Vec<_>>(), [&""; 0]);
    }

    #[test]
    fn what_a_certificate_can_hold() {
        for name in ["example.com", "*.example.com", "*", "localhost", "::1", "under_score.test", "*.com"] {
            assert!(qualifies_for_certificate(name), "{name}");
        }
        for name in ["", " ", ".a.test", "a.test.", "a.*.test", "a b", "{env.X}", "a@b", "*a.test"] {
            assert!(!qualifies_for_certificate(name), "{name}");
        }
    }

    #[test]
    fn what_a_public_authority_certifies() {
        for name in ["example.com", "*.example.com", "example", "8.8.8.8"] {
            assert!(qualifies_for_public_certificate(name), "{name}");
        }
        for name in ["*.com", "*", "*.*.example.com", "localhost", "10.0.0.1", "a.local"] {
            assert!(!qualifies_for_public_certificate(name), "{name}");
        }
    }

    #[test]
    fn wildcards_stand_for_leading_labels() {
        let yes = [
            ("a.test", "A.test"),
            ("b.a.test", "*.a.test"),
            ("c.b.test", "*.*.test"),
            ("c.b.test", "*.*.*"),
            ("*.a.test", "*.a.test"),
        ];
        let no = [
            ("a.test", "*.a.test"),
            ("c.b.a.test", "*.a.test"),
            ("b.a.test", "b.*.test"),
            (".a.test", "*.a.test"),
            ("a.test", "*"),
            ("", "*"),
            ("b.a.test", "*.a.tes"),
        ];
        for (subject, wildcard) in yes {
            assert!(matches_wildcard(subject, wildcard), "{subject} {wildcard}");
        }
        for (subject, wildcard) in no {
            assert!(!matches_wildcard(subject, wildcard), "{subject} {wildcard}");
        }
    }
}
