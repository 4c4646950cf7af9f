//! One automation policy: who issues the certificates of some names, and where they are kept.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use serde_json::{Value, json};

use super::super::authority::{KeyType, is_due};
use super::super::certificate::{chain_from_pem, key_from_pem};
use super::super::issuance::{self, IssueError, Issued, Issuer, IssuerContext, IssuerTypes, KeyPem, Order};
use super::super::ocsp::Stapling;
use super::super::on_demand::{self, CertificateManager};
use super::super::placeholder::{expand, server_name};
use super::super::renewal_info::RenewalInfo;
use super::super::storage::{self, Lease, SharedStorage, blocking, safe};
use super::super::{Certificate, Modules, TlsError};
use super::{TAILSCALE, internal_policy, tailscale_manager};
use crate::config::ModuleJson;
use crate::config::subject::{is_internal, matches_wildcard};
use crate::config::tls::{AcmeIssuer, AutomationPolicy, ISSUER_TAG};

const DEFAULT_RENEWAL_RATIO: f64 = 1.0 / 3.0;
/// However far away the authority wants a renewal to be, it is done in this last part of a lifetime.
const EMERGENCY_RATIO: f64 = 1.0 / 20.0;
/// Getting one certificate takes no longer. Each step has a deadline of its own, which may be configured; this one
/// is for what has none, such as waiting for another instance.
const ORDER_TIMEOUT: Duration = Duration::from_secs(4 * 60 * 60);
/// The name of the lock while a certificate is got, before the certificate's own, as in Caddy.
const LOCK_PREFIX: &str = "issue_cert_";

/// How some names get their certificates; the first policy that matches a name counts.
#[derive(Debug)]
pub(super) struct Policy {
    /// What the configuration says of its names, without these.
    pub(super) said: AutomationPolicy,
    /// None means all.
    pub(super) subjects: Vec<String>,
    issuers: Vec<Arc<dyn Issuer>>,
    key_type: KeyType,
    renewal_ratio: f64,
    reuse_keys: bool,
    /// Whether certificates are got at handshakes.
    pub(super) on_demand: bool,
    /// Whether the configuration says who has certificates ready at handshakes.
    pub(super) names_managers: bool,
    /// Who has.
    pub(super) managers: Vec<Arc<dyn CertificateManager>>,
    pub(super) storage: SharedStorage,
    /// Whether certificates shall tell clients to insist on a staple.
    must_staple: bool,
    pub(super) stapling: Arc<Stapling>,
}

/// A certificate that is managed.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) certificate: Arc<Certificate>,
    /// What its authority says of its renewal.
    pub(super) info: Option<RenewalInfo>,
    issuer: Arc<dyn Issuer>,
}

impl Policy {
    pub(super) fn provision(
        config: &AutomationPolicy,
        context: &IssuerContext<'_>,
        modules: &Modules,
    ) -> Result<Self, TlsError> {
        let own = match &config.storage {
            Some(json) => Some(storage::open(json, &modules.storages)?),
            None => None,
        };
        let context = IssuerContext { storage: own.as_ref().unwrap_or(context.storage), ..*context };
        let ratio = config.renewal_window_ratio;
        let said = &config.get_certificate;
        let taken_for_granted = [tailscale_manager()];
        // Names of Tailscale's have certificates there, and all others don't.
        let is_granted = said.is_empty() && config.on_demand && modules.managers.contains_key(TAILSCALE);
        let managers = if is_granted { &taken_for_granted[..] } else { said };
        let managers = on_demand::managers(managers, modules, &context)?;
        let storage = context.storage.clone();
        let overrides = config.ocsp_overrides.clone();
        let stapling = Stapling::new(storage.clone(), config.disable_ocsp_stapling, overrides);
        Ok(Self {
            said: AutomationPolicy { subjects: Vec::new(), ..config.clone() },
            subjects: config.subjects.iter().map(|subject| server_name(&expand(subject))).collect(),
            issuers: issuers(config, &context, &modules.issuers)?,
            key_type: expand(&config.key_type).parse()?,
            renewal_ratio: if ratio > 0.0 && ratio < 1.0 { ratio } else { DEFAULT_RENEWAL_RATIO },
            reuse_keys: config.reuse_private_keys,
            on_demand: config.on_demand || !managers.is_empty(),
            names_managers: !said.is_empty(),
            managers,
            storage,
            must_staple: config.must_staple,
            stapling: Arc::new(stapling),
        })
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.subjects.is_empty() || self.subjects.iter().any(|subject| matches_wildcard(name, subject))
    }

    /// Whether it is for names without bound, and one of its issuers is not our own: then whoever asks
    /// could make us ask others without end.
    pub(super) fn needs_permission(&self) -> bool {
        let is_open =
            self.subjects.is_empty() || self.subjects.iter().any(|subject| subject.starts_with('*'));
        is_open && !self.issuers.iter().all(|issuer| issuer.is_own())
    }

    /// Where others that share the storage leave what is shown to the issuers' authorities.
    pub(super) fn challenge_folders(&self) -> impl Iterator<Item = (&SharedStorage, String)> {
        self.issuers.iter().filter_map(|issuer| Some((&self.storage, issuer.challenge_folder()?)))
    }

    /// The stored certificate of a name that was valid last, if there is one that can be used. It
    /// reads the storage.
    pub(super) fn stored(&self, name: &str) -> Option<Held> {
        let mut best: Option<Held> = None;
        for issuer in &self.issuers {
            match self.load(issuer, name) {
                Ok(Some(held)) => {
                    let begins = |held: &Held| held.certificate.facts.not_before;
                    if best.as_ref().is_none_or(|best| begins(best) < begins(&held)) {
                        best = Some(held);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(target: "tls.obtain", name, %error, "the stored certificate is of no use");
                }
            }
        }
        best
    }

    fn load(&self, issuer: &Arc<dyn Issuer>, name: &str) -> Result<Option<Held>, TlsError> {
        let [crt, key, json] = keys(issuer.key(), name);
        let (Some(chain), Some(key_pem)) =
            (self.storage.load_if_there(&crt)?, self.storage.load_if_there(&key)?)
        else {
            return Ok(None);
        };
        let data = self.storage.load_if_there(&json)?.unwrap_or_default();
        let data: Value = serde_json::from_slice(&data).unwrap_or_default();
        let info = serde_json::from_value(data["issuer_data"]["renewal_info"].clone()).ok();
        let (parsed, key) = (chain_from_pem(&chain, &crt)?, key_from_pem(&key_pem, &key)?);
        let certificate = Certificate::from_der(parsed, key, Vec::new())?.stored_as(&chain);
        issuer.recognize(&certificate)?;
        self.stapling.staple_stored(&certificate);
        Ok(Some(Held { certificate: Arc::new(certificate), info, issuer: issuer.clone() }))
    }

    /// A certificate that a policy of the same words has got, if its issuer here recognizes it too.
    pub(super) fn adopted(&self, held: &Held) -> Option<Held> {
        let issuer = self.issuers.iter().find(|issuer| issuer.key() == held.issuer.key())?;
        issuer.recognize(&held.certificate).ok()?;
        Some(Held { issuer: issuer.clone(), ..held.clone() })
    }

    /// Issues and stores a certificate if the first issuer needs to wait for nobody. It may block.
    pub(super) fn issue_at_once(&self, name: &str) -> Option<Result<Held, TlsError>> {
        let issuer = self.issuers.first()?;
        let order = || -> Result<Order, TlsError> { Ok(self.order(name, self.key(name)?, 0, None)) };
        let order = match order() {
            Ok(order) => order,
            Err(error) => return Some(Err(error)),
        };
        let issued = issuer.issue_at_once(&order)?;
        Some(issued.and_then(|issued| self.save(issuer, name, &order.key, &issued)))
    }

    /// Whether the first issuer needs to wait for nobody.
    pub(super) fn issues_at_once(&self) -> bool {
        self.issuers.first().is_some_and(|issuer| issuer.is_own())
    }

    /// Gets a certificate for a name in place of `old`, unless another instance has got one meanwhile.
    /// Once begun it goes on to its end, even if nobody waits for it any more: what an authority has
    /// been asked for, it counts.
    pub(super) async fn get(
        self: &Arc<Self>,
        name: &str,
        attempt: u32,
        old: Option<Held>,
    ) -> Result<Held, IssueError> {
        let (policy, name) = (self.clone(), name.to_owned());
        let getting = tokio::spawn(async move {
            let getting = policy.get_locked(&name, attempt, old);
            let timeout = IssueError::new("it took too long");
            let held = tokio::time::timeout(ORDER_TIMEOUT, getting).await.unwrap_or(Err(timeout))?;
            policy.stapling.staple_first(&held.certificate).await;
            Ok(held)
        });
        getting.await.unwrap_or_else(|_| Err(TlsError::BrokeOff.into()))
    }

    async fn get_locked(
        self: &Arc<Self>,
        name: &str,
        attempt: u32,
        old: Option<Held>,
    ) -> Result<Held, IssueError> {
        let _lease = Lease::acquire(&self.storage, &format!("{LOCK_PREFIX}{name}")).await?;
        let (policy, owned) = (self.clone(), name.to_owned());
        let replaced = old.clone();
        let (stored, key) = blocking(move || {
            if let Some(old) = replaced.filter(|old| old.certificate.is_compromised()) {
                policy.retire_key(&old.certificate, &owned);
            }
            Ok((policy.stored(&owned), policy.key(&owned)?))
        })
        .await?;
        if let Some(stored) = stored
            && !self.is_due(&stored, now())
            && !old.as_ref().is_some_and(|old| old.is_same(&stored))
        {
            tracing::info!(target: "tls.obtain", name, "another instance has got the certificate");
            return Ok(stored);
        }
        let mut last = IssueError::new("no issuer is configured");
        for issuer in &self.issuers {
            let replaces = old.as_ref().filter(|old| old.issuer.key() == issuer.key());
            let order = self.order(name, key.clone(), attempt, replaces.map(|old| old.certificate.clone()));
            match issuer.issue(&order).await {
                Ok(issued) => {
                    let (policy, issuer, name) = (self.clone(), issuer.clone(), name.to_owned());
                    let held = blocking(move || policy.save(&issuer, &name, &order.key, &issued)).await?;
                    return Ok(held);
                }
                Err(error) => {
                    let issuer = issuer.key();
                    tracing::error!(target: "tls.obtain", name, issuer, %error, "could not get certificate from issuer");
                    last = error;
                }
            }
        }
        Err(last)
    }

    fn order(&self, name: &str, key: KeyPem, attempt: u32, replaces: Option<Arc<Certificate>>) -> Order {
        Order { subject: name.to_owned(), key, attempt, replaces, must_staple: self.must_staple }
    }

    /// Puts the key of a certificate where nobody uses it any more, as Caddy does, since others have it. Whichever issuer
    /// certified it, it may be stored for each of them.
    fn retire_key(&self, of: &Certificate, name: &str) {
        for issuer in &self.issuers {
            let [_, key, _] = keys(issuer.key(), name);
            let retire = || -> Result<bool, TlsError> {
                // Another instance may have put a new one there.
                let Some(pem) = self.storage.load_if_there(&key)?.filter(|pem| of.has_key(pem)) else {
                    return Ok(false);
                };
                let kept = self.storage.store(&format!("{key}.compromised"), &pem);
                // Better to lose it than to use it again.
                self.storage.delete(&key)?;
                kept.map(|()| true)
            };
            match retire() {
                Ok(true) => {
                    tracing::info!(target: "tls.ocsp", name, key, "removed certificate's compromised private key from use")
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(target: "tls.ocsp", name, key, %error, "could not remove compromised private key from use")
                }
            }
        }
    }

    /// The key for a new certificate: the old one if it is to be used again.
    fn key(&self, name: &str) -> Result<KeyPem, TlsError> {
        if self.reuse_keys {
            for issuer in &self.issuers {
                let [_, key, _] = keys(issuer.key(), name);
                if let Some(pem) = self.storage.load_if_there(&key)? {
                    return Ok(KeyPem::new(String::from_utf8_lossy(&pem).into_owned()));
                }
            }
        }
        self.key_type.generate()
    }

    fn save(
        &self,
        issuer: &Arc<dyn Issuer>,
        name: &str,
        key_pem: &KeyPem,
        issued: &Issued,
    ) -> Result<Held, TlsError> {
        let [crt, key, json] = keys(issuer.key(), name);
        let (chain, key_text) = (issued.chain_pem.as_bytes(), key_pem.as_str().as_bytes());
        // What can't be used is not stored.
        let certificate = Certificate::from_pem(chain, &crt, key_text, &key, Vec::new())?.stored_as(chain);
        self.storage.store(&key, key_text)?;
        self.storage.store(&crt, chain)?;
        self.storage.store(&json, resource(name, &issued.data).as_bytes())?;
        let info = serde_json::from_value(issued.data["renewal_info"].clone()).ok();
        Ok(Held { certificate: Arc::new(certificate), info, issuer: issuer.clone() })
    }

    pub(super) fn is_due(&self, held: &Held, now: i64) -> bool {
        let facts = &held.certificate.facts;
        if held.certificate.is_revoked() {
            return true;
        }
        match held.wished() {
            Some(selected) => {
                selected <= now || is_due(facts.not_before, facts.not_after, EMERGENCY_RATIO, now)
            }
            None => is_due(facts.not_before, facts.not_after, self.renewal_ratio, now),
        }
    }

    /// When a certificate will be due, in seconds since 1970.
    pub(super) fn due_at(&self, held: &Held) -> i64 {
        let facts = &held.certificate.facts;
        let left =
            |ratio: f64| facts.not_after - ((facts.not_after - facts.not_before) as f64 * ratio) as i64;
        if held.certificate.is_revoked() {
            return facts.not_before;
        }
        match held.wished() {
            Some(selected) => selected.min(left(EMERGENCY_RATIO)),
            None => left(self.renewal_ratio),
        }
    }

    /// What the authority says of a certificate's renewal now, if it says something and it is time to
    /// ask; stored beside the certificate.
    pub(super) async fn ask_renewal_info(self: &Arc<Self>, name: &str, held: &Held) -> Option<RenewalInfo> {
        // An authority that never said anything is not asked again.
        let old = held.info.as_ref().filter(|info| info.is_stale(now()))?;
        let asked = held.issuer.renewal_info(&held.certificate)?.await;
        let new = match asked {
            Ok(info) => info.keeping_choice_of(Some(old)),
            Err(error) => {
                tracing::warn!(target: "tls.renew", name, %error, "asking when to renew failed");
                return None;
            }
        };
        if new.window != old.window {
            let explanation = &new.explanation;
            tracing::warn!(target: "tls.renew", name, explanation, "the authority has moved the time of renewal");
        }
        let (policy, issuer, owned) = (self.clone(), held.issuer.clone(), name.to_owned());
        let stored = new.clone();
        let storing = blocking(move || policy.store_info(&*issuer, &owned, &stored)).await;
        if let Err(error) = storing {
            tracing::warn!(target: "tls.renew", name, %error, "what the authority said could not be stored");
        }
        Some(new)
    }

    fn store_info(&self, issuer: &dyn Issuer, name: &str, info: &RenewalInfo) -> Result<(), TlsError> {
        let [_, _, json] = keys(issuer.key(), name);
        let text = self.storage.load_if_there(&json)?.unwrap_or_default();
        let Ok(Value::Object(stored)) = serde_json::from_slice(&text) else { return Ok(()) };
        let mut data = stored.get("issuer_data").cloned().unwrap_or_default();
        if let Value::Object(fields) = &mut data {
            fields.insert("renewal_info".into(), json!(info));
        }
        self.storage.store(&json, resource(name, &data).as_bytes())
    }
}

impl Held {
    /// Whether it is the same certificate, though it may have been loaded another time.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.certificate.facts == other.certificate.facts
    }

    /// When its authority would like it to be renewed, in seconds since 1970. A time before it began makes no sense.
    fn wished(&self) -> Option<i64> {
        let wished = self.info.as_ref().and_then(RenewalInfo::selected);
        wished.filter(|wished| *wished >= self.certificate.facts.not_before)
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}

/// Who issues: those that the policy names, or by the kind of its names.
fn issuers(
    config: &AutomationPolicy,
    context: &IssuerContext<'_>,
    types: &IssuerTypes,
) -> Result<Vec<Arc<dyn Issuer>>, TlsError> {
    let only_internal =
        !config.subjects.is_empty() && config.subjects.iter().all(|subject| is_internal(subject));
    let said = match config.issuers.as_slice() {
        // Names of this machine and network are for our own authority.
        [] if only_internal => internal_policy().issuers,
        [] => vec![ModuleJson::new(ISSUER_TAG, AcmeIssuer::NAME, &AcmeIssuer::default())],
        said => said.to_vec(),
    };
    let provision = |issuer: &ModuleJson| {
        let name = issuer.name(ISSUER_TAG)?;
        let row = types.get(name).ok_or_else(|| TlsError::unknown_module(issuance::NAMESPACE, name))?;
        (row.provision)(issuer, context).map_err(|error| error.at(format!("issuer {name}")))
    };
    said.iter().map(provision).collect()
}

/// Where Caddy keeps a certificate, its key, and what it knows of them.
fn keys(issuer: &str, name: &str) -> [String; 3] {
    let (issuer, name) = (safe(issuer), safe(name));
    ["crt", "key", "json"].map(|kind| format!("certificates/{issuer}/{name}/{name}.{kind}"))
}

/// What Caddy writes beside a certificate, and wants to read there.
fn resource(name: &str, data: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    let value = json!({"sans": [name], "issuer_data": data});
    serde::Serialize::serialize(&value, &mut serializer).expect("invariant: a JSON value goes into a Vec");
    String::from_utf8(text).expect("invariant: JSON is UTF-8")
}
