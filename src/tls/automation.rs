//! Certificates that are managed: issued when a configuration is loaded, and renewed in time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::UnixTime;
use rustls::server::ParsedCertificate;
use serde_json::json;

use super::authority::{KeyType, Order, is_due};
use super::certificate::{chain_from_pem, key_from_pem};
use super::placeholder::{expand, server_name};
use super::storage::{self, SharedStorage, safe};
use super::store::wildcards_of;
use super::{Authorities, Authority, Certificate, CertificateStore, Modules, TlsError, provider};
use crate::config;
use crate::config::ModuleJson;
use crate::config::subject::{is_internal, is_ip, matches_wildcard, qualifies_for_public_certificate};
use crate::config::tls::{AcmeIssuer, AutomationPolicy, ISSUER_TAG, InternalIssuer};

const DEFAULT_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
const DEFAULT_RENEWAL_RATIO: f64 = 1.0 / 3.0;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How soon to try again what failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// How names get their certificates.
#[derive(Debug)]
pub(super) struct Automation {
    policies: Vec<Policy>,
    interval: Duration,
    managed: Mutex<Vec<Managed>>,
}

/// How some names get their certificates; the first that matches a name counts.
#[derive(Debug)]
struct Policy {
    /// None means all.
    subjects: Vec<String>,
    issuers: Vec<Issuer>,
    key_type: KeyType,
    renewal_ratio: f64,
    reuse_keys: bool,
    on_demand: bool,
    storage: SharedStorage,
}

#[derive(Debug)]
enum Issuer {
    Internal {
        authority: Arc<Authority>,
        lifetime: Duration,
        sign_with_root: bool,
    },
    /// Known, but nothing that can issue here.
    Elsewhere(String),
}

/// A certificate that is renewed.
#[derive(Clone, Debug)]
struct Managed {
    name: String,
    policy: usize,
    certificate: Arc<Certificate>,
}

impl Default for Automation {
    fn default() -> Self {
        Self { policies: Vec::new(), interval: DEFAULT_INTERVAL, managed: Mutex::default() }
    }
}

impl Automation {
    /// # Errors
    /// [`TlsError`] with the policy's index.
    pub(super) fn provision(
        config: Option<&config::tls::Automation>,
        forced: &BTreeSet<String>,
        authorities: &Authorities,
        storage: &SharedStorage,
        modules: &Modules,
    ) -> Result<Self, TlsError> {
        let nothing = config::tls::Automation::default();
        let config = config.unwrap_or(&nothing);
        let mut policies = Vec::with_capacity(config.policies.len());
        for (index, policy) in config.policies.iter().enumerate() {
            let policy = Policy::provision(policy, authorities, storage, modules);
            policies.push(policy.map_err(|error| error.at(format!("automation policy {index}")))?);
        }
        refuse_repetition(&policies)?;
        // Names that are to be managed, but that no public authority would certify, are for our own.
        let unclaimed: Vec<String> = forced
            .iter()
            .filter(|name| !policies.iter().any(|policy| policy.matches(name)))
            .filter(|name| !qualifies_for_public_certificate(name))
            .cloned()
            .collect();
        if !unclaimed.is_empty() {
            let policy = AutomationPolicy { subjects: unclaimed, ..internal_policy() };
            policies.push(Policy::provision(&policy, authorities, storage, modules)?);
        }
        Ok(Self {
            policies,
            interval: config.renew_interval.positive().unwrap_or(DEFAULT_INTERVAL),
            managed: Mutex::default(),
        })
    }

    /// Gets certificates for `names` and for those in `forced`, from the storage or new ones. A name
    /// for which a wildcard stands that gets one too needs none of its own, unless it is forced.
    ///
    /// # Errors
    /// [`TlsError`] if one can't be had; then none counts as managed.
    pub(super) fn manage(
        &self,
        names: &BTreeSet<String>,
        forced: &BTreeSet<String>,
        store: &CertificateStore,
    ) -> Result<(), TlsError> {
        let all: BTreeSet<&String> = names.union(forced).collect();
        let covered =
            |name: &str| !is_ip(name) && wildcards_of(name).any(|star| star != name && all.contains(&star));
        let mut managed = Vec::with_capacity(all.len());
        for name in &all {
            if !forced.contains(*name) && covered(name) {
                continue;
            }
            let policy = self.policy_for(name)?;
            let certificate = self.policies[policy].obtain(name)?;
            managed.push(Managed { name: (*name).clone(), policy, certificate });
        }
        if let Some(open) = self.policies.iter().find(|policy| policy.on_demand && policy.subjects.is_empty())
        {
            open.obtain("any name that a client asks for")?;
        }
        for entry in &managed {
            store.put(entry.certificate.clone(), None);
        }
        *self.lock() = managed;
        Ok(())
    }

    /// Gets a certificate for one more name.
    ///
    /// # Errors
    /// [`TlsError`] if it can't be had.
    pub(super) fn add(&self, name: &str, store: &CertificateStore) -> Result<(), TlsError> {
        let name = name.to_lowercase();
        let policy = self.policy_for(&name)?;
        let certificate = self.policies[policy].obtain(&name)?;
        store.put(certificate.clone(), None);
        self.lock().push(Managed { name, policy, certificate });
        Ok(())
    }

    /// Renews what is due.
    pub(super) fn renew(&self, store: &CertificateStore) {
        self.renew_at(store, UnixTime::now());
    }

    fn renew_at(&self, store: &CertificateStore, now: UnixTime) {
        // The list is not locked while certificates are made.
        let due: Vec<Managed> = {
            let managed = self.lock();
            let is_due = |entry: &&Managed| self.policies[entry.policy].is_due(&entry.certificate, now);
            managed.iter().filter(is_due).cloned().collect()
        };
        for old in due {
            match self.policies[old.policy].issue(&old.name) {
                Ok(new) => {
                    tracing::info!(target: "tls.renew", name = old.name, "certificate renewed");
                    store.put(new.clone(), Some(&old.certificate));
                    let mut managed = self.lock();
                    if let Some(entry) = managed.iter_mut().find(|entry| entry.name == old.name) {
                        entry.certificate = new;
                    }
                }
                Err(error) => {
                    tracing::error!(target: "tls.renew", name = old.name, %error, "renewing a certificate failed")
                }
            }
        }
    }

    /// How long until something is due, or should be looked at.
    pub(super) fn next_look(&self) -> Duration {
        let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
        let until_due = |entry: &Managed| {
            let facts = &entry.certificate.facts;
            let window =
                (facts.not_after - facts.not_before) as f64 * self.policies[entry.policy].renewal_ratio;
            u64::try_from(facts.not_after - window as i64 - now + 1).unwrap_or(0)
        };
        let soonest = self.lock().iter().map(until_due).min();
        match soonest {
            // Already due, so the last attempt failed.
            Some(0) => RETRY_INTERVAL.min(self.interval),
            Some(seconds) => Duration::from_secs(seconds).min(self.interval),
            None => self.interval,
        }
    }

    /// The index of the policy that counts for a name.
    fn policy_for(&self, name: &str) -> Result<usize, TlsError> {
        let position = self.policies.iter().position(|policy| policy.matches(name));
        position.ok_or_else(|| no_issuer(name, "a public authority (ACME)"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Managed>> {
        self.managed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name, or the default, that two policies claim is a mistake: only the first would count.
fn refuse_repetition(policies: &[Policy]) -> Result<(), TlsError> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut default = false;
    for (index, policy) in policies.iter().enumerate() {
        if policy.subjects.is_empty() && std::mem::replace(&mut default, true) {
            return Err(TlsError::Invalid(format!(
                "automation policy {index} is the second policy that acts as default/catch-all, but will never be used"
            )));
        }
        for subject in &policy.subjects {
            if let Some(first) = seen.insert(subject, index) {
                return Err(TlsError::Invalid(format!(
                    "automation policy {index}: cannot apply more than one automation policy to host: {subject} \
                     (first match in policy {first})"
                )));
            }
        }
    }
    Ok(())
}

/// A policy by which the default authority of our own issues.
pub fn internal_policy() -> AutomationPolicy {
    let issuer = ModuleJson::new(ISSUER_TAG, InternalIssuer::NAME, &InternalIssuer::default());
    AutomationPolicy { issuers: vec![issuer], ..AutomationPolicy::default() }
}

fn no_issuer(name: &str, authority: &str) -> TlsError {
    TlsError::NoIssuer { name: name.to_owned(), authority: authority.to_owned() }
}

impl Policy {
    fn provision(
        config: &AutomationPolicy,
        authorities: &Authorities,
        storage: &SharedStorage,
        modules: &Modules,
    ) -> Result<Self, TlsError> {
        if config.must_staple || !config.ocsp_overrides.is_empty() {
            return Err(TlsError::Invalid("must_staple and ocsp_overrides are not supported".to_owned()));
        }
        let only_internal =
            !config.subjects.is_empty() && config.subjects.iter().all(|subject| is_internal(subject));
        // Where nobody is named who issues, names of this machine and network are for our own authority.
        let said = match config.issuers.as_slice() {
            [] if only_internal => internal_policy().issuers,
            said => said.to_vec(),
        };
        let mut issuers = Vec::with_capacity(said.len());
        for issuer in &said {
            issuers.push(match issuer.name(ISSUER_TAG)? {
                InternalIssuer::NAME => {
                    let config: InternalIssuer = issuer.decode(ISSUER_TAG)?;
                    Issuer::Internal {
                        authority: authorities.get(&config.ca)?,
                        lifetime: config.lifetime.positive().unwrap_or(DEFAULT_LIFETIME),
                        sign_with_root: config.sign_with_root,
                    }
                }
                known @ (AcmeIssuer::NAME | "zerossl") => Issuer::Elsewhere(known.to_owned()),
                other => {
                    return Err(TlsError::Invalid(format!(
                        "getting module named 'tls.issuance.{other}': module not registered: tls.issuance.{other}"
                    )));
                }
            });
        }
        let ratio = config.renewal_window_ratio;
        Ok(Self {
            subjects: config.subjects.iter().map(|subject| server_name(&expand(subject))).collect(),
            issuers,
            key_type: expand(&config.key_type).parse()?,
            renewal_ratio: if ratio > 0.0 && ratio < 1.0 { ratio } else { DEFAULT_RENEWAL_RATIO },
            reuse_keys: config.reuse_private_keys,
            on_demand: config.on_demand || !config.get_certificate.is_empty(),
            storage: match &config.storage {
                Some(json) => storage::open(json, &modules.storages)?,
                None => storage.clone(),
            },
        })
    }

    fn matches(&self, name: &str) -> bool {
        self.subjects.is_empty() || self.subjects.iter().any(|subject| matches_wildcard(name, subject))
    }

    /// The certificate of a name: the one in the storage if it is good for a while, else a new one.
    fn obtain(&self, name: &str) -> Result<Arc<Certificate>, TlsError> {
        if self.on_demand {
            return Err(no_issuer(name, "an authority at the first handshake (on-demand TLS)"));
        }
        let (authority, ..) = self.internal(name)?;
        match self.stored(authority, name) {
            Ok(Some(certificate)) if !self.is_due(&certificate, UnixTime::now()) => Ok(Arc::new(certificate)),
            Ok(_) => self.issue(name),
            Err(error) => {
                tracing::warn!(target: "tls.obtain", name, %error, "the stored certificate is of no use; making a new one");
                self.issue(name)
            }
        }
    }

    /// Issues a certificate and stores it.
    fn issue(&self, name: &str) -> Result<Arc<Certificate>, TlsError> {
        let (authority, lifetime, sign_with_root) = self.internal(name)?;
        let [crt, key, json] = keys(authority, name);
        let old_key = match self.reuse_keys {
            true => self.storage.load_if_there(&key)?,
            false => None,
        };
        let order = Order {
            subject: name,
            lifetime,
            key_type: self.key_type,
            key: old_key.as_deref(),
            sign_with_root,
        };
        let issued = authority.issue(&order).map_err(|error| error.at(format!("certificate for {name}")))?;
        self.storage.store(&key, issued.key_pem.as_bytes())?;
        self.storage.store(&crt, issued.chain_pem.as_bytes())?;
        self.storage.store(&json, resource(name).as_bytes())?;
        let certificate = Certificate::from_pem(
            issued.chain_pem.as_bytes(),
            &crt,
            issued.key_pem.as_bytes(),
            &key,
            Vec::new(),
        )?;
        Ok(Arc::new(certificate))
    }

    /// The stored certificate, if it leads to the authority's present root.
    fn stored(&self, authority: &Authority, name: &str) -> Result<Option<Certificate>, TlsError> {
        let [crt, key, _] = keys(authority, name);
        let (Some(chain), Some(key_pem)) =
            (self.storage.load_if_there(&crt)?, self.storage.load_if_there(&key)?)
        else {
            return Ok(None);
        };
        let (chain, key_der) = (chain_from_pem(&chain, &crt)?, key_from_pem(&key_pem, &key)?);
        let certificate = Certificate::from_der(chain, key_der, Vec::new())?;
        leads_to_root(&certificate, authority)?;
        Ok(Some(certificate))
    }

    fn internal(&self, name: &str) -> Result<(&Authority, Duration, bool), TlsError> {
        match self.issuers.first() {
            Some(Issuer::Internal { authority, lifetime, sign_with_root }) => {
                Ok((authority, *lifetime, *sign_with_root))
            }
            Some(Issuer::Elsewhere(issuer)) => Err(no_issuer(name, &format!("the issuer '{issuer}'"))),
            None => Err(no_issuer(name, "a public authority (ACME)")),
        }
    }

    fn is_due(&self, certificate: &Certificate, now: UnixTime) -> bool {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        is_due(certificate.facts.not_before, certificate.facts.not_after, self.renewal_ratio, now)
    }
}

/// Where Caddy keeps a certificate, its key, and what it knows of them.
fn keys(authority: &Authority, name: &str) -> [String; 3] {
    let (issuer, name) = (safe(authority.id()), safe(name));
    ["crt", "key", "json"].map(|kind| format!("certificates/{issuer}/{name}/{name}.{kind}"))
}

/// What Caddy writes beside a certificate, and wants to read there.
fn resource(name: &str) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    let value = json!({"sans": [name], "issuer_data": null});
    serde::Serialize::serialize(&value, &mut serializer).expect("invariant: a JSON value goes into a Vec");
    String::from_utf8(text).expect("invariant: JSON is UTF-8")
}

/// A root that was replaced leaves certificates behind which nobody can verify.
fn leads_to_root(certificate: &Certificate, authority: &Authority) -> Result<(), TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root())?;
    let (leaf, chain) = certificate.chain().split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
    let algorithms = provider().signature_verification_algorithms.all;
    let leaf = ParsedCertificate::try_from(leaf)?;
    verify_server_cert_signed_by_trust_anchor(&leaf, &roots, chain, UnixTime::now(), algorithms)?;
    Ok(())
}

#[cfg(test)]
mod tests;
