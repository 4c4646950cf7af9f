//! What all handlers together know of one upstream address: its requests in flight and its recent
//! failures. It outlives a reload, so that a limit also counts requests of the previous
//! configuration.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use crate::http::PerWorker;
use crate::modules::transports::http::Permit;

/// Failures remembered of one address; more make no difference to any sensible `max_fails`.
const FAILURES_MAX: usize = 4096;

/// Every address that a running configuration proxies to, by the address as it was written.
static HOSTS: LazyLock<Mutex<HashMap<Box<str>, Weak<Host>>>> = LazyLock::new(Mutex::default);

/// One upstream address.
pub struct Host {
    address: Box<str>,
    in_flight: PerWorker<Arc<Count>>,
    /// As many as `failures` has, so that the usual case takes no lock.
    failures_len: AtomicUsize,
    failures: Mutex<Vec<Failure>>,
}

/// How many requests that one worker has begun have not ended.
#[derive(Default)]
#[repr(align(128))]
struct Count(AtomicUsize);

struct Failure {
    forgotten: Instant,
    /// The handler that saw it; its failures go with it.
    seen_by: Weak<()>,
}

/// The state of one address, for the admin API.
#[derive(Debug, PartialEq, Eq)]
pub struct HostStatus {
    /// The address as the configuration writes it.
    pub address: String,
    /// Requests that have begun and not ended.
    pub in_flight: usize,
    /// Failures that still count.
    pub failures: usize,
}

/// The state of all addresses, in the order of their names.
pub fn statuses() -> Vec<HostStatus> {
    let hosts: Vec<_> = lock(&HOSTS).values().filter_map(Weak::upgrade).collect();
    let mut all: Vec<_> = hosts
        .iter()
        .map(|host| HostStatus {
            address: host.address.to_string(),
            in_flight: host.in_flight(),
            failures: host.failures(),
        })
        .collect();
    all.sort_by(|a, b| a.address.cmp(&b.address));
    all
}

impl Host {
    /// The host of this address, shared with all who ask for it.
    pub fn named(address: &str) -> Arc<Self> {
        let mut hosts = lock(&HOSTS);
        if let Some(host) = hosts.get(address).and_then(Weak::upgrade) {
            return host;
        }
        let host = Arc::new(Self {
            address: address.into(),
            in_flight: PerWorker::new(Arc::default),
            failures_len: AtomicUsize::new(0),
            failures: Mutex::default(),
        });
        hosts.insert(address.into(), Arc::downgrade(&host));
        host
    }

    /// Requests that have begun and not ended.
    pub fn in_flight(&self) -> usize {
        self.in_flight.iter().map(|count| count.0.load(Ordering::Relaxed)).sum()
    }

    /// Counts a request until the guard goes, and with it the request's right to a connection.
    pub fn begin(&self, permit: Option<Permit>) -> InFlight {
        let count = Arc::clone(self.in_flight.own());
        count.0.fetch_add(1, Ordering::Relaxed);
        InFlight { count, _permit: permit }
    }

    /// Failures that still count.
    pub fn failures(&self) -> usize {
        if self.failures_len.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let mut failures = lock(&self.failures);
        self.forget_old(&mut failures);
        failures.len()
    }

    /// Counts a failure until `forgotten`, or until the handler that saw it is gone.
    pub fn fail(&self, forgotten: Instant, seen_by: &Arc<()>) {
        let mut failures = lock(&self.failures);
        self.forget_old(&mut failures);
        if failures.len() < FAILURES_MAX {
            failures.push(Failure { forgotten, seen_by: Arc::downgrade(seen_by) });
        }
        self.failures_len.store(failures.len(), Ordering::Relaxed);
    }

    fn forget_old(&self, failures: &mut Vec<Failure>) {
        let now = Instant::now();
        failures.retain(|failure| failure.forgotten > now && failure.seen_by.strong_count() > 0);
        self.failures_len.store(failures.len(), Ordering::Relaxed);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let mut hosts = lock(&HOSTS);
        // Another one may have taken the name since.
        if hosts.get(&*self.address).is_some_and(|host| host.strong_count() == 0) {
            hosts.remove(&*self.address);
        }
    }
}

/// Counts one request for as long as it lives.
pub struct InFlight {
    count: Arc<Count>,
    _permit: Option<Permit>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The data behind a lock that no panic can leave half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn handlers_share_a_host_by_its_address() {
        let (a, b) = (Host::named("shared.test:1"), Host::named("shared.test:1"));
        let guard = a.begin(None);
        assert_eq!(b.in_flight(), 1);
        let status = HostStatus { address: "shared.test:1".into(), in_flight: 1, failures: 0 };
        assert!(statuses().contains(&status));
        drop((guard, a));
        assert_eq!(b.in_flight(), 0);
        drop(b);
        assert!(!statuses().iter().any(|status| status.address == "shared.test:1"));
    }

    #[test]
    fn failures_go_with_time_or_with_the_handler_that_saw_them() {
        let host = Host::named("failing.test:1");
        let (first, second) = (Arc::new(()), Arc::new(()));
        let later = Instant::now() + Duration::from_secs(3600);
        host.fail(later, &first);
        host.fail(later, &second);
        assert_eq!(host.failures(), 2);
        drop(second);
        assert_eq!(host.failures(), 1);
        host.fail(Instant::now(), &first);
        assert_eq!(host.failures(), 1);
    }

    #[test]
    fn failures_are_bounded() {
        let (host, handler) = (Host::named("bounded.test:1"), Arc::new(()));
        let later = Instant::now() + Duration::from_secs(3600);
        for _ in 0..FAILURES_MAX + 10 {
            host.fail(later, &handler);
        }
        assert_eq!(host.failures(), FAILURES_MAX);
    }
}
