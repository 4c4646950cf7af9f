//! `apps.tls`: certificates and how they are got; and how servers speak TLS.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Duration, ModuleJson, Secret, is_default, schema};

/// The tag under which an issuer's name stands.
pub const ISSUER_TAG: &str = "module";

/// The TLS app (<https://caddyserver.com/docs/json/apps/tls/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "TlsApp")]
pub struct App {
    /// Certificates to load: by loader, modules of `tls.certificates`. `automate` lists names to get
    /// certificates for.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "schema::CertificateLoaders")]
    pub certificates: BTreeMap<String, Value>,
    /// How certificates are got and renewed.
    #[serde(skip_serializing_if = "is_default")]
    pub automation: Option<Automation>,
    /// Session tickets.
    #[serde(skip_serializing_if = "is_default")]
    pub session_tickets: Option<SessionTickets>,
    /// The certificate cache.
    #[serde(skip_serializing_if = "is_default")]
    pub cache: Option<CertificateCache>,
    /// Whether certificates loaded by hand get no OCSP staple.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_ocsp_stapling: bool,
    /// Whether the storage is not tried at the start.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_storage_check: bool,
    /// Whether old things stay in the storage.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_storage_clean: bool,
    /// Encrypted ClientHello.
    #[serde(skip_serializing_if = "is_default")]
    pub encrypted_client_hello: Option<Ech>,
    /// The DNS provider where none is named; a module of `dns.providers`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::DnsProvider>")]
    pub dns: Option<ModuleJson>,
    /// The DNS resolvers where none are named.
    #[serde(skip_serializing_if = "is_default")]
    pub resolvers: Vec<String>,
}

/// How certificates are got and renewed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Automation {
    /// The first policy whose subjects hold a name counts for it.
    #[serde(skip_serializing_if = "is_default")]
    pub policies: Vec<AutomationPolicy>,
    /// Certificates that are got at the first handshake.
    #[serde(skip_serializing_if = "is_default")]
    pub on_demand: Option<OnDemand>,
    /// How often OCSP staples are looked at; zero means an hour.
    #[serde(skip_serializing_if = "is_default")]
    pub ocsp_interval: Duration,
    /// How often certificates are looked at; zero means ten minutes.
    #[serde(skip_serializing_if = "is_default")]
    pub renew_interval: Duration,
    /// How often the storage is cleaned; zero means a day.
    #[serde(skip_serializing_if = "is_default")]
    pub storage_clean_interval: Duration,
}

/// How the certificates of some names are got.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AutomationPolicy {
    /// The names; none means all.
    #[serde(skip_serializing_if = "is_default")]
    pub subjects: Vec<String>,
    /// Who issues, tried in order; modules of `tls.issuance`. None means by the kind of name.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Vec<schema::Issuer>")]
    pub issuers: Vec<ModuleJson>,
    /// Who has certificates ready at handshakes; modules of `tls.get_certificate`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Vec<schema::CertificateManager>")]
    pub get_certificate: Vec<ModuleJson>,
    /// Whether certificates demand an OCSP staple.
    #[serde(skip_serializing_if = "is_default")]
    pub must_staple: bool,
    /// The share of a lifetime, 0 to 1, that is left when a certificate is renewed.
    #[serde(skip_serializing_if = "is_default")]
    pub renewal_window_ratio: f64,
    /// `ed25519`, `p256`, `p384`, `rsa2048`, `rsa4096`.
    #[serde(skip_serializing_if = "is_default")]
    pub key_type: String,
    /// Where they are kept; a module of `caddy.storage`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::Storage>")]
    pub storage: Option<ModuleJson>,
    /// Whether they are got at the first handshake.
    #[serde(skip_serializing_if = "is_default")]
    pub on_demand: bool,
    /// Whether renewing keeps the key.
    #[serde(skip_serializing_if = "is_default")]
    pub reuse_private_keys: bool,
    /// Whether they get no OCSP staple.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_ocsp_stapling: bool,
    /// Other OCSP responders by the URL of those to be replaced.
    #[serde(skip_serializing_if = "is_default")]
    pub ocsp_overrides: BTreeMap<String, String>,
}

/// Certificates that are got at the first handshake.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OnDemand {
    /// The URL to ask whether a name is allowed; old form of `permission`.
    #[serde(skip_serializing_if = "is_default")]
    pub ask: String,
    /// Who says whether a name is allowed; a module of `tls.permission`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::Permission>")]
    pub permission: Option<ModuleJson>,
}

/// Session tickets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SessionTickets {
    /// Where their keys come from; a module of `tls.stek`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::TicketKeys>")]
    pub key_source: Option<ModuleJson>,
    /// How often keys change.
    #[serde(skip_serializing_if = "is_default")]
    pub rotation_interval: Duration,
    /// How many keys are kept.
    #[serde(skip_serializing_if = "is_default")]
    pub max_keys: i64,
    /// Whether keys stay the same.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_rotation: bool,
    /// Whether there are none.
    #[serde(skip_serializing_if = "is_default")]
    pub disabled: bool,
}

/// The certificate cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateCache {
    /// The most certificates it holds; 0 means the default.
    #[serde(skip_serializing_if = "is_default")]
    pub capacity: i64,
}

/// Encrypted ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ech {
    /// The outer names.
    #[serde(skip_serializing_if = "is_default")]
    pub configs: Vec<EchConfig>,
    /// Where the keys are published.
    #[serde(skip_serializing_if = "is_default")]
    pub publication: Vec<EchPublication>,
}

/// One outer name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EchConfig {
    /// The name that everyone may see.
    pub public_name: String,
}

/// Where the keys of some outer names are published.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EchPublication {
    /// The outer names; none means all.
    #[serde(skip_serializing_if = "is_default")]
    pub configs: Vec<String>,
    /// For which domains; none means all that the server has.
    #[serde(skip_serializing_if = "is_default")]
    pub domains: Vec<String>,
    /// By whom; modules of `tls.ech.publishers`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "schema::EchPublishers")]
    pub publishers: BTreeMap<String, Value>,
}

/// Matchers of a handshake by name, all of which must match; modules of `tls.handshake_match`.
pub type HandshakeMatchers = Map<String, Value>;

/// How TLS is spoken with the clients that it matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionPolicy {
    /// Which handshakes it is for; unset means all.
    #[serde(rename = "match", skip_serializing_if = "is_default")]
    #[schemars(with = "schema::HandshakeMatcherSet")]
    pub matchers: HandshakeMatchers,
    /// Which certificate is used if several fit.
    #[serde(skip_serializing_if = "is_default")]
    pub certificate_selection: Option<CertificateSelection>,
    /// Cipher suites up to TLS 1.2.
    #[serde(skip_serializing_if = "is_default")]
    pub cipher_suites: Vec<String>,
    /// Elliptic curves.
    #[serde(skip_serializing_if = "is_default")]
    pub curves: Vec<String>,
    /// Protocols to agree on.
    #[serde(skip_serializing_if = "is_default")]
    pub alpn: Vec<String>,
    /// `tls1.2` or `tls1.3`.
    #[serde(skip_serializing_if = "is_default")]
    pub protocol_min: String,
    /// `tls1.2` or `tls1.3`.
    #[serde(skip_serializing_if = "is_default")]
    pub protocol_max: String,
    /// Whether the connection is dropped.
    #[serde(skip_serializing_if = "is_default")]
    pub drop: bool,
    /// Client certificates.
    #[serde(skip_serializing_if = "is_default")]
    pub client_authentication: Option<ClientAuthentication>,
    /// The name to assume if a client gives none.
    #[serde(skip_serializing_if = "is_default")]
    pub default_sni: String,
    /// The name to assume if there is no certificate for the client's.
    #[serde(skip_serializing_if = "is_default")]
    pub fallback_sni: String,
    /// A file for the secrets of all connections.
    #[serde(skip_serializing_if = "is_default")]
    pub insecure_secrets_log: String,
    /// What else a handshake needs to know; a module of `tls.context`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::HandshakeContext>")]
    pub handshake_context: Option<ModuleJson>,
}

/// Which certificate is used if several fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateSelection {
    /// One with one of these serial numbers.
    #[serde(skip_serializing_if = "is_default")]
    pub serial_number: Vec<Value>,
    /// One of one of these organizations.
    #[serde(skip_serializing_if = "is_default")]
    pub subject_organization: Vec<String>,
    /// One with this kind of key.
    #[serde(skip_serializing_if = "is_default")]
    pub public_key_algorithm: String,
    /// One with one of these tags.
    #[serde(skip_serializing_if = "is_default")]
    pub any_tag: Vec<String>,
    /// One with all of these tags.
    #[serde(skip_serializing_if = "is_default")]
    pub all_tags: Vec<String>,
}

/// Client certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClientAuthentication {
    /// Who may issue them; a module of `tls.ca_pool.source`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::CaPool>")]
    pub ca: Option<ModuleJson>,
    /// Base64 of the DER of who may issue them; old form of `ca`.
    #[serde(skip_serializing_if = "is_default")]
    pub trusted_ca_certs: Vec<String>,
    /// Files of who may issue them; old form of `ca`.
    #[serde(skip_serializing_if = "is_default")]
    pub trusted_ca_certs_pem_files: Vec<String>,
    /// Base64 of the DER of those that are accepted; old form of a verifier.
    #[serde(skip_serializing_if = "is_default")]
    pub trusted_leaf_certs: Vec<String>,
    /// Further checks; modules of `tls.client_auth.verifier`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Vec<schema::ClientVerifier>")]
    pub verifiers: Vec<ModuleJson>,
    /// `request`, `require`, `verify_if_given`, `require_and_verify`.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: String,
}

/// A certificate to load from two files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateFiles {
    /// The certificate's file.
    pub certificate: String,
    /// The key's file.
    pub key: String,
    /// `pem`, which is the default.
    #[serde(skip_serializing_if = "is_default")]
    pub format: String,
    /// Tags to select it by.
    #[serde(skip_serializing_if = "is_default")]
    pub tags: Vec<String>,
}

/// The issuer `internal`: our own authority.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InternalIssuer {
    /// Which authority; empty means [`super::pki::DEFAULT_CA`].
    #[serde(skip_serializing_if = "is_default")]
    pub ca: String,
    /// How long certificates are valid; zero means twelve hours.
    #[serde(skip_serializing_if = "is_default")]
    pub lifetime: Duration,
    /// Whether the root signs, and not the intermediate.
    #[serde(skip_serializing_if = "is_default")]
    pub sign_with_root: bool,
}

/// The issuer `acme`: authorities such as Let's Encrypt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AcmeIssuer {
    /// The directory's URL; empty means Let's Encrypt.
    #[serde(skip_serializing_if = "is_default")]
    pub ca: String,
    /// The directory's URL to try after a failure.
    #[serde(skip_serializing_if = "is_default")]
    pub test_ca: String,
    /// Who is responsible.
    #[serde(skip_serializing_if = "is_default")]
    pub email: String,
    /// The authority's profile.
    #[serde(skip_serializing_if = "is_default")]
    pub profile: String,
    /// PEM of the account's key.
    #[serde(skip_serializing_if = "is_default")]
    pub account_key: String,
    /// The account that the authority knows by other means.
    #[serde(skip_serializing_if = "is_default")]
    pub external_account: Option<ExternalAccount>,
    /// How long getting a certificate may take.
    #[serde(skip_serializing_if = "is_default")]
    pub acme_timeout: Duration,
    /// How to show who we are.
    #[serde(skip_serializing_if = "is_default")]
    pub challenges: Option<Challenges>,
    /// Files of the roots to trust while talking with the authority.
    #[serde(skip_serializing_if = "is_default")]
    pub trusted_roots_pem_files: Vec<String>,
    /// Which chain to take if there is a choice.
    #[serde(skip_serializing_if = "is_default")]
    pub preferred_chains: Option<ChainPreference>,
    /// How long certificates shall be valid; zero lets the authority decide.
    #[serde(skip_serializing_if = "is_default")]
    pub certificate_lifetime: Duration,
    /// The proxy on the way; a module of `caddy.network_proxy`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::NetworkProxy>")]
    pub network_proxy: Option<ModuleJson>,
}

impl AcmeIssuer {
    /// Its name as an issuer.
    pub const NAME: &'static str = "acme";
}

impl InternalIssuer {
    /// Its name as an issuer.
    pub const NAME: &'static str = "internal";
}

/// An account that the authority knows by other means.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExternalAccount {
    /// Its id.
    pub key_id: String,
    /// Its key, base64url.
    pub mac_key: Secret,
}

/// How to show that a name is ours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Challenges {
    /// By HTTP.
    #[serde(skip_serializing_if = "is_default")]
    pub http: Option<PortChallenge>,
    /// By TLS-ALPN.
    #[serde(rename = "tls-alpn", skip_serializing_if = "is_default")]
    pub tls_alpn: Option<PortChallenge>,
    /// By DNS; if it is set, it is the only one.
    #[serde(skip_serializing_if = "is_default")]
    pub dns: Option<DnsChallenge>,
    /// The interface to listen on.
    #[serde(skip_serializing_if = "is_default")]
    pub bind_host: String,
    /// Whether other instances may answer, through the storage; unset means yes.
    #[serde(skip_serializing_if = "is_default")]
    pub distributed: Option<bool>,
}

/// A challenge that needs a port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PortChallenge {
    /// Whether it is not used.
    #[serde(skip_serializing_if = "is_default")]
    pub disabled: bool,
    /// The port if it is another one, because someone forwards to it.
    #[serde(skip_serializing_if = "is_default")]
    pub alternate_port: u16,
}

/// The DNS challenge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DnsChallenge {
    /// Who changes the zone; a module of `dns.providers`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::DnsProvider>")]
    pub provider: Option<ModuleJson>,
    /// The record's time to live.
    #[serde(skip_serializing_if = "is_default")]
    pub ttl: Duration,
    /// How long to wait before looking for the record.
    #[serde(skip_serializing_if = "is_default")]
    pub propagation_delay: Duration,
    /// How long to look for the record; -1 means not at all.
    #[serde(skip_serializing_if = "is_default")]
    pub propagation_timeout: Duration,
    /// The resolvers to ask.
    #[serde(skip_serializing_if = "is_default")]
    pub resolvers: Vec<String>,
    /// The name to put the record under.
    #[serde(skip_serializing_if = "is_default")]
    pub override_domain: String,
}

/// Which chain to take if there is a choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChainPreference {
    /// The one with the fewest bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub smallest: Option<bool>,
    /// The one whose root has one of these names.
    #[serde(skip_serializing_if = "is_default")]
    pub root_common_name: Vec<String>,
    /// The one in which someone has one of these names.
    #[serde(skip_serializing_if = "is_default")]
    pub any_common_name: Vec<String>,
}
