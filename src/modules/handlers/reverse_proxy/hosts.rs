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

/// Every address that a running configuration proxies to, or that requests are still in flight to, by the
/// address as it was written.
static HOSTS: LazyLock<Mutex<HashMap<Box<str>, Entry>>> = LazyLock::new(Mutex::default);

/// What is known under an address.
struct Entry {
    host: Weak<Host>,
    in_flight: Arc<Counts>,
}

/// How many requests the workers have begun that have not ended.
type Counts = PerWorker<Count>;

/// So many addresses are known before those that are over are looked for.
const ENTRIES_MIN: usize = 64;

/// How many addresses were left when those that were over had been looked for last.
static LEFT_LOOKED_FOR: AtomicUsize = AtomicUsize::new(ENTRIES_MIN);

impl Entry {
    /// Whether nobody proxies there any more, and no request is in flight.
    fn is_over(&self) -> bool {
        self.host.strong_count() == 0 && sum(&self.in_flight) == 0
    }
}

fn sum(counts: &Counts) -> usize {
    counts.iter().map(|count| count.0.load(Ordering::Relaxed)).sum()
}

/// One upstream address.
pub struct Host {
    address: Box<str>,
    in_flight: Arc<Counts>,
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
    // Hosts are let go behind the lock, which they need for that.
    let mut hosts = Vec::new();
    let mut all = Vec::new();
    for (address, entry) in &*lock(&HOSTS) {
        let (host, in_flight) = (entry.host.upgrade(), sum(&entry.in_flight));
        if host.is_some() || in_flight > 0 {
            all.push(HostStatus { address: address.to_string(), in_flight, failures: 0 });
            hosts.push(host);
        }
    }
    for (status, host) in all.iter_mut().zip(hosts) {
        status.failures = host.map_or(0, |host| host.failures());
    }
    all.sort_by(|a, b| a.address.cmp(&b.address));
    all
}

impl Host {
    /// The host of this address, shared with all who ask for it.
    pub fn named(address: &str) -> Arc<Self> {
        let mut hosts = lock(&HOSTS);
        let entry = hosts.get(address);
        if let Some(host) = entry.and_then(|entry| entry.host.upgrade()) {
            return host;
        }
        let in_flight = entry.map(|entry| entry.in_flight.clone()).unwrap_or_default();
        let host = Arc::new(Self {
            address: address.into(),
            in_flight: in_flight.clone(),
            failures_len: AtomicUsize::new(0),
            failures: Mutex::default(),
        });
        hosts.insert(address.into(), Entry { host: Arc::downgrade(&host), in_flight });
        host
    }

    /// Requests that have begun and not ended.
    pub fn in_flight(&self) -> usize {
        sum(&self.in_flight)
    }

    /// Counts a request until the guard goes, and with it the request's right to a connection.
    pub fn begin(&self, permit: Option<Permit>) -> InFlight {
        let count = Arc::clone(self.in_flight.own(Count::default));
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
        if hosts.get(&*self.address).is_some_and(Entry::is_over) {
            hosts.remove(&*self.address);
        }
        // Requests in flight outlive their host, and count for the next one of its name. What they leave is
        // looked for when there is much that may be left.
        if hosts.len() >= 2 * LEFT_LOOKED_FOR.load(Ordering::Relaxed) {
            hosts.retain(|_, entry| !entry.is_over());
            LEFT_LOOKED_FOR.store(hosts.len().max(ENTRIES_MIN), Ordering::Relaxed);
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
    fn requests_in_flight_count_for_the_next_host_of_the_name() {
        let host = Host::named("left.test:1");
        let guard = host.begin(None);
        drop(host);
        assert!(statuses().iter().any(|status| status.address == "left.test:1" && status.in_flight == 1));
        assert_eq!(Host::named("left.test:1").in_flight(), 1);
        drop(guard);
        assert_eq!(Host::named("left.test:1").in_flight(), 0);
        assert!(!statuses().iter().any(|status| status.address == "left.test:1"));
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
