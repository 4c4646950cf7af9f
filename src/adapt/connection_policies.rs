//! Joining TLS connection policies that say the same.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};

use serde_json::Value;

use crate::config::tls::{CertificateSelection, ConnectionPolicy, HandshakeMatchers};

/// Whether a policy says nothing but whom it is for.
pub(super) fn is_empty(policy: &ConnectionPolicy) -> bool {
    let ConnectionPolicy {
        matchers: _,
        certificate_selection,
        cipher_suites,
        curves,
        alpn,
        protocol_min,
        protocol_max,
        drop: _,
        client_authentication,
        default_sni,
        fallback_sni,
        insecure_secrets_log,
        handshake_context: _,
    } = policy;
    certificate_selection.is_none()
        && cipher_suites.is_empty()
        && curves.is_empty()
        && alpn.is_empty()
        && protocol_min.is_empty()
        && protocol_max.is_empty()
        && client_authentication.is_none()
        && default_sni.is_empty()
        && fallback_sni.is_empty()
        && insecure_secrets_log.is_empty()
}

/// Whether two policies say the same, whomever they are for.
fn same_settings(a: &ConnectionPolicy, b: &ConnectionPolicy) -> bool {
    let ConnectionPolicy {
        matchers: _,
        certificate_selection,
        cipher_suites,
        curves,
        alpn,
        protocol_min,
        protocol_max,
        drop,
        client_authentication,
        default_sni,
        fallback_sni,
        insecure_secrets_log,
        handshake_context,
    } = a;
    *certificate_selection == b.certificate_selection
        && *cipher_suites == b.cipher_suites
        && *curves == b.curves
        && *alpn == b.alpn
        && *protocol_min == b.protocol_min
        && *protocol_max == b.protocol_max
        && *drop == b.drop
        && *client_authentication == b.client_authentication
        && *default_sni == b.default_sni
        && *fallback_sni == b.fallback_sni
        && *insecure_secrets_log == b.insecure_secrets_log
        && *handshake_context == b.handshake_context
}

/// Puts policies for everyone at the end, and joins those that are equal, or equal but for their names, or for the
/// same handshakes.
///
/// # Errors
/// Two policies for the same handshakes contradict each other.
pub(super) fn consolidate(policies: &mut Vec<ConnectionPolicy>) -> Result<(), String> {
    policies.sort_by_key(|policy| policy.matchers.is_empty());
    let mut left: Vec<Option<ConnectionPolicy>> = std::mem::take(policies).into_iter().map(Some).collect();
    let mut alike = Alike::default();
    for (at, policy) in left.iter().flatten().enumerate() {
        alike.add(Print::of(&policy.matchers), at);
    }
    for at in 0..left.len() {
        let Some(policy) = left[at].take() else { continue };
        let print = Print::of(&policy.matchers);
        alike.remove(print, at);
        let (policy, print) = joined(policy, print, at, &mut left, &mut alike)?;
        alike.add(print, at);
        left[at] = Some(policy);
    }
    *policies = left.into_iter().flatten().collect();
    Ok(())
}

/// Joins into the policy that stood at `at` what can be joined of those that are `left`.
fn joined(
    mut policy: ConnectionPolicy,
    mut print: Print,
    at: usize,
    left: &mut [Option<ConnectionPolicy>],
    alike: &mut Alike,
) -> Result<(ConnectionPolicy, Print), String> {
    let mut next = at + 1;
    loop {
        while left.get(next).is_some_and(Option::is_none) {
            next += 1;
        }
        let neighbour = left.get(next).and_then(Option::as_ref).filter(|other| {
            sni(&policy.matchers).is_some() && sni(&other.matchers).is_some() && same_settings(&policy, other)
        });
        let neighbour = neighbour.map(|_| next);
        let same = alike.first(print, |other| {
            left[other].as_ref().is_some_and(|other| other.matchers == policy.matchers)
        });
        let Some(other) = neighbour.into_iter().chain(same).min() else { return Ok((policy, print)) };
        let Some(more) = left[other].take() else { return Ok((policy, print)) };
        alike.remove(Print::of(&more.matchers), other);
        if more != policy {
            if neighbour == Some(other) {
                print = add_names(&mut policy, more, print);
            } else {
                merge(&mut policy, more)?;
            }
        }
        // As in Caddy, one that has taken in an earlier one takes in no more.
        if other < at {
            return Ok((policy, print));
        }
    }
}

/// The names of matchers that ask for names and nothing else.
fn sni(matchers: &HandshakeMatchers) -> Option<&Vec<Value>> {
    if matchers.len() == 1 { matchers.get("sni")?.as_array() } else { None }
}

fn add_names(policy: &mut ConnectionPolicy, more: ConnectionPolicy, mut print: Print) -> Print {
    let more = sni(&more.matchers).cloned().unwrap_or_default();
    if let Some(Value::Array(names)) = policy.matchers.get_mut("sni") {
        for name in more {
            print = print.with(&name);
            names.push(name);
        }
    }
    print
}

/// What tells matchers from most others. That of a list of names grows with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Print(u64);

impl Print {
    fn of(matchers: &HandshakeMatchers) -> Self {
        match sni(matchers) {
            Some(names) => names.iter().fold(Self(0), Self::with),
            None => Self(hash(&Value::Object(matchers.clone()).to_string())),
        }
    }

    fn with(self, name: &Value) -> Self {
        Self(hash(&(self.0, name.to_string())))
    }
}

fn hash(what: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(what)
}

/// Which policies may have the same matchers.
#[derive(Default)]
struct Alike(HashMap<Print, BTreeSet<usize>>);

impl Alike {
    fn add(&mut self, print: Print, at: usize) {
        self.0.entry(print).or_default().insert(at);
    }

    fn remove(&mut self, print: Print, at: usize) {
        if let Some(places) = self.0.get_mut(&print) {
            places.remove(&at);
        }
    }

    fn first(&self, print: Print, is_same: impl Fn(usize) -> bool) -> Option<usize> {
        self.0.get(&print)?.iter().copied().find(|at| is_same(*at))
    }
}

fn merge(into: &mut ConnectionPolicy, from: ConnectionPolicy) -> Result<(), String> {
    merge_list("ALPN", &mut into.alpn, from.alpn)?;
    merge_list("cipher suites", &mut into.cipher_suites, from.cipher_suites)?;
    if let (None, Some(theirs)) = (&into.client_authentication, from.client_authentication) {
        return Err(conflict("client auth configuration", &"none", &theirs));
    }
    merge_list("curves", &mut into.curves, from.curves)?;
    merge_text("default SNI", &mut into.default_sni, from.default_sni)?;
    merge_text("fallback SNI", &mut into.fallback_sni, from.fallback_sni)?;
    merge_text("min protocol", &mut into.protocol_min, from.protocol_min)?;
    merge_text("max protocol", &mut into.protocol_max, from.protocol_max)?;
    match (&mut into.certificate_selection, from.certificate_selection) {
        (_, None) => {}
        (ours @ None, theirs) => *ours = theirs,
        (Some(ours), Some(theirs)) => merge_selection(ours, theirs)?,
    }
    Ok(())
}

fn conflict(what: &str, a: &dyn Debug, b: &dyn Debug) -> String {
    format!("two policies with same match criteria have conflicting {what}: {a:?} vs. {b:?}")
}

fn merge_list(what: &str, into: &mut Vec<String>, from: Vec<String>) -> Result<(), String> {
    if into.is_empty() {
        *into = from;
    } else if !from.is_empty() && *into != from {
        let show = |list: &[String]| format!("[{}]", list.join(" "));
        return Err(format!(
            "two policies with same match criteria have conflicting {what}: {} vs. {}",
            show(into),
            show(&from)
        ));
    }
    Ok(())
}

fn merge_text(what: &str, into: &mut String, from: String) -> Result<(), String> {
    if into.is_empty() {
        *into = from;
    } else if !from.is_empty() && *into != from {
        return Err(format!(
            "two policies with same match criteria have conflicting {what}: {into} vs. {from}"
        ));
    }
    Ok(())
}

/// Only tags can be joined.
fn merge_selection(into: &mut CertificateSelection, from: CertificateSelection) -> Result<(), String> {
    let same = into.serial_number == from.serial_number
        && into.subject_organization == from.subject_organization
        && into.public_key_algorithm == from.public_key_algorithm
        && into.all_tags == from.all_tags;
    if !same {
        return Err(conflict("cert selections", into, &from));
    }
    for tag in from.any_tag {
        if !into.any_tag.contains(&tag) {
            into.any_tag.push(tag);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The same, comparing each policy with all others.
    fn consolidate_slowly(policies: &mut Vec<ConnectionPolicy>) -> Result<(), String> {
        policies.sort_by_key(|policy| policy.matchers.is_empty());
        let mut at = 0;
        while at < policies.len() {
            match join_slowly(policies, at)? {
                Some(other) => drop(policies.remove(other)),
                None => at += 1,
            }
        }
        Ok(())
    }

    fn join_slowly(policies: &mut [ConnectionPolicy], at: usize) -> Result<Option<usize>, String> {
        for other in (0..policies.len()).filter(|other| *other != at) {
            let (one, two) = (policies[at].clone(), policies[other].clone());
            if one == two {
                return Ok(Some(other));
            }
            if at + 1 == other
                && same_settings(&one, &two)
                && let (Some(names), Some(more)) = (sni(&one.matchers), sni(&two.matchers))
            {
                let names = names.iter().chain(more).cloned().collect();
                policies[at].matchers.insert("sni".into(), Value::Array(names));
                return Ok(Some(other));
            }
            if one.matchers == two.matchers {
                merge(&mut policies[at], two)?;
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    fn policy() -> impl Strategy<Value = ConnectionPolicy> {
        let names = proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 0..3);
        let texts = (prop_oneof![Just(""), Just("tls1.2")], prop_oneof![Just(""), Just("d")]);
        (names, any::<bool>(), texts).prop_map(|(names, by_address, (minimum, default_sni))| {
            let mut policy = ConnectionPolicy {
                protocol_min: minimum.into(),
                default_sni: default_sni.into(),
                ..ConnectionPolicy::default()
            };
            if !names.is_empty() {
                policy.matchers.insert("sni".into(), json!(names));
            }
            if by_address && !names.is_empty() {
                policy.matchers.insert("local_ip".into(), json!({"ranges": names}));
            }
            policy
        })
    }

    proptest! {
        #[test]
        fn looking_only_at_what_may_be_alike_changes_nothing(policies in proptest::collection::vec(policy(), 0..8)) {
            let (mut quick, mut slow) = (policies.clone(), policies);
            let outcome = consolidate(&mut quick);
            prop_assert_eq!(&outcome, &consolidate_slowly(&mut slow));
            if outcome.is_ok() {
                prop_assert_eq!(quick, slow);
            }
        }
    }

    #[test]
    fn many_policies_are_joined_in_one_walk() {
        let named = |name: String, minimum: &str| {
            let mut policy = ConnectionPolicy { protocol_min: minimum.into(), ..ConnectionPolicy::default() };
            policy.matchers.insert("sni".into(), json!([name]));
            policy
        };
        let mut alike: Vec<_> = (0..20_000).map(|number| named(format!("a{number}"), "tls1.3")).collect();
        consolidate(&mut alike).unwrap();
        assert_eq!(alike.len(), 1);
        assert_eq!(sni(&alike[0].matchers).map(Vec::len), Some(20_000));
        // Each with settings of its own.
        let mut different: Vec<_> =
            (0..20_000).map(|number| named(format!("a{number}"), &number.to_string())).collect();
        consolidate(&mut different).unwrap();
        assert_eq!(different.len(), 20_000);
    }
}
