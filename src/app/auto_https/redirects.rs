//! Redirects from HTTP to HTTPS.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{AutoHttpsError, HTTP_PORT, HTTPS_PORT, Ports, first_host};
use crate::config::http::{self, HANDLER_TAG, Route, Server, ServerLogs};
use crate::config::{ModuleJson, NetworkAddress};

/// The server of those redirects for whose address the user has no server.
const SERVER_NAME: &str = "remaining_auto_https_redirects";

/// Where the clients of each host are to go.
pub(super) struct Redirects {
    ports: Ports,
    /// By host; an empty one stands for all.
    to: BTreeMap<String, Vec<NetworkAddress>>,
}

impl Redirects {
    pub(super) fn new(ports: Ports) -> Self {
        Self { ports, to: BTreeMap::new() }
    }

    /// Notes where a server's hosts are served; without hosts, it serves all.
    pub(super) fn add(
        &mut self,
        name: &str,
        server: &Server,
        hosts: &BTreeSet<String>,
    ) -> Result<(), AutoHttpsError> {
        for text in &server.listen {
            let address: NetworkAddress =
                text.parse().map_err(|source| AutoHttpsError::Address { server: name.to_owned(), source })?;
            if hosts.is_empty() {
                self.note("", &address);
            }
            hosts.iter().for_each(|host| self.note(host, &address));
        }
        Ok(())
    }

    /// A host is redirected to one port: the HTTPS port if it is served there, else the first one. Of
    /// that port, all addresses count.
    fn note(&mut self, host: &str, address: &NetworkAddress) {
        let known = self.to.entry(host.to_owned()).or_default();
        match known.first().map(|first| first.start_port) {
            Some(port) if port == address.start_port => {
                if !known.contains(address) {
                    known.push(address.clone());
                }
            }
            Some(_) if address.start_port != self.ports.https => {}
            _ => *known = vec![address.clone()],
        }
    }

    /// Puts the redirects where requests come by HTTP: into the servers that listen there, or a new one.
    ///
    /// A user's server gets those for hosts only if some names need certificates (`by_host`), else its
    /// own routes come first. Every server in which there are redirects also redirects unknown hosts.
    pub(super) fn insert(self, app: &mut http::App, by_host: bool, logs: Option<ServerLogs>) {
        let mut remaining = (Vec::new(), Vec::new());
        for (address, mut routes) in self.routes() {
            routes.sort_by(|a, b| specificity(a).cmp(&specificity(b)));
            match app.servers.values_mut().find(|server| listens_on(server, &address)) {
                Some(server) => {
                    if by_host {
                        let at = after_last_host(&server.routes);
                        server.routes.splice(at..at, routes);
                    }
                    server.routes.push(redirect(self.ports, self.ports.https, &[]));
                }
                None => {
                    remaining.0.push(address.to_string());
                    remaining.1.extend(routes);
                }
            }
        }
        let (listen, mut routes) = remaining;
        if listen.is_empty() {
            return;
        }
        routes.push(redirect(self.ports, self.ports.https, &[]));
        let server = Server { listen, routes, logs, ..Server::default() };
        app.servers.insert(SERVER_NAME.to_owned(), server);
    }

    /// The routes for each address at which requests come by HTTP, in the order of the addresses.
    fn routes(&self) -> Vec<(NetworkAddress, Vec<Route>)> {
        let mut hosts_by_address: BTreeMap<String, (&NetworkAddress, Vec<&str>)> = BTreeMap::new();
        for (host, addresses) in &self.to {
            for address in addresses {
                hosts_by_address.entry(address.to_string()).or_insert((address, Vec::new())).1.push(host);
            }
        }
        let mut routes: BTreeMap<String, (NetworkAddress, Vec<Route>)> = BTreeMap::new();
        for (address, hosts) in hosts_by_address.into_values() {
            let by_http =
                NetworkAddress { start_port: self.ports.http, end_port: self.ports.http, ..address.clone() };
            let hosts = if hosts == [""] { Vec::new() } else { hosts };
            let entry = routes.entry(by_http.to_string()).or_insert((by_http, Vec::new()));
            entry.1.push(redirect(self.ports, address.start_port, &hosts));
        }
        routes.into_values().collect()
    }
}

/// A route that sends the clients of `hosts` to `port`; no hosts means all.
fn redirect(ports: Ports, port: u16, hosts: &[&str]) -> Route {
    // The configured HTTPS port is how this machine calls the standard one; what clients call it is
    // another matter, and most likely the standard.
    let standard = [ports.http, ports.https, HTTP_PORT, HTTPS_PORT].contains(&port);
    let port = if standard { String::new() } else { format!(":{port}") };
    let location = format!("https://{{http.request.host}}{port}{{http.request.uri}}");
    let mut matchers = http::MatcherSet::new();
    matchers.insert("protocol".into(), json!("http"));
    if !hosts.is_empty() {
        matchers.insert("host".into(), json!(hosts));
    }
    let answer = json!({"status_code": 308, "headers": {"Location": [location]}, "close": true});
    Route {
        matcher_sets: vec![matchers],
        handle: vec![ModuleJson::new(HANDLER_TAG, "static_response", &answer)],
        ..Route::default()
    }
}

/// Exact hosts before wildcards, long ones before short ones, all others last.
fn specificity(route: &Route) -> (bool, bool, Reverse<usize>, &str) {
    let host = first_host(route).unwrap_or_default();
    (host.is_empty(), host.contains('*'), Reverse(host.len()), host)
}

/// Whether a server listens on this address, or on one that Linux takes for the same: one of every
/// interface collides with one of a single interface.
fn listens_on(server: &Server, address: &NetworkAddress) -> bool {
    let mut listens = server.listen.iter().filter_map(|text| text.parse::<NetworkAddress>().ok());
    listens.any(|other| {
        other.network == address.network
            && (other.host == address.host || other.host.is_empty() || address.host.is_empty())
            && !other.uses_other_port_than(address.start_port)
    })
}

/// The place behind the last route that asks for hosts; the front if none does.
fn after_last_host(routes: &[Route]) -> usize {
    let has_host = |route: &Route| route.matcher_sets.iter().any(|set| set.contains_key("host"));
    routes.iter().rposition(has_host).map_or(0, |last| last + 1)
}
