//! Joining automation policies that say the same.

use super::automation::is_public;
use super::go_sort::stable_sort;
use super::issuers::{Issuer, SharedIssuer};
use crate::config::subject::matches_wildcard;
use crate::config::tls::AutomationPolicy;

/// An automation policy while it is put together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Policy {
    /// Who issues, as far as it may still change.
    pub(super) issuers: Vec<SharedIssuer>,
    /// Everything else. Its issuers are those of the result.
    pub(super) rest: AutomationPolicy,
}

/// Puts the more specific policies first, and leaves out what needs no saying.
pub(super) fn consolidate(mut policies: Vec<Policy>) -> Vec<Policy> {
    stable_sort(&mut policies, |a, b| {
        if is_subset(a, b) {
            return true;
        }
        if is_subset(b, a) {
            return false;
        }
        a.rest.subjects.len() > b.rest.subjects.len()
    });
    if remove_empty(&mut policies) {
        return Vec::new();
    }
    join_equal(&mut policies);
    policies
}

/// Removes policies that say nothing and hide nothing. True if all of them say nothing.
fn remove_empty(policies: &mut Vec<Policy>) -> bool {
    let count = policies.len();
    let mut empty_count = 0;
    let mut at = 0;
    while at < policies.len() {
        let empty = |like: Option<&Policy>| {
            let mut policy = Policy::default();
            if let Some(like) = like {
                policy.rest.subjects.clone_from(&like.rest.subjects);
            }
            policy
        };
        if policies[at] != empty(Some(&policies[at])) {
            at += 1;
            continue;
        }
        empty_count += 1;
        let shadowed = shadows(at, policies);
        // What follows may have certificate managers, since a wildcard's managers serve the names below it, too.
        let hides_nothing = shadowed.is_some_and(|other| {
            let mut like = empty(Some(&policies[other]));
            like.rest.get_certificate.clone_from(&policies[other].rest.get_certificate);
            policies[other] == like
        });
        if at + 1 == policies.len() || hides_nothing {
            policies.remove(at);
        } else {
            at += 1;
        }
    }
    empty_count == count
}

fn join_equal(policies: &mut Vec<Policy>) {
    let mut at = 0;
    'policies: while at < policies.len() {
        let mut other = at + 1;
        while other < policies.len() {
            if policies[at] == policies[other] {
                policies.remove(other);
                continue 'policies;
            }
            if !same_settings(&policies[at], &policies[other]) {
                other += 1;
                continue;
            }
            if !policies[at].rest.subjects.is_empty() && policies[other].rest.subjects.is_empty() {
                // The later one covers this one's names, unless one between them would get hold of them.
                if shadows(at, policies).is_some_and(|shadowed| shadowed >= other) {
                    policies.remove(at);
                    continue 'policies;
                }
                other += 1;
            } else {
                for subject in policies.remove(other).rest.subjects {
                    if !policies[at].rest.subjects.contains(&subject) {
                        policies[at].rest.subjects.push(subject);
                    }
                }
            }
        }
        at += 1;
    }
}

fn same_settings(a: &Policy, b: &Policy) -> bool {
    same_issuers(a, b)
        && a.rest.get_certificate == b.rest.get_certificate
        && a.rest.storage == b.rest.storage
        && a.rest.must_staple == b.rest.must_staple
        && a.rest.key_type == b.rest.key_type
        && a.rest.on_demand == b.rest.on_demand
        && a.rest.reuse_private_keys == b.rest.reuse_private_keys
        && a.rest.renewal_window_ratio == b.rest.renewal_window_ratio
}

fn same_issuers(a: &Policy, b: &Policy) -> bool {
    if a.rest.issuers != b.rest.issuers {
        return is_by_internal_default(a) && is_by_internal_default(b);
    }
    if has_issuers(a) || has_issuers(b) {
        return true;
    }
    let (a, b) = (kind(a), kind(b));
    a == Kind::All || b == Kind::All || a == b
}

fn has_issuers(policy: &Policy) -> bool {
    !policy.rest.issuers.is_empty() || !policy.issuers.is_empty()
}

/// Whether our own authority issues, because it was not said otherwise.
fn is_by_internal_default(policy: &Policy) -> bool {
    if !has_issuers(policy) {
        return kind(policy) == Kind::Internal;
    }
    policy.issuers.is_empty() && policy.rest.issuers == [Issuer::internal().to_json()]
}

/// The names of a policy, as far as it matters who issues by default.
#[derive(PartialEq)]
enum Kind {
    All,
    Public,
    Internal,
    Mixed,
}

fn kind(policy: &Policy) -> Kind {
    let subjects = &policy.rest.subjects;
    if subjects.is_empty() {
        return Kind::All;
    }
    let public = subjects.iter().filter(|name| is_public(&policy.rest, name)).count();
    match public {
        0 => Kind::Internal,
        all if all == subjects.len() => Kind::Public,
        _ => Kind::Mixed,
    }
}

/// Whether all names of `a` are covered by `b`.
fn is_subset(a: &Policy, b: &Policy) -> bool {
    if b.rest.subjects.is_empty() {
        return true;
    }
    !a.rest.subjects.is_empty()
        && a.rest
            .subjects
            .iter()
            .all(|name| b.rest.subjects.iter().any(|wildcard| matches_wildcard(name, wildcard)))
}

/// The next policy after the one at `at` that covers its names, too.
fn shadows(at: usize, policies: &[Policy]) -> Option<usize> {
    (at + 1..policies.len()).find(|other| is_subset(&policies[at], &policies[*other]))
}
