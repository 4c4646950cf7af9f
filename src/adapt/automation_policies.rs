//! Joining automation policies that say the same.

use std::collections::{HashMap, HashSet};

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
    let empty = |subjects: &[String]| {
        let mut policy = Policy::default();
        policy.rest.subjects = subjects.to_vec();
        policy
    };
    let covers = Covers::of(policies);
    let mut empty_count = 0;
    let mut kept = vec![true; policies.len()];
    for (at, policy) in policies.iter().enumerate() {
        if *policy != empty(&policy.rest.subjects) {
            continue;
        }
        empty_count += 1;
        // What follows may have certificate managers, since a wildcard's managers serve the names below it, too.
        let hides_nothing = covers.first_behind(at, policies).is_some_and(|other| {
            let mut like = empty(&policies[other].rest.subjects);
            like.rest.get_certificate.clone_from(&policies[other].rest.get_certificate);
            policies[other] == like
        });
        kept[at] = at + 1 != policies.len() && !hides_nothing;
    }
    let count = policies.len();
    let mut kept = kept.into_iter();
    policies.retain(|_| kept.next().unwrap_or(true));
    empty_count == count
}

/// Which policies may cover a name, so that not each has to be compared with all others.
struct Covers {
    /// The policies that have this subject, in lower case.
    by_subject: HashMap<String, Vec<usize>>,
    /// The policies for all names.
    for_all: Vec<usize>,
}

impl Covers {
    fn of(policies: &[Policy]) -> Self {
        let mut covers = Self { by_subject: HashMap::new(), for_all: Vec::new() };
        for (at, policy) in policies.iter().enumerate() {
            if policy.rest.subjects.is_empty() {
                covers.for_all.push(at);
            }
            for subject in &policy.rest.subjects {
                covers.by_subject.entry(subject.to_ascii_lowercase()).or_default().push(at);
            }
        }
        covers
    }

    /// The next policy after the one at `at` that covers its names, too.
    fn first_behind(&self, at: usize, policies: &[Policy]) -> Option<usize> {
        let behind = |list: &[usize]| {
            list.iter().copied().find(|other| *other > at && is_subset(&policies[at], &policies[*other]))
        };
        let mut first = behind(&self.for_all);
        let Some(name) = policies[at].rest.subjects.first() else { return first };
        // What covers all names covers the first one: by its own name, or with stars for its first labels.
        let name = name.to_ascii_lowercase();
        let mut form = name.as_str();
        let mut stars = String::new();
        loop {
            let subject = format!("{stars}{form}");
            let found = self.by_subject.get(subject.trim_end_matches('.')).and_then(|list| behind(list));
            first = [first, found].into_iter().flatten().min();
            if form.is_empty() {
                return first;
            }
            form = form.split_once('.').map_or("", |(_, rest)| rest);
            stars.push_str("*.");
        }
    }
}

/// Joins policies that differ in their names only.
fn join_equal(policies: &mut Vec<Policy>) {
    let mut kinds: Vec<Kind> = policies.iter().map(kind).collect();
    let mut kept = vec![true; policies.len()];
    for at in 0..policies.len() {
        if !kept[at] {
            continue;
        }
        let mut names: HashSet<String> = HashSet::new();
        for other in at + 1..policies.len() {
            if !kept[other] {
                continue;
            }
            if policies[at] == policies[other] {
                kept[other] = false;
                continue;
            }
            if !same_settings((&policies[at], kinds[at]), (&policies[other], kinds[other])) {
                continue;
            }
            if !policies[at].rest.subjects.is_empty() && policies[other].rest.subjects.is_empty() {
                // The later one covers this one's names, unless one between them would get hold of them.
                let mut behind = (at + 1..policies.len()).filter(|other| kept[*other]);
                let shadowed = behind.find(|other| is_subset(&policies[at], &policies[*other]));
                if shadowed.is_some_and(|shadowed| shadowed >= other) {
                    kept[at] = false;
                    break;
                }
                continue;
            }
            kept[other] = false;
            if names.is_empty() {
                names.extend(policies[at].rest.subjects.iter().cloned());
            }
            let subjects = std::mem::take(&mut policies[other].rest.subjects);
            let was_for_all = policies[at].rest.subjects.is_empty();
            policies[at].rest.subjects.extend(subjects.into_iter().filter(|name| names.insert(name.clone())));
            // Only names of one kind are joined, but for a policy that had none.
            if was_for_all || kinds[at] != kinds[other] {
                kinds[at] = kind(&policies[at]);
            }
        }
    }
    let mut kept = kept.into_iter();
    policies.retain(|_| kept.next().unwrap_or(true));
}

/// A policy, and the kind of its names.
type WithKind<'a> = (&'a Policy, Kind);

fn same_settings((a, a_kind): WithKind<'_>, (b, b_kind): WithKind<'_>) -> bool {
    same_issuers((a, a_kind), (b, b_kind))
        && a.rest.get_certificate == b.rest.get_certificate
        && a.rest.storage == b.rest.storage
        && a.rest.must_staple == b.rest.must_staple
        && a.rest.key_type == b.rest.key_type
        && a.rest.on_demand == b.rest.on_demand
        && a.rest.reuse_private_keys == b.rest.reuse_private_keys
        && a.rest.renewal_window_ratio == b.rest.renewal_window_ratio
}

fn same_issuers((a, a_kind): WithKind<'_>, (b, b_kind): WithKind<'_>) -> bool {
    if a.rest.issuers != b.rest.issuers {
        return is_by_internal_default(a, a_kind) && is_by_internal_default(b, b_kind);
    }
    if has_issuers(a) || has_issuers(b) {
        return true;
    }
    a_kind == Kind::All || b_kind == Kind::All || a_kind == b_kind
}

fn has_issuers(policy: &Policy) -> bool {
    !policy.rest.issuers.is_empty() || !policy.issuers.is_empty()
}

/// Whether our own authority issues, because it was not said otherwise.
fn is_by_internal_default(policy: &Policy, kind: Kind) -> bool {
    if !has_issuers(policy) {
        return kind == Kind::Internal;
    }
    policy.issuers.is_empty() && policy.rest.issuers == [Issuer::internal().to_json()]
}

/// The names of a policy, as far as it matters who issues by default.
#[derive(Clone, Copy, PartialEq)]
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
