//! Certificates that are managed: had from the storage or from whoever issues them, and renewed in time.

mod at_handshake;
mod policy;
mod retry;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use super::challenges::SharedChallenges;
use super::issuance::IssuerContext;
use super::ocsp::Stapling;
use super::on_demand::{self, Permission};
use super::store::wildcards_of;
use super::{Certificate, CertificateStore, Modules, SharedStorage, TlsError};
use crate::config;
use crate::config::ModuleJson;
use crate::config::subject::{is_ip, qualifies_for_public_certificate};
use crate::config::tls::{AutomationPolicy, ISSUER_TAG, InternalIssuer};
use at_handshake::Handshakes;
use policy::{Held, Policy, now};

/// The manager that is taken for granted.
const TAILSCALE: &str = "tailscale";
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// However short certificates live, they are not looked at more often.
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A name is left alone so long at most after its certificate has been got.
const REST_MAX: Duration = Duration::from_secs(10 * 60);
/// And so long if what it has just been given is said to be revoked: the next one may be too.
const REVOKED_REST: Duration = Duration::from_secs(60 * 60);
/// What an authority says of one renewal must come within this time.
const INFO_TIMEOUT: Duration = Duration::from_secs(60);
/// So many certificates are being got at once; others wait.
const ORDERS_MAX: usize = 64;

/// How names get their certificates.
#[derive(Debug)]
pub(super) struct Automation {
    policies: Vec<Arc<Policy>>,
    interval: Duration,
    store: Arc<CertificateStore>,
    managed: Mutex<HashMap<String, Managed>>,
    /// Something may be due sooner than was thought.
    changed: Notify,
    orders: Semaphore,
    /// Held while authorities are asked when to renew.
    asking: tokio::sync::Mutex<()>,
    handshakes: Handshakes,
}

/// A name whose certificate is to be at hand at all times.
#[derive(Debug)]
struct Managed {
    policy: Arc<Policy>,
    /// Nothing as long as there has not been one.
    held: Option<Held>,
    /// Whether somebody is getting the next one.
    busy: bool,
    /// When somebody last was.
    last: Option<Instant>,
}

/// Marks a name as one that somebody cares for.
struct Busy<'a> {
    automation: &'a Automation,
    name: &'a str,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.automation.lock().get_mut(self.name) {
            entry.busy = false;
            entry.last = Some(Instant::now());
        }
    }
}

impl Default for Automation {
    /// Nothing is managed.
    fn default() -> Self {
        Self {
            policies: Vec::new(),
            interval: DEFAULT_INTERVAL,
            store: Arc::default(),
            managed: Mutex::default(),
            changed: Notify::new(),
            orders: Semaphore::new(ORDERS_MAX),
            asking: tokio::sync::Mutex::default(),
            handshakes: Handshakes::new(None, None, None, false),
        }
    }
}

impl Automation {
    /// # Errors
    /// [`TlsError`] with the policy's index.
    pub(super) fn provision(
        config: Option<&config::tls::Automation>,
        capacity: Option<usize>,
        forced: &BTreeSet<String>,
        context: &IssuerContext<'_>,
        modules: &Modules,
    ) -> Result<Self, TlsError> {
        let nothing = config::tls::Automation::default();
        let config = config.unwrap_or(&nothing);
        let permission = on_demand::permission(config.on_demand.as_ref(), modules, context)?;
        let mut policies = Vec::with_capacity(config.policies.len());
        for (index, policy) in config.policies.iter().enumerate() {
            let provision = || {
                let policy = Policy::provision(policy, context, modules)?;
                refuse_open_doors(&policy, permission.as_ref())?;
                Ok::<_, TlsError>(Arc::new(policy))
            };
            policies.push(provision().map_err(|error| error.at(format!("automation policy {index}")))?);
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
            policies.push(Arc::new(Policy::provision(&policy, context, modules)?));
        }
        Ok(Self {
            handshakes: Handshakes::new(
                config.on_demand.clone(),
                permission,
                capacity,
                policies.iter().any(|policy| policy.on_demand),
            ),
            policies,
            interval: config.renew_interval.positive().unwrap_or(DEFAULT_INTERVAL),
            store: context.store.clone(),
            managed: Mutex::default(),
            changed: Notify::new(),
            orders: Semaphore::new(ORDERS_MAX),
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// Puts the certificates of `names` and of those in `forced` at hand, as far as they can be had
    /// without waiting for others: from the storage, or new ones of our own. [`Automation::run`] gets
    /// the rest. A name for which a wildcard stands that is managed too needs none of its own, unless
    /// it is forced; one of an on-demand policy gets its own when somebody asks for it.
    ///
    /// # Errors
    /// [`TlsError`] if one of our own can't be made.
    pub(super) fn manage(
        &mut self,
        names: &BTreeSet<String>,
        forced: &BTreeSet<String>,
        context: &IssuerContext<'_>,
        modules: &Modules,
    ) -> Result<(), TlsError> {
        let all: BTreeSet<&String> = names.union(forced).collect();
        let covered =
            |name: &str| !is_ip(name) && wildcards_of(name).any(|star| star != name && all.contains(&star));
        let mut at_hand = Vec::new();
        let mut managed = HashMap::with_capacity(all.len());
        for name in &all {
            if !forced.contains(*name) && covered(name) {
                continue;
            }
            let policy = match self.policy_for(name) {
                Some(policy) => policy.clone(),
                None => {
                    // What nobody has said anything about is for public authorities.
                    let default = Policy::provision(&AutomationPolicy::default(), context, modules)?;
                    self.policies.push(Arc::new(default));
                    self.policies[self.policies.len() - 1].clone()
                }
            };
            if policy.on_demand {
                continue;
            }
            let entry = Managed::begin(policy, name)?;
            at_hand.extend(entry.held.iter().map(|held| held.certificate.clone()));
            managed.insert((*name).clone(), entry);
        }
        self.store.extend_shared(at_hand);
        *self.lock() = managed;
        Ok(())
    }

    /// Manages one more name.
    ///
    /// # Errors
    /// [`TlsError`] if nothing is said of such names, or its certificate is our own and can't be made.
    pub(super) fn add(&self, name: &str) -> Result<(), TlsError> {
        let name = name.to_lowercase();
        let policy = self.policy_for(&name).ok_or_else(|| TlsError::NoIssuer { name: name.clone() })?;
        let entry = Managed::begin(policy.clone(), &name)?;
        if let Some(held) = &entry.held {
            self.store.put(held.certificate.clone(), None);
        }
        self.lock().insert(name, entry);
        self.changed.notify_one();
        Ok(())
    }

    /// Gets and renews certificates for as long as it is polled.
    pub(super) async fn run(self: Arc<Self>) {
        let mut jobs = JoinSet::new();
        loop {
            for name in self.take_due(now()) {
                jobs.spawn(self.clone().secure(name));
            }
            tokio::select! {
                () = tokio::time::sleep(self.next_look()) => {
                    jobs.spawn(self.clone().ask_renewal_infos());
                }
                () = self.changed.notified() => {}
                Some(ended) = jobs.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(target: "tls.obtain", %error, "getting a certificate broke off");
                    }
                }
            }
        }
    }

    /// The names that are due at `now`, in seconds since 1970, and that nobody cares for yet.
    fn take_due(&self, now: i64) -> Vec<String> {
        let is_due = |entry: &Managed| match &entry.held {
            _ if entry.last.is_some_and(|last| last.elapsed() < entry.rest()) => false,
            Some(held) => entry.policy.is_due(held, now),
            None => true,
        };
        let mut due = Vec::new();
        for (name, entry) in self.lock().iter_mut() {
            if !entry.busy && is_due(entry) {
                entry.busy = true;
                due.push(name.clone());
            }
        }
        due.sort_unstable();
        due
    }

    /// Gets the next certificate of a name, with as many attempts as it takes.
    async fn secure(self: Arc<Self>, name: String) {
        let Some((policy, old)) =
            self.lock().get(&name).map(|entry| (entry.policy.clone(), entry.held.clone()))
        else {
            return;
        };
        // Whatever happens, somebody can care for it afterwards.
        let _busy = Busy { automation: &self, name: &name };
        let mut attempts = retry::Attempts::default();
        let held = loop {
            let got = {
                // It is never closed.
                let _turn = self.orders.acquire().await;
                policy.get(&name, attempts.made(), old.clone()).await
            };
            match got {
                Ok(held) => break held,
                Err(error) => {
                    let wait = attempts.next(&error);
                    let attempt = attempts.made();
                    tracing::error!(
                        target: "tls.obtain", name, %error, attempt, retrying_in = ?wait, "will retry"
                    );
                    tokio::time::sleep(wait).await;
                }
            }
        };
        let what = if old.is_some() { "certificate renewed" } else { "certificate obtained" };
        tracing::info!(target: "tls.obtain", name, "{what}");
        self.store.put(held.certificate.clone(), old.as_ref().map(|old| &old.certificate));
        if let Some(entry) = self.lock().get_mut(&name) {
            entry.held = Some(held);
        }
    }

    /// Asks authorities that say such things when they would like their certificates to be renewed.
    async fn ask_renewal_infos(self: Arc<Self>) {
        // One round at a time, however long it takes.
        let Ok(_round) = self.asking.try_lock() else { return };
        let held: Vec<_> = {
            let managed = self.lock();
            let held = |(name, entry): (&String, &Managed)| {
                Some((name.clone(), entry.policy.clone(), entry.held.clone()?))
            };
            managed.iter().filter_map(held).collect()
        };
        let at_handshakes = self.handshakes.all_held().into_iter().filter_map(|(name, held)| {
            let policy = self.policy_for(&name).filter(|_| held.info.is_some())?.clone();
            Some((name, policy, held))
        });
        for (name, policy, held) in held.into_iter().chain(at_handshakes) {
            let asking = policy.ask_renewal_info(&name, &held);
            let Ok(Some(info)) = tokio::time::timeout(INFO_TIMEOUT, asking).await else { continue };
            if let Some(now) = self.lock().get_mut(&name).and_then(|entry| entry.held.as_mut())
                && Arc::ptr_eq(&now.certificate, &held.certificate)
            {
                now.info = Some(info);
            } else {
                self.handshakes.note_info(&name, &held, info);
            }
        }
        self.changed.notify_one();
    }

    /// How long until something is due, or should be looked at.
    pub(super) fn next_look(&self) -> Duration {
        let now = now();
        let until_due = |entry: &Managed| {
            let held = entry.held.as_ref().filter(|_| !entry.busy)?;
            let rest = entry.last.map_or(Duration::ZERO, |last| entry.rest().saturating_sub(last.elapsed()));
            Some(u64::try_from(entry.policy.due_at(held) - now + 1).unwrap_or(0).max(rest.as_secs()))
        };
        let soonest = self.lock().values().filter_map(until_due).min();
        soonest.map_or(self.interval, Duration::from_secs).min(self.interval).max(LOOK_INTERVAL_MIN)
    }

    /// All certificates that there are now, with how they get their staples.
    pub(super) fn to_staple(&self) -> Vec<(Arc<Certificate>, Arc<Stapling>)> {
        let stapled = |held: &Held, policy: &Policy| (held.certificate.clone(), policy.stapling.clone());
        let mut all: Vec<_> = self
            .lock()
            .values()
            .filter_map(|entry| Some(stapled(entry.held.as_ref()?, &entry.policy)))
            .collect();
        for (name, held) in self.handshakes.all_held() {
            all.extend(self.policy_for(&name).map(|policy| stapled(&held, policy)));
        }
        all
    }

    /// Looks again at what is due: a certificate may have been revoked.
    pub(super) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// The storages in which certificates are kept, each once.
    pub(super) fn storages(&self) -> Vec<SharedStorage> {
        let mut storages: Vec<SharedStorage> = Vec::new();
        for storage in self.policies.iter().map(|policy| &policy.storage) {
            if !storages.iter().any(|known| Arc::ptr_eq(known, storage)) {
                storages.push(storage.clone());
            }
        }
        storages
    }

    /// Where instances that share a storage find each other's challenges.
    pub(super) fn shared_challenges(&self) -> SharedChallenges {
        let mut shared = SharedChallenges::default();
        for policy in &self.policies {
            policy.challenge_folders().for_each(|(storage, folder)| shared.add(storage, folder));
        }
        shared
    }

    /// The policy that counts for a name.
    fn policy_for(&self, name: &str) -> Option<&Arc<Policy>> {
        self.policies.iter().find(|policy| policy.matches(name))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Managed>> {
        self.managed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Managed {
    /// Begins with what can be had without waiting for others.
    fn begin(policy: Arc<Policy>, name: &str) -> Result<Self, TlsError> {
        let stored = policy.stored(name);
        let held = match stored {
            Some(held) if !policy.issues_at_once() || !policy.is_due(&held, now()) => Some(held),
            _ => policy.issue_at_once(name).transpose()?,
        };
        Ok(Self { policy, held, busy: false, last: None })
    }

    /// How long a name is left alone after somebody has cared for it, whatever its certificate and its authority
    /// say: a new one that is due at once, by a clock that is wrong for one, is not renewed without end.
    fn rest(&self) -> Duration {
        if self.held.as_ref().is_some_and(|held| held.certificate.is_revoked()) {
            return REVOKED_REST;
        }
        let life = self.held.as_ref().map_or(0, |held| {
            let facts = &held.certificate.facts;
            u64::try_from(facts.not_after - facts.not_before).unwrap_or(0)
        });
        Duration::from_secs(life / 4).clamp(LOOK_INTERVAL_MIN, REST_MAX)
    }
}

/// Certificates for whatever names strangers ask for need somebody who says which are ours.
fn refuse_open_doors(policy: &Policy, permission: Option<&Arc<dyn Permission>>) -> Result<(), TlsError> {
    if !policy.on_demand || permission.is_some() || !policy.needs_permission() {
        return Ok(());
    }
    if !policy.names_managers {
        let problem = "on-demand TLS cannot be enabled without a permission module to prevent abuse; \
             name an endpoint that says which names are yours with the global option 'on_demand_tls { ask <url> }'";
        return Err(TlsError::Invalid(problem.into()));
    }
    tracing::warn!(
        target: "tls",
        "on-demand TLS can only get certificates from the configured external manager(s) because no ask endpoint / permission module is specified"
    );
    Ok(())
}

/// A name, or the default, that two policies claim is a mistake: only the first would count.
fn refuse_repetition(policies: &[Arc<Policy>]) -> Result<(), TlsError> {
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

/// The client of Tailscale's on this machine as the manager of a policy.
pub fn tailscale_manager() -> ModuleJson {
    ModuleJson::new(on_demand::MANAGER_TAG, TAILSCALE, &serde_json::json!({}))
}

/// A policy by which the default authority of our own issues.
pub fn internal_policy() -> AutomationPolicy {
    let issuer = ModuleJson::new(ISSUER_TAG, InternalIssuer::NAME, &InternalIssuer::default());
    AutomationPolicy { issuers: vec![issuer], ..AutomationPolicy::default() }
}

#[cfg(test)]
pub(super) mod tests;
