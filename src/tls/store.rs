//! All certificates of one configuration, found by name at handshakes.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Certificate;

/// All certificates of one configuration: loaded ones, and managed ones that are replaced when they
/// are renewed. Readers never wait.
#[derive(Debug, Default)]
pub struct CertificateStore {
    index: ArcSwap<Index>,
}

/// What a handshake reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_name: HashMap<Box<str>, Vec<Arc<Certificate>>>,
    all: Vec<Arc<Certificate>>,
}

impl Index {
    /// The certificates that hold exactly this name, in lower case.
    pub(super) fn named(&self, name: &str) -> &[Arc<Certificate>] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// All of them, in the order of their arrival.
    pub(super) fn all(&self) -> &[Arc<Certificate>] {
        &self.all
    }

    fn add(&mut self, certificate: &Arc<Certificate>) {
        for name in &certificate.names {
            self.by_name.entry(name.clone()).or_default().push(certificate.clone());
        }
        self.all.push(certificate.clone());
    }
}

impl CertificateStore {
    /// What it holds now.
    pub(super) fn snapshot(&self) -> arc_swap::Guard<Arc<Index>> {
        self.index.load()
    }

    /// Adds a certificate, and takes `replaced` out if it is given.
    pub fn put(&self, certificate: Arc<Certificate>, replaced: Option<&Arc<Certificate>>) {
        self.index.rcu(|index| {
            let mut next = Index::default();
            let keep = |old: &&Arc<Certificate>| !replaced.is_some_and(|gone| Arc::ptr_eq(gone, old));
            for old in index.all.iter().filter(keep) {
                next.add(old);
            }
            next.add(&certificate);
            next
        });
    }

    /// Takes a certificate out.
    pub fn remove(&self, certificate: &Arc<Certificate>) {
        self.index.rcu(|index| {
            let mut next = Index::default();
            index
                .all
                .iter()
                .filter(|other| !Arc::ptr_eq(other, certificate))
                .for_each(|other| next.add(other));
            next
        });
    }

    /// Adds many at once.
    #[cfg(test)]
    pub(super) fn extend(&self, certificates: impl IntoIterator<Item = Certificate>) {
        self.extend_shared(certificates.into_iter().map(Arc::new).collect());
    }

    /// Adds many at once.
    pub fn extend_shared(&self, certificates: Vec<Arc<Certificate>>) {
        self.index.rcu(|index| {
            let mut next = Index::clone(index);
            certificates.iter().for_each(|certificate| next.add(certificate));
            next
        });
    }

    /// Whether a certificate holds `subject`, or a wildcard that stands for it.
    pub fn covers(&self, subject: &str) -> bool {
        let subject = subject.to_ascii_lowercase();
        let index = self.snapshot();
        wildcards_of(&subject).any(|candidate| !index.named(&candidate).is_empty())
            || !index.named(&subject).is_empty()
    }
}

/// `name` with its first one, two, ... labels replaced by `*`, most specific first.
pub(super) fn wildcards_of(name: &str) -> impl Iterator<Item = String> + '_ {
    let labels = name.split('.').count();
    (1..=labels).map(move |stars| {
        let mut candidate = String::with_capacity(name.len());
        for (index, label) in name.split('.').enumerate() {
            if index > 0 {
                candidate.push('.');
            }
            candidate.push_str(if index < stars { "*" } else { label });
        }
        candidate
    })
}

#[cfg(test)]
mod tests {
    use super::super::certificate::testing::certificate;
    use super::*;

    #[test]
    fn wildcards_from_specific_to_general() {
        assert_eq!(wildcards_of("a.b.c").collect::<Vec<_>>(), ["*.b.c", "*.*.c", "*.*.*"]);
    }

    #[test]
    fn replacing_keeps_the_others() {
        let store = CertificateStore::default();
        let old = Arc::new(certificate(&["a.test"], &[]));
        store.put(old.clone(), None);
        store.extend([certificate(&["b.test", "*.c.test"], &[])]);
        let new = Arc::new(certificate(&["a.test"], &[]));
        store.put(new.clone(), Some(&old));
        let index = store.snapshot();
        assert_eq!(index.all().len(), 2);
        assert!(matches!(index.named("a.test"), [only] if Arc::ptr_eq(only, &new)));
    }

    #[test]
    fn wildcards_cover_names_but_not_their_own_parents() {
        let store = CertificateStore::default();
        store.extend([certificate(&["*.c.test"], &[])]);
        assert!(store.covers("X.c.test") && store.covers("*.c.test"));
        assert!(!store.covers("c.test") && !store.covers("y.x.c.test"));
    }
}
