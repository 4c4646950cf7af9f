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
    keep(policies, &kept);
    empty_count == count
}

/// Removes the policies that are not marked.
fn keep(policies: &mut Vec<Policy>, kept: &[bool]) {
    let mut kept = kept.iter();
    policies.retain(|_| kept.next() == Some(&true));
}

/// Which policies may cover a name, so that not each has to be compared with all others.
struct Covers {
    /// The policies that have this subject, in lower case.
    by_subject: HashMap<String, Vec<usize>>,
    /// The policies for all names.
    for_all: Vec<usize>,
    /// No subject begins with more stars.
    stars_max: usize,
}

impl Covers {
    fn of(policies: &[Policy]) -> Self {
        let mut covers = Self { by_subject: HashMap::new(), for_all: Vec::new(), stars_max: 0 };
        for (at, policy) in policies.iter().enumerate() {
            if policy.rest.subjects.is_empty() {
                covers.for_all.push(at);
            }
            for subject in &policy.rest.subjects {
                let stars = subject.split('.').take_while(|label| *label == "*").count();
                covers.stars_max = covers.stars_max.max(stars);
                covers.by_subject.entry(subject.to_ascii_lowercase()).or_default().push(at);
            }
        }
        covers
    }

    /// The next policy after the one at `at` that covers its names, too.
    fn first_behind(&self, at: usize, policies: &[Policy]) -> Option<usize> {
        let behind = |list: &Vec<usize>| {
            let later = &list[list.partition_point(|other| *other <= at)..];
            later.iter().copied().find(|other| is_subset(&policies[at], &policies[*other]))
        };
        let for_all = behind(&self.for_all);
        let Some(name) = policies[at].rest.subjects.first() else { return for_all };
        // What covers all names covers the first one: by its own name, or with stars for its first labels.
        let name = name.to_ascii_lowercase();
        let labels: Vec<&str> = name.split('.').collect();
        let forms = (0..=labels.len().min(self.stars_max)).map(|stars| {
            let mut form = vec!["*"; stars];
            form.extend(&labels[stars..]);
            form.join(".")
        });
        forms.filter_map(|form| behind(self.by_subject.get(&form)?)).chain(for_all).min()
    }
}

/// Joins policies that differ in their names only.
fn join_equal(policies: &mut Vec<Policy>) {
    let mut kinds: Vec<Kind> = policies.iter().map(kind).collect();
    let mut kept = vec![true; policies.len()];
    let settings: Vec<String> = policies.iter().map(comparable).collect();
    // Only those that may have the same settings are compared, or many policies would be compared with all others.
    let mut alike: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, settings) in settings.iter().enumerate() {
        alike.entry(settings).or_default().push(at);
    }
    for at in 0..policies.len() {
        if !kept[at] {
            continue;
        }
        let alike = alike.get(settings[at].as_str()).map_or(&[][..], |alike| alike);
        let first = alike.partition_point(|other| *other <= at);
        // The names of this policy, once others have been joined to it.
        let mut names: HashSet<String> = HashSet::new();
        let mut next = first;
        while let Some(other) = alike.get(next).copied() {
            next += 1;
            if !kept[other] {
                continue;
            }
            if policies[at] == policies[other] {
                kept[other] = false;
                if !names.is_empty() {
                    // Those that were passed over may fit now.
                    next = first;
                }
                continue;
            }
            if !same_settings((&policies[at], kinds[at]), (&policies[other], kinds[other])) {
                continue;
            }
            if !policies[at].rest.subjects.is_empty() && policies[other].rest.subjects.is_empty() {
                // The later one covers this one's names, unless one between them would get hold of them.
                let mut behind = (at + 1..=other).filter(|other| kept[*other]);
                let shadowed = behind.find(|other| is_subset(&policies[at], &policies[*other]));
                if shadowed == Some(other) {
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
            policies[at].rest.subjects.extend(subjects.into_iter().filter(|name| names.insert(name.clone())));
            kinds[at] = kinds[at].joined(kinds[other]);
        }
    }
    keep(policies, &kept);
}

/// What is the same text for all policies that [`same_settings`] may find the same. Our own authority by default and
/// by name are not told apart here.
fn comparable(policy: &Policy) -> String {
    let rest = &policy.rest;
    let internal = rest.issuers.is_empty() || rest.issuers == [Issuer::internal().to_json()];
    let issuers = if internal { &[][..] } else { &rest.issuers };
    serde_json::json!([
        issuers,
        rest.get_certificate,
        rest.storage,
        rest.must_staple,
        rest.key_type,
        rest.on_demand,
        rest.reuse_private_keys,
        rest.renewal_window_ratio,
    ])
    .to_string()
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

impl Kind {
    /// The kind of the names of two policies together.
    fn joined(self, other: Self) -> Self {
        match self {
            Kind::All => other,
            _ if self == other => self,
            _ => Kind::Mixed,
        }
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(subjects: Vec<String>) -> Policy {
        let mut policy = Policy::default();
        policy.rest.subjects = subjects;
        policy
    }

    /// Names of few labels, so that many of them cover others.
    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["*", "a", "A", "b", ""]), 1..4)
            .prop_map(|labels| labels.join("."))
    }

    proptest! {
        #[test]
        fn the_index_finds_what_comparing_with_all_finds(
            lists in prop::collection::vec(prop::collection::vec(name(), 0..3), 0..8),
        ) {
            let policies: Vec<Policy> = lists.into_iter().map(policy).collect();
            let covers = Covers::of(&policies);
            for at in 0..policies.len() {
                let first = (at + 1..policies.len()).find(|other| is_subset(&policies[at], &policies[*other]));
                prop_assert_eq!(covers.first_behind(at, &policies), first);
            }
        }

        #[test]
        fn kinds_join_as_names_do(a in "[ab]{1,2}|localhost", b in "[ab]{1,2}|localhost") {
            let (a, b, both) = (policy(vec![a.clone()]), policy(vec![b.clone()]), policy(vec![a, b]));
            prop_assert!(kind(&a).joined(kind(&b)) == kind(&both));
            prop_assert!(Kind::All.joined(kind(&b)) == kind(&b));
        }
    }
}
