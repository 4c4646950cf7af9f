//! Automatic HTTPS: which names get certificates, which servers speak TLS though nobody said so, and
//! the redirects from HTTP. It changes a configuration before that is built, so that what runs knows
//! nothing of it.

mod redirects;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::config::http::{self, AutoHttps, Server};
use crate::config::subject::{
    is_ip, is_tailscale, matches_wildcard, qualifies_for_certificate, qualifies_for_public_certificate,
};
use crate::config::tls::{self, Automation, AutomationPolicy, ConnectionPolicy};
use crate::config::{AddressError, NetworkAddress, ascii_host};
use crate::http::{Part, Template, Unknown};
use crate::tls::{internal_policy, tailscale_manager};

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Why automatic HTTPS can't be worked out.
#[derive(Debug, thiserror::Error)]
pub enum AutoHttpsError {
    /// A listener's address makes no sense.
    #[error("{server}: invalid listener address: {source}")]
    Address {
        /// The server's name.
        server: String,
        /// What is wrong.
        source: AddressError,
    },
    /// A host name that is to come from elsewhere is empty.
    #[error("{server}: route {route}: host matcher: evaluated placeholder {placeholder} is empty")]
    EmptyHost {
        /// The server's name.
        server: String,
        /// The route's index.
        route: usize,
        /// The placeholder as written.
        placeholder: String,
    },
}

/// Works automatic HTTPS into a configuration, and returns the names that need certificates.
///
/// `has_certificate` says whether one is loaded for a name.
///
/// # Errors
/// [`AutoHttpsError`] with the server's name.
pub fn apply(
    http: &mut http::App,
    tls: &mut Option<tls::App>,
    has_certificate: &dyn Fn(&str) -> bool,
) -> Result<BTreeSet<String>, AutoHttpsError> {
    let ports = Ports::of(http);
    let mut names = BTreeSet::new();
    let mut redirects = redirects::Redirects::new(ports);
    // Log settings for redirects where no server of the user's listens; any will do, as in Caddy.
    let mut logs = None;
    let mut all_disabled = true;
    for (name, server) in &mut http.servers {
        let settings = server.automatic_https.clone().unwrap_or_default();
        if settings.disable || !uses_other_port_than(server, ports.http) {
            continue;
        }
        all_disabled = false;
        if server.tls_connection_policies.is_empty() && !uses_other_port_than(server, ports.https) {
            server.tls_connection_policies.push(ConnectionPolicy::default());
        }
        let hosts = hosts(name, server, &settings)?;
        if hosts.is_empty() && server.tls_connection_policies.is_empty() {
            continue;
        }
        logs = server.logs.clone().or(logs);
        names.extend(needing_certificates(&hosts, &settings, has_certificate).cloned());
        if server.tls_connection_policies.is_empty() {
            server.tls_connection_policies.push(ConnectionPolicy::default());
        }
        if !settings.disable_redirects {
            redirects.add(name, server, &hosts)?;
        }
    }
    if all_disabled && names.is_empty() {
        return Ok(names);
    }
    assign_names(&mut names, tls);
    redirects.insert(http, !names.is_empty(), logs);
    Ok(names)
}

/// The ports that stand for HTTP and HTTPS.
#[derive(Clone, Copy, Debug)]
struct Ports {
    http: u16,
    https: u16,
}

impl Ports {
    fn of(app: &http::App) -> Self {
        let or = |port, default| if port == 0 { default } else { port };
        Self { http: or(app.http_port, HTTP_PORT), https: or(app.https_port, HTTPS_PORT) }
    }
}

/// Whether one of the server's listeners is on another port than this one.
fn uses_other_port_than(server: &Server, port: u16) -> bool {
    let addresses = server.listen.iter().filter_map(|text| text.parse::<NetworkAddress>().ok());
    addresses.into_iter().any(|address| address.uses_other_port_than(port))
}

/// The hosts that the server's routes ask for, without those that shall be left alone.
fn hosts(name: &str, server: &Server, settings: &AutoHttps) -> Result<BTreeSet<String>, AutoHttpsError> {
    let mut hosts = BTreeSet::new();
    for (index, route) in server.routes.iter().enumerate() {
        for host in route.matcher_sets.iter().filter_map(|set| set.get("host")?.as_array()).flatten() {
            let host = expand(host.as_str().unwrap_or_default()).map_err(|placeholder| {
                AutoHttpsError::EmptyHost { server: name.to_owned(), route: index, placeholder }
            })?;
            if !settings.skip.contains(&host) {
                // As handshakes, certificates and Host fields have it.
                hosts.insert(ascii_host(&host));
            }
        }
    }
    Ok(hosts)
}

/// `text` with the placeholders that have a value now; the error is one whose value is empty.
fn expand(text: &str) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let template = Template::compile(text, Unknown::Keep);
    for part in template.parts() {
        match part {
            Part::Literal(literal) => expanded.push_str(literal),
            Part::Known(value) if value.is_empty() => return Err(text.to_owned()),
            Part::Known(value) => expanded.push_str(&String::from_utf8_lossy(value)),
            Part::Dynamic(_, written) => expanded.push_str(written),
        }
    }
    Ok(expanded)
}

/// Those of `hosts` that are to get certificates.
fn needing_certificates<'a>(
    hosts: &'a BTreeSet<String>,
    settings: &'a AutoHttps,
    has_certificate: &'a dyn Fn(&str) -> bool,
) -> impl Iterator<Item = &'a String> {
    hosts.iter().filter(move |host| {
        !settings.disable_certificates
            && qualifies_for_certificate(host)
            && !settings.skip_certificates.contains(host)
            && (settings.ignore_loaded_certificates || !has_certificate(host))
    })
}

/// Names that no policy claims by name and that are no public authority's: those that none certifies are for our own,
/// and those of Tailscale's for its client on this machine, which has them ready at handshakes. Everything else about
/// them is as the default policy says.
fn assign_names(names: &mut BTreeSet<String>, tls: &mut Option<tls::App>) {
    let policies = tls.iter().flat_map(|tls| &tls.automation).flat_map(|automation| &automation.policies);
    let policies: Vec<&AutomationPolicy> = policies.collect();
    let claimed = |name: &String| {
        policies.iter().flat_map(|policy| &policy.subjects).any(|subject| ascii_host(subject) == *name)
    };
    // No issuer that is taken for granted certifies addresses.
    let is_internal =
        |name: &String| !qualifies_for_public_certificate(name) || policies.is_empty() && is_ip(name);
    let unclaimed = names.iter().filter(|name| !claimed(name));
    let (of_tailscale, others): (Vec<&String>, Vec<&String>) = unclaimed.partition(|name| is_tailscale(name));
    let of_tailscale: Vec<String> = of_tailscale.into_iter().cloned().collect();
    let internal: Vec<String> = others.into_iter().filter(|name| is_internal(name)).cloned().collect();
    let base = policies.iter().find(|policy| policy.subjects.is_empty());
    let base = base.map(|base| (*base).clone()).unwrap_or_default();
    let mut add = |policy: AutomationPolicy| {
        if !policy.subjects.is_empty() {
            insert_policy(tls.get_or_insert_default().automation.get_or_insert_default(), policy);
        }
    };
    let issuers = internal_policy().issuers;
    add(AutomationPolicy { subjects: internal, issuers, ..base.clone() });
    names.retain(|name| !of_tailscale.contains(name));
    let mut managers = base.get_certificate.clone();
    managers.push(tailscale_manager());
    add(AutomationPolicy { subjects: of_tailscale, issuers: Vec::new(), get_certificate: managers, ..base });
}

/// Puts a policy before the first one that is more general, which would else count for its names.
fn insert_policy(automation: &mut Automation, policy: AutomationPolicy) {
    let covers = |existing: &AutomationPolicy| {
        existing.subjects.iter().any(|other| policy.subjects.iter().any(|name| matches_wildcard(name, other)))
    };
    let is_more_general =
        |existing: &AutomationPolicy| covers(existing) || existing.subjects.len() < policy.subjects.len();
    let at = automation.policies.iter().position(is_more_general).unwrap_or(automation.policies.len());
    automation.policies.insert(at, policy);
}

/// Whether a value is a matcher set's list of hosts.
fn first_host(route: &http::Route) -> Option<&str> {
    let mut hosts = route.matcher_sets.iter().filter_map(|set| set.get("host").and_then(Value::as_array));
    hosts.find_map(|hosts| hosts.first()?.as_str())
}
