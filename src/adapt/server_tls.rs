//! How a server speaks TLS: its connection policies, and whether it does so at all.

use std::collections::HashSet;

use serde_json::json;

use super::site::SiteAt;
use super::site_address::SiteAddress;
use super::{Error, Options, connection_policies};
use crate::config::NetworkAddress;
use crate::config::http::{AutoHttps, Server};
use crate::config::subject::matches_wildcard;
use crate::config::tls::{ConnectionPolicy, HandshakeMatchers};

/// The matcher of a handshake's server name.
const SNI: &str = "sni";

/// What the sites of a server mean for its TLS, while they are gone through.
pub(super) struct TlsState {
    has_catch_all_policy: bool,
    qualifies: bool,
    /// Whether automatic HTTPS will add a connection policy at run time.
    auto_adds_policy: bool,
    /// Names whose site asks for nothing special, with the sites that have such names.
    plain_names: Vec<Vec<String>>,
    /// The hosts that automatic HTTPS leaves out.
    skipped: HashSet<String>,
}

impl TlsState {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            has_catch_all_policy: false,
            qualifies: false,
            auto_adds_policy: !server.automatic_https.as_ref().is_some_and(|auto| auto.disable),
            plain_names: Vec::new(),
            skipped: HashSet::new(),
        }
    }

    /// Takes in a site. `hosts` are its hosts, none if it is there for all.
    pub(super) fn add_site(
        &mut self,
        site: &SiteAt,
        hosts: &mut Vec<String>,
        server: &mut Server,
        options: &Options,
    ) {
        self.add_policies(site, hosts, server, options);
        let has_policies = !site.pile.tls.connection_policies.is_empty();
        let (http_port, https_port) = (options.http_port().to_string(), options.https_port().to_string());
        let has_other_port = uses_other_port_than(&server.listen, options.http_port());
        for address in &site.addresses {
            if has_other_port && address.scheme == "http" && !address.host.is_empty() {
                let auto = server.automatic_https.get_or_insert_with(AutoHttps::default);
                if self.skipped.insert(address.host.clone()) {
                    auto.skip.push(address.host.clone());
                }
            }
            let has_tls = has_policies || !address.host.is_empty() && !self.skipped.contains(&address.host);
            self.qualifies |=
                address.scheme == "https" || address.scheme != "http" && address.port != http_port && has_tls;
            self.auto_adds_policy &=
                address.port == https_port || address.port != http_port && !address.host.is_empty();
        }
    }

    fn add_policies(
        &mut self,
        site: &SiteAt,
        hosts: &mut Vec<String>,
        server: &mut Server,
        options: &Options,
    ) {
        let forced = site.pile.tls.force_automate && !hosts.is_empty();
        for said in &site.pile.tls.connection_policies {
            let mut policy = said.clone();
            for host in hosts.clone() {
                if host == options.default_sni {
                    hosts.push(String::new());
                    policy.default_sni.clone_from(&options.default_sni);
                    break;
                }
                if host == options.fallback_sni {
                    hosts.push(String::new());
                    policy.fallback_sni.clone_from(&options.fallback_sni);
                    break;
                }
            }
            if hosts.is_empty() {
                policy.default_sni.clone_from(&options.default_sni);
                policy.fallback_sni.clone_from(&options.fallback_sni);
            } else {
                hosts.sort();
                policy.matchers = sni(hosts);
            }
            // A policy that says nothing is needed only to keep a name's automated certificate above one that was
            // loaded for a wildcard.
            if !connection_policies::is_empty(&policy) || forced {
                server.tls_connection_policies.push(policy);
                self.has_catch_all_policy = hosts.is_empty();
            } else if !hosts.is_empty() {
                self.plain_names.push(hosts.clone());
            }
        }
        if site.pile.tls.connection_policies.is_empty() {
            let mut specific: Vec<String> =
                hosts.iter().filter(|host| !host.is_empty() && !host.contains('*')).cloned().collect();
            specific.sort();
            if !specific.is_empty() {
                self.plain_names.push(specific);
            }
        }
    }

    /// Completes the policies, when all sites are taken in.
    ///
    /// # Errors
    /// Two of them contradict each other.
    pub(super) fn finish(self, index: usize, server: &mut Server, options: &Options) -> Result<(), Error> {
        shield_plain_names(&self.plain_names, &mut server.tls_connection_policies);
        let policies = &mut server.tls_connection_policies;
        let has_sni = !options.default_sni.is_empty() || !options.fallback_sni.is_empty();
        // If there are policies for some names, there must be one for the others, too.
        if self.qualifies
            && !self.has_catch_all_policy
            && (!policies.is_empty() || !self.auto_adds_policy || has_sni)
        {
            policies.push(ConnectionPolicy {
                default_sni: options.default_sni.clone(),
                fallback_sni: options.fallback_sni.clone(),
                ..ConnectionPolicy::default()
            });
        }
        connection_policies::consolidate(policies).map_err(|error| {
            Error::new(format!("consolidating TLS connection policies for server {index}: {error}"))
        })
    }
}

fn sni(hosts: &[String]) -> HandshakeMatchers {
    HandshakeMatchers::from_iter([(SNI.to_owned(), json!(hosts))])
}

/// The names that a policy is for, if it is for certain names.
fn sni_names(policy: &ConnectionPolicy) -> Vec<&str> {
    let names = policy.matchers.get(SNI).and_then(serde_json::Value::as_array);
    names.into_iter().flatten().filter_map(serde_json::Value::as_str).collect()
}

/// Puts a copy without client authentication before each policy that would demand it of a more specific name whose
/// site doesn't.
fn shield_plain_names(plain_names: &[Vec<String>], policies: &mut Vec<ConnectionPolicy>) {
    let mut shielded: Vec<Vec<String>> = vec![Vec::new(); policies.len()];
    for name in plain_names.iter().flatten() {
        let covering = policies.iter().position(|policy| {
            policy.client_authentication.is_some()
                && sni_names(policy)
                    .iter()
                    .any(|wildcard| wildcard.contains('*') && matches_wildcard(name, wildcard))
        });
        if let Some(at) = covering {
            shielded[at].push(name.clone());
        }
    }
    for (at, mut names) in shielded.into_iter().enumerate().rev() {
        if names.is_empty() {
            continue;
        }
        names.sort();
        names.dedup();
        let shield =
            ConnectionPolicy { client_authentication: None, matchers: sni(&names), ..policies[at].clone() };
        policies.insert(at, shield);
    }
}

/// Whether a listener has another port than this one.
pub(super) fn uses_other_port_than(listen: &[String], port: u16) -> bool {
    listen
        .iter()
        .filter_map(|address| address.parse::<NetworkAddress>().ok())
        .any(|address| address.uses_other_port_than(port))
}

/// A server speaks either HTTP or HTTPS, not both.
pub(super) fn refuse_conflicting_schemes(
    server: &Server,
    sites: &[SiteAt],
    options: &Options,
) -> Result<(), Error> {
    let (http_port, https_port) = (options.http_port().to_string(), options.https_port().to_string());
    let listen = server.listen.join(" ");
    let has_policies = !server.tls_connection_policies.is_empty();
    let mut speaks_https = None;
    for (key, address) in sites.iter().flat_map(|site| site.key_tokens.iter().zip(&site.addresses)) {
        let SiteAddress { scheme, host, port, original, .. } = address;
        let https = if scheme == "http" || *port == http_port {
            false
        } else if scheme == "https" || *port == https_port || has_policies {
            true
        } else if host.is_empty() {
            false
        } else {
            continue;
        };
        let message = match (https, speaks_https) {
            (false, Some(true)) => {
                let hint = if scheme.is_empty() && host.is_empty() {
                    " (try specifying https:// in the address)"
                } else {
                    ""
                };
                format!(
                    "server listening on [{listen}] is configured for HTTPS and cannot natively multiplex HTTP and \
                     HTTPS: {original}{hint}"
                )
            }
            (true, Some(false)) => format!(
                "server listening on [{listen}] is configured for HTTP and cannot natively multiplex HTTP and HTTPS: \
                 {original}"
            ),
            (false, _) if has_policies => format!(
                "server listening on [{listen}] is HTTP, but attempts to configure TLS connection policies"
            ),
            _ => {
                speaks_https = Some(https);
                continue;
            }
        };
        return Err(Error::at_unnamed(key, message));
    }
    Ok(())
}
