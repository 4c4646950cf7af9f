//! For which names and addresses certificates are issued.

use std::net::IpAddr;

use ipnet::IpNet;

use super::identifier::Identifier;
use super::problem::{Kind, Problem};
use crate::config::ascii_host;

/// Names and addresses that are allowed, or denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    domains: Vec<Domain>,
    ranges: Vec<IpNet>,
}

/// One name, or all names that have exactly one label more.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Domain {
    /// In lower case.
    name: String,
    is_wildcard: bool,
}

/// For which names and addresses certificates are issued; for all of them unless there are rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// If there are rules, nothing else is allowed.
    pub allow: Rules,
    /// What is not allowed in any case.
    pub deny: Rules,
    /// Where there are rules, whether wildcards may be allowed by them.
    pub allow_wildcard_names: bool,
}

impl Rules {
    /// Reads rules as they are written: `a.test`, `*.a.test`; `192.0.2.1`, `192.0.2.0/24`.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn parse(domains: &[String], ranges: &[String]) -> Result<Self, String> {
        Ok(Self {
            domains: domains.iter().map(|text| Domain::parse(text)).collect::<Result<_, _>>()?,
            ranges: ranges.iter().map(|text| range(text)).collect::<Result<_, _>>()?,
        })
    }

    fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.ranges.is_empty()
    }

    fn hold(&self, identifier: &Identifier) -> bool {
        if identifier.is_ip() {
            let ip = identifier.value.parse::<IpAddr>();
            return ip.is_ok_and(|ip| self.ranges.iter().any(|range| range.contains(&ip)));
        }
        self.domains.iter().any(|domain| domain.holds(&identifier.value))
    }
}

impl Domain {
    fn parse(text: &str) -> Result<Self, String> {
        let whole = text.trim().to_lowercase();
        let name = whole.strip_prefix("*.");
        let is_wildcard = name.is_some();
        let name = ascii_host(name.unwrap_or(&whole));
        let is_label =
            |label: &str| !label.is_empty() && label.bytes().all(|b| (33..=126).contains(&b) && b != b'*');
        if !name.split('.').all(is_label) {
            return Err(format!("cannot parse domain constraint {text:?}"));
        }
        Ok(Self { name, is_wildcard })
    }

    fn holds(&self, name: &str) -> bool {
        if self.is_wildcard {
            return name.split_once('.').is_some_and(|(_, above)| above == self.name);
        }
        name == self.name
    }
}

fn range(text: &str) -> Result<IpNet, String> {
    let trimmed = text.trim();
    let range = trimmed.parse::<IpNet>().map(|range| range.trunc());
    range
        .or_else(|_| trimmed.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("cannot parse constraint {text:?} as IP nor CIDR"))
}

impl Policy {
    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    pub(super) fn check(&self, identifier: &Identifier) -> Result<(), Problem> {
        let value = &identifier.value;
        let refused = |why: &str| Err(Problem::new(Kind::RejectedIdentifier, format!("{value} {why}")));
        if self.is_empty() {
            return Ok(());
        }
        // No rule that denies names matches a wildcard, which may stand for what it denies.
        if identifier.is_wildcard() && !self.allow_wildcard_names {
            return refused("is a wildcard");
        }
        if self.deny.hold(identifier) {
            return refused("is denied");
        }
        if !self.allow.is_empty() && !self.allow.hold(identifier) {
            return refused("is not allowed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(domains: &[&str], ranges: &[&str]) -> Rules {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Rules::parse(&owned(domains), &owned(ranges)).unwrap()
    }

    fn allows(policy: &Policy, value: &str) -> bool {
        let kind = if value.parse::<IpAddr>().is_ok() { "ip" } else { "dns" };
        policy.check(&Identifier { kind: kind.into(), value: value.into() }).is_ok()
    }

    #[test]
    fn without_rules_all_is_allowed() {
        for value in ["a.test", "*.a.test", "192.0.2.1"] {
            assert!(allows(&Policy::default(), value));
        }
    }

    #[test]
    fn what_is_allowed_excludes_the_rest() {
        let mut policy =
            Policy { allow: rules(&["a.test", "*.B.test", "bücher.test"], &[]), ..Policy::default() };
        for (value, expected) in [
            ("a.test", true),
            ("x.a.test", false),
            ("b.test", false),
            ("x.b.test", true),
            ("y.x.b.test", false),
            ("xn--bcher-kva.test", true),
            ("192.0.2.1", false),
            ("*.b.test", false),
        ] {
            assert_eq!(allows(&policy, value), expected, "{value}");
        }
        policy.allow_wildcard_names = true;
        assert!(allows(&policy, "*.b.test") && !allows(&policy, "*.a.test"));
        let ranges = Policy { allow: rules(&[], &["192.0.2.0/24", "::1"]), ..Policy::default() };
        assert!(allows(&ranges, "192.0.2.9") && allows(&ranges, "::1"));
        assert!(!allows(&ranges, "198.51.100.1") && !allows(&ranges, "::2") && !allows(&ranges, "a.test"));
    }

    #[test]
    fn what_is_denied_is_denied_first() {
        let policy = Policy {
            allow: rules(&["*.b.test"], &["192.0.2.0/24"]),
            deny: rules(&["x.b.test"], &["192.0.2.1"]),
            ..Policy::default()
        };
        assert!(!allows(&policy, "x.b.test") && allows(&policy, "y.b.test"));
        assert!(!allows(&policy, "192.0.2.1") && allows(&policy, "192.0.2.2"));
        let alone = Policy { deny: rules(&["x.b.test"], &[]), ..Policy::default() };
        assert!(allows(&alone, "a.test") && allows(&alone, "192.0.2.1") && !allows(&alone, "x.b.test"));
        // It would stand for what is denied.
        assert!(!allows(&alone, "*.b.test"));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        for domain in ["", " ", ".a.test", "a..test", "a.*.test", "*a.test", "*", "a b.test"] {
            assert!(Rules::parse(&[domain.to_owned()], &[]).is_err(), "{domain:?}");
        }
        assert!(Rules::parse(&[], &["a.test".to_owned()]).is_err());
    }
}
