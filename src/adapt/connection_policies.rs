//! Joining TLS connection policies that say the same.

use std::fmt::Debug;

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

fn same_settings(a: &ConnectionPolicy, b: &ConnectionPolicy) -> bool {
    let bare =
        |policy: &ConnectionPolicy| ConnectionPolicy { matchers: HandshakeMatchers::new(), ..policy.clone() };
    bare(a) == bare(b)
}

/// Puts policies for everyone at the end, and joins those that are equal, or equal but for their names, or for the
/// same handshakes.
///
/// # Errors
/// Two policies for the same handshakes contradict each other.
pub(super) fn consolidate(policies: &mut Vec<ConnectionPolicy>) -> Result<(), String> {
    policies.sort_by_key(|policy| policy.matchers.is_empty());
    let mut at = 0;
    while at < policies.len() {
        match joinable(policies, at)? {
            Some(other) => {
                policies.remove(other);
                // What stands at this place now is looked at again.
            }
            None => at += 1,
        }
    }
    Ok(())
}

/// Joins another policy into the one at `at` and says which, if there is one to be removed.
fn joinable(policies: &mut [ConnectionPolicy], at: usize) -> Result<Option<usize>, String> {
    for other in 0..policies.len() {
        if other == at {
            continue;
        }
        if policies[at] == policies[other] {
            return Ok(Some(other));
        }
        if at + 1 == other
            && same_settings(&policies[at], &policies[other])
            && let (Some(mut names), Some(more)) = (only_sni(&policies[at]), only_sni(&policies[other]))
        {
            names.extend(more);
            policies[at].matchers.insert("sni".into(), Value::Array(names));
            return Ok(Some(other));
        }
        if policies[at].matchers == policies[other].matchers {
            let more = policies[other].clone();
            merge(&mut policies[at], more)?;
            return Ok(Some(other));
        }
    }
    Ok(None)
}

/// The names of a policy that is for names and nothing else.
fn only_sni(policy: &ConnectionPolicy) -> Option<Vec<Value>> {
    if policy.matchers.len() != 1 {
        return None;
    }
    policy.matchers.get("sni")?.as_array().cloned()
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
