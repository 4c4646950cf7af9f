//! Requests counted by server and route, for Prometheus.
//!
//! A configuration that does not ask for it has none of this: only routes that are to be counted get a
//! [`Meter`] before their handlers. On the way a request costs a few atomic additions, and no lock.

mod request;
mod series;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;

use request::Meter;
pub use request::Metered;
use series::Series;

use crate::config::http::{App, Metrics, Route, Server};
use crate::metrics::{Collector, Snapshot};

/// The label of requests to hosts that are not told apart.
const OTHER: &str = "_other";
/// So many hosts are told apart; further ones are others.
const HOSTS_MAX: usize = 1000;

/// What is to be counted in a configuration, and what has been.
pub struct HttpMetrics {
    /// The hosts to tell apart, if any are.
    hosts: Option<Hosts>,
    counts: std::sync::Mutex<Vec<Arc<RouteCounts>>>,
}

struct Hosts {
    named: BTreeSet<Box<str>>,
    /// Others too, whatever the client calls them.
    takes_all: bool,
    /// The same, for requests over TLS.
    takes_all_tls: bool,
}

impl HttpMetrics {
    /// What `app` asks for.
    pub fn new(app: &App) -> Option<Arc<Self>> {
        let of_servers = app.servers.values().filter_map(|server| server.metrics.as_ref());
        let per_host = of_servers.clone().any(|metrics| metrics.per_host);
        let metrics = app.metrics.as_ref().or(of_servers.clone().next())?;
        let metrics = Metrics { per_host: metrics.per_host || per_host, ..metrics.clone() };
        let hosts = metrics.per_host.then(|| Hosts {
            named: app.servers.values().flat_map(named_hosts).collect(),
            takes_all: metrics.observe_catchall_hosts,
            takes_all_tls: app.servers.values().any(|server| !server.tls_connection_policies.is_empty()),
        });
        Some(Arc::new(Self { hosts, counts: std::sync::Mutex::default() }))
    }

    /// What goes before the handlers of a server's route to count its requests.
    pub(super) fn meter(&self, server: &str, route: &Route) -> Meter {
        let handler = route.handle.first().and_then(|handler| handler.0.get("handler"));
        let handler = handler.and_then(|name| name.as_str()).unwrap_or_default();
        let mut all = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = all.iter().find(|counts| *counts.server == *server && *counts.handler == *handler);
        let counts = known.cloned().unwrap_or_else(|| {
            let counts = Arc::new(RouteCounts::new(server, handler, self.hosts.as_ref()));
            all.push(counts.clone());
            counts
        });
        Meter::new(counts)
    }
}

/// The hosts that a server's routes name, without wildcards.
fn named_hosts(server: &Server) -> impl Iterator<Item = Box<str>> {
    let sets = server.routes.iter().flat_map(|route| &route.matcher_sets);
    let hosts = sets.filter_map(|set| set.get("host")).filter_map(|hosts| hosts.as_array()).flatten();
    let hosts = hosts.filter_map(|host| host.as_str()).filter(|host| !host.contains(['*', '{']));
    hosts.map(|host| host.to_lowercase().into())
}

/// What is counted of a server's routes that begin with the same kind of handler.
pub(super) struct RouteCounts {
    server: Box<str>,
    handler: Box<str>,
    /// All of it, or that of hosts that are not told apart.
    other: Arc<Series>,
    hosts: Option<ByHost>,
}

struct ByHost {
    series: ArcSwap<HashMap<Box<str>, Arc<Series>>>,
    takes_all: bool,
    takes_all_tls: bool,
}

impl RouteCounts {
    fn new(server: &str, handler: &str, hosts: Option<&Hosts>) -> Self {
        let hosts = hosts.map(|hosts| ByHost {
            series: ArcSwap::from_pointee(
                hosts.named.iter().map(|host| (host.clone(), Arc::default())).collect(),
            ),
            takes_all: hosts.takes_all,
            takes_all_tls: hosts.takes_all_tls,
        });
        Self { server: server.into(), handler: handler.into(), other: Arc::default(), hosts }
    }

    /// Where a request to `host` is counted.
    pub(super) fn of(&self, host: &str, is_tls: bool) -> Arc<Series> {
        let Some(by_host) = &self.hosts else { return self.other.clone() };
        let host = host.to_ascii_lowercase();
        let known = by_host.series.load();
        if let Some(series) = known.get(&*host) {
            return series.clone();
        }
        let takes = by_host.takes_all || by_host.takes_all_tls && is_tls;
        if !takes || known.len() >= HOSTS_MAX {
            return self.other.clone();
        }
        // Several workers may meet a new host at once; one of them makes its series.
        by_host.series.rcu(|known| {
            let mut more = HashMap::clone(known);
            more.entry(host.clone().into()).or_default();
            more
        });
        by_host.series.load().get(&*host).unwrap_or(&self.other).clone()
    }
}

impl Collector for HttpMetrics {
    fn collect(&self, into: &mut Snapshot) {
        let all = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        for counts in &all {
            let (server, handler) = (&*counts.server, &*counts.handler);
            let Some(by_host) = &counts.hosts else {
                counts.other.collect(into, server, handler, None);
                continue;
            };
            counts.other.collect(into, server, handler, Some(OTHER));
            for (host, series) in &**by_host.series.load() {
                series.collect(into, server, handler, Some(host));
            }
        }
    }
}

#[cfg(test)]
mod tests;
