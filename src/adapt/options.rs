//! The global options, as they were said.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Bind, NamedLog};
use crate::config::{Admin, Duration, ModuleJson, http, pki, tls};

/// The global options. What is not said is empty.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `debug`
    pub debug: bool,
    /// `http_port`
    pub http_port: Option<u16>,
    /// `https_port`
    pub https_port: Option<u16>,
    /// `default_bind`, each time it was said
    pub default_bind: Vec<Bind>,
    /// `grace_period`
    pub grace_period: Duration,
    /// `shutdown_delay`
    pub shutdown_delay: Duration,
    /// `default_sni`
    pub default_sni: String,
    /// `fallback_sni`
    pub fallback_sni: String,
    /// The order of directives: the default one, changed by each `order`.
    pub order: Vec<&'static str>,
    /// `storage`
    pub storage: Option<ModuleJson>,
    /// `storage_check off`
    pub storage_check_off: bool,
    /// `storage_clean_interval`
    pub storage_clean: Option<StorageClean>,
    /// `renew_interval`
    pub renew_interval: Duration,
    /// `ocsp_interval`
    pub ocsp_interval: Duration,
    /// `acme_ca`
    pub acme_ca: Option<String>,
    /// `acme_ca_root`
    pub acme_ca_root: Option<String>,
    /// `acme_dns`; the inner `None` means the provider of `dns`
    pub acme_dns: Option<Option<ModuleJson>>,
    /// `acme_eab`
    pub acme_eab: Option<tls::ExternalAccount>,
    /// `cert_issuer`, each time it was said
    pub cert_issuers: Vec<ModuleJson>,
    /// `skip_install_trust`
    pub skip_install_trust: bool,
    /// `email`
    pub email: Option<String>,
    /// `admin`
    pub admin: Option<Admin>,
    /// `on_demand_tls`
    pub on_demand_tls: Option<tls::OnDemand>,
    /// `local_certs`
    pub local_certs: bool,
    /// `key_type`
    pub key_type: Option<String>,
    /// `auto_https`
    pub auto_https: Vec<AutoHttpsOption>,
    /// `metrics`
    pub metrics: Option<http::Metrics>,
    /// `servers`, each time it was said
    pub servers: Vec<ServerOptions>,
    /// `ocsp_stapling off`
    pub ocsp_stapling_off: bool,
    /// `cert_lifetime`
    pub cert_lifetime: Option<Duration>,
    /// `log`, each time it was said
    pub logs: Vec<NamedLog>,
    /// `preferred_chains`
    pub preferred_chains: Option<tls::ChainPreference>,
    /// `persist_config off`
    pub persist_config_off: bool,
    /// `dns`
    pub dns: Option<ModuleJson>,
    /// `tls_resolvers`
    pub tls_resolvers: Vec<String>,
    /// `ech`
    pub ech: Option<tls::Ech>,
    /// `renewal_window_ratio`
    pub renewal_window_ratio: Option<f64>,
    /// `pki`
    pub pki: Option<pki::Pki>,
    /// Whole apps that options ask for, by name.
    pub apps: BTreeMap<String, Value>,
}

/// `storage_clean_interval`
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StorageClean {
    /// Never.
    Off,
    /// That often.
    Every(Duration),
}

/// A word of `auto_https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoHttpsOption {
    /// `off`
    Off,
    /// `disable_redirects`
    DisableRedirects,
    /// `disable_certs`
    DisableCerts,
    /// `ignore_loaded_certs`
    IgnoreLoadedCerts,
}

/// `servers`: what some servers, or all others, are like.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// The listener's address of the servers that are meant; empty means all.
    pub listener_address: String,
    /// The server's name.
    pub name: String,
    /// The fields that the options set. The others are empty and don't count.
    pub server: http::Server,
    /// `log_credentials`
    pub log_credentials: bool,
    /// `trace`
    pub trace: bool,
}

impl Options {
    /// The port of plain HTTP.
    pub fn http_port(&self) -> u16 {
        self.http_port.unwrap_or(80)
    }

    /// The port of HTTPS.
    pub fn https_port(&self) -> u16 {
        self.https_port.unwrap_or(443)
    }

    /// Whether `auto_https` says so.
    pub fn auto_https(&self, word: AutoHttpsOption) -> bool {
        self.auto_https.contains(&word)
    }
}
