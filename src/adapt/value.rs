//! What directives say.

use std::rc::Rc;

use serde_json::Value;

use super::outline::Written;
use crate::config::http::{Route, Subroute};
use crate::config::logging::CustomLog;
use crate::config::{ModuleJson, pki, tls};

/// One thing that a directive says. The adapter collects them by site, and puts each in its place.
#[derive(Clone, Debug)]
pub enum ConfigValue {
    /// A route, to be sorted among those of the other directives.
    Route(Route),
    /// Routes that stay together and in this order.
    Routes(Vec<Route>),
    /// Routes for errors.
    ErrorRoutes(Subroute),
    /// Where the site listens.
    Bind(Bind),
    /// An access log.
    Log(NamedLog),
    /// A certificate authority that must exist, by its id.
    CertificateAuthority(String, pki::Ca),
    /// Something for `tls.certificates`: the loader's name, and a JSON list that is appended to the others' lists.
    CertificateLoader(&'static str, Vec<Value>),
    /// Who issues the site's certificates; a module of `tls.issuance`.
    CertificateIssuer(ModuleJson),
    /// Who has certificates at handshakes; a module of `tls.get_certificate`.
    CertificateManager(ModuleJson),
    /// The kind of keys for the site's certificates.
    KeyType(String),
    /// Certificates are got at the first handshake.
    OnDemand,
    /// Renewing a certificate keeps its key.
    ReusePrivateKeys,
    /// The share of a lifetime that is left when a certificate is renewed.
    RenewalWindowRatio(f64),
    /// Each name gets a certificate, even if a wildcard would do.
    ForceAutomate,
    /// How TLS is spoken.
    ConnectionPolicy(Box<tls::ConnectionPolicy>),
}

/// Addresses to listen on, and the protocols spoken there; none means the default ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bind {
    /// Hosts, networks with hosts, or unix sockets. The port is the site's.
    pub addresses: Vec<String>,
    /// `h1`, `h2`, `h2c`, `h3`.
    pub protocols: Vec<String>,
}

/// A log, or for a site block the wish to have its requests logged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamedLog {
    /// The log's name; empty if the default log is meant.
    pub name: String,
    /// The hosts whose requests go there, if other than the site's.
    pub hostnames: Vec<String>,
    /// What it is, or `None` if nothing was said of it.
    pub log: Option<CustomLog>,
    /// Whether no host's requests go there but those that name it.
    pub no_hostname: bool,
}

/// A value with the directive that said it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) directive: &'static str,
    pub(super) value: ConfigValue,
    /// The directive as it was written, if somebody wants to know.
    pub(super) written: Option<Rc<Written>>,
}
