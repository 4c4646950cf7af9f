//! Certificates that are got when a client asks for their names.
//!
//! However many clients ask for a name at once, it is looked for once, and those who ask for another
//! name don't wait for it. The work is the control thread's: a client that leaves stops nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::super::issuance::{IssueError, Retry};
use super::super::on_demand::{Answer, Denied, Hello, Permission};
use super::super::renewal_info::RenewalInfo;
use super::super::storage::blocking;
use super::super::{Certificate, TlsError};
use super::retry::WAIT_MAX;
use super::{Automation, Held, Policy, REVOKED_REST, now};
use crate::config::subject::qualifies_for_certificate;
use crate::config::tls::OnDemand;

/// A client waits so long at most.
const CLIENT_WAIT_MAX: Duration = Duration::from_secs(180);
/// So many names are looked for at once; clients who ask for further ones are refused.
const PENDING_MAX: usize = 1024;
/// So many certificates are at hand, unless said otherwise, as in Caddy.
const CAPACITY: usize = 10_000;
/// What an issuer would not give is not asked for again before this time has passed.
const FAILURE_REST: Duration = Duration::from_secs(60);
/// Neither is what was not allowed.
const DENIAL_REST: Duration = Duration::from_secs(2);
/// So many names are remembered to be left alone.
const RESTING_MAX: usize = 4096;
/// What strangers can cause is told no more often.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// What is known of names that clients have asked for.
#[derive(Debug)]
pub(super) struct Handshakes {
    /// Whether any policy gets certificates at handshakes.
    enabled: bool,
    /// What the configuration says of the permission.
    said: Option<OnDemand>,
    permission: Option<Arc<dyn Permission>>,
    capacity: usize,
    /// The thread that gets certificates; none where nothing runs, as when a file is only checked.
    control: Option<Handle>,
    seldom: Seldom,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the certificate's name, which may be a wildcard.
    held: HashMap<String, Held>,
    /// Names that are being looked for, and how to learn that it is over.
    pending: HashMap<String, watch::Receiver<()>>,
    /// Names that are not looked for again before a time.
    resting: HashMap<String, Instant>,
}

impl Handshakes {
    pub(super) fn new(
        said: Option<OnDemand>,
        permission: Option<Arc<dyn Permission>>,
        capacity: Option<usize>,
        enabled: bool,
    ) -> Self {
        Self {
            enabled,
            said,
            permission,
            capacity: capacity.unwrap_or(CAPACITY).max(1),
            control: Handle::try_current().ok(),
            seldom: Seldom::default(),
            state: Mutex::default(),
        }
    }

    /// All that is at hand, by name.
    pub(super) fn all_held(&self) -> Vec<(String, Held)> {
        self.lock().held.iter().map(|(name, held)| (name.clone(), held.clone())).collect()
    }

    /// Notes what its authority says of the renewal of a certificate, if that is still at hand.
    pub(super) fn note_info(&self, name: &str, of: &Held, info: RenewalInfo) {
        if let Some(held) = self.lock().held.get_mut(name)
            && Arc::ptr_eq(&held.certificate, &of.certificate)
        {
            held.info = Some(info);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Automation {
    /// Whether any name gets its certificate when it is asked for.
    pub(in super::super) fn gets_on_demand(&self) -> bool {
        self.handshakes.enabled
    }

    /// Takes over what the one before has got at handshakes, as far as the same is said of it here and nothing else is
    /// at hand for the name.
    pub(in super::super) fn inherit(&self, before: &Self) {
        if self.handshakes.said != before.handshakes.said {
            return;
        }
        let adopted = |(name, held): (String, Held)| {
            let (policy, old) = (self.policy_for(&name)?, before.policy_for(&name)?);
            let is_wanted = policy.on_demand && policy.said == old.said && !self.store.covers(&name);
            let held = policy.adopted(&held).filter(|_| is_wanted)?;
            Some((name, held))
        };
        let held = before.handshakes.all_held().into_iter().filter_map(adopted);
        let held: HashMap<String, Held> = held.take(self.handshakes.capacity).collect();
        self.store.extend_shared(held.values().map(|held| held.certificate.clone()).collect());
        self.handshakes.lock().held = held;
    }

    /// What a handshake for `name` (in lower case) has to wait for, if for anything: a certificate for
    /// this handshake alone, or nothing, and then the store has one, or none can be had.
    pub(in super::super) fn at_handshake(
        self: &Arc<Self>,
        name: &str,
        hello: impl FnOnce() -> Hello,
    ) -> Option<Answer<'static, Option<Arc<Certificate>>>> {
        if !self.gets_on_demand() || !qualifies_for_certificate(name) {
            return None;
        }
        let policy = self.policy_for(name).filter(|policy| policy.on_demand)?.clone();
        if self.store.covers(name) {
            return self.renewed_at_handshake(name, policy);
        }
        let (automation, name, hello) = (self.clone(), name.to_owned(), hello());
        Some(Box::pin(async move {
            let mut failed = false;
            for manager in &policy.managers {
                match manager.certificate(&hello).await {
                    Ok(None) => failed = false,
                    Ok(found) => return found,
                    Err(error) => {
                        failed = true;
                        automation.handshakes.seldom.tell(|| {
                            tracing::error!(target: "tls.handshake", name, %error, "getting a certificate from a manager failed");
                        });
                    }
                }
            }
            if failed {
                // It may have had one: nobody else is asked in its place.
                return None;
            }
            automation.wait_for(&name, &name, &policy).await;
            None
        }))
    }

    /// Renews what has been got at a handshake and is due; only if it has expired, the client waits.
    fn renewed_at_handshake(
        self: &Arc<Self>,
        name: &str,
        policy: Arc<Policy>,
    ) -> Option<Answer<'static, Option<Arc<Certificate>>>> {
        let (held_as, has_expired) = {
            let state = self.handshakes.lock();
            let mut held_as = std::iter::once(name.to_owned()).chain(wildcard_of(name));
            let (held_as, held) = held_as.find_map(|key| Some((key.clone(), state.held.get(&key)?)))?;
            let now = now();
            if !policy.is_due(held, now) || state.rests(&held_as) {
                return None;
            }
            (held_as, held.certificate.facts.not_after < now)
        };
        if !has_expired {
            // Nobody waits for it.
            drop(self.look_for(&held_as, name, &policy));
            return None;
        }
        let (automation, asked) = (self.clone(), name.to_owned());
        Some(Box::pin(async move {
            automation.wait_for(&held_as, &asked, &policy).await;
            None
        }))
    }

    async fn wait_for(self: &Arc<Self>, name: &str, asked: &str, policy: &Arc<Policy>) {
        let Some(mut over) = self.look_for(name, asked, policy) else { return };
        // It is over too when its sender is gone.
        _ = tokio::time::timeout(CLIENT_WAIT_MAX, over.changed()).await;
    }

    /// Sees to it that somebody looks for the certificate of `name`, for a client that has `asked` for that or for a
    /// name that it stands for.
    fn look_for(
        self: &Arc<Self>,
        name: &str,
        asked: &str,
        policy: &Arc<Policy>,
    ) -> Option<watch::Receiver<()>> {
        let control = self.handshakes.control.as_ref()?;
        let mut state = self.handshakes.lock();
        if let Some(pending) = state.pending.get(name) {
            return Some(pending.clone());
        }
        if state.rests(name) {
            return None;
        }
        if state.pending.len() >= PENDING_MAX {
            drop(state);
            self.handshakes.seldom.tell(|| {
                tracing::warn!(target: "tls.on_demand", name, "too many certificates are being obtained; refused");
            });
            return None;
        }
        let (over, pending) = watch::channel(());
        state.pending.insert(name.to_owned(), pending.clone());
        drop(state);
        let (automation, policy) = (self.clone(), policy.clone());
        let (name, asked) = (name.to_owned(), asked.to_owned());
        control.spawn(async move {
            // Whatever happens, it can be looked for again afterwards.
            let _pending = Pending { automation: &automation, name: &name };
            let found = automation.find(&name, &asked, &policy).await;
            automation.note(&name, found);
            drop(over);
        });
        Some(pending)
    }

    /// The certificate of a name: from the storage, or a new one.
    async fn find(self: &Arc<Self>, name: &str, asked: &str, policy: &Arc<Policy>) -> Result<Held, Failure> {
        match &self.handshakes.permission {
            Some(permission) => permission.ask(asked).await.map_err(Failure::Denied)?,
            None if policy.needs_permission() => {
                let nobody =
                    "no permission module configured; certificates not allowed except from external Managers";
                return Err(Failure::Denied(Denied::Refused(nobody.into())));
            }
            None => {}
        }
        let (own, wildcard) = (name.to_owned(), wildcard_of(name));
        let stored = blocking({
            let policy = policy.clone();
            move || Ok(policy.stored(&own).or_else(|| policy.stored(&wildcard?)))
        });
        let stored = stored.await.map_err(Failure::Storage)?;
        // More may be known of one that is at hand, such as that it is revoked.
        let at_hand = self.handshakes.lock().held.get(name).cloned();
        let old = stored.map(|stored| at_hand.filter(|held| held.is_same(&stored)).unwrap_or(stored));
        if let Some(held) = old.as_ref().filter(|held| !policy.is_due(held, now())) {
            // Nobody waits for what is said of a certificate that is at hand.
            policy.stapling.staple_soon(&held.certificate);
            return Ok(held.clone());
        }
        let _turn = self.orders.acquire().await;
        policy
            .get(name, 0, old.clone())
            .await
            .map_err(|error| Failure::Issuer { error, old: old.map(Box::new) })
    }

    /// Puts what has been found at hand.
    fn note(&self, name: &str, found: Result<Held, Failure>) {
        match found {
            Ok(held) => {
                if held.certificate.is_revoked() {
                    // An authority that takes back what it has just given is not asked for more of it at once.
                    self.handshakes.lock().rest(name, REVOKED_REST);
                }
                self.hold(name, held);
            }
            Err(Failure::Denied(denied @ Denied::Refused(_))) => {
                tracing::debug!(target: "tls.on_demand", name, error = %denied, "on-demand certificate issuance denied");
                let gone = {
                    let mut state = self.handshakes.lock();
                    state.rest(name, DENIAL_REST);
                    state.held.remove(name)
                };
                gone.iter().for_each(|gone| self.store.remove(&gone.certificate));
            }
            // What is at hand stays: that nobody can be asked is no reason to be without it.
            Err(Failure::Denied(denied)) => {
                self.handshakes.lock().rest(name, DENIAL_REST);
                self.handshakes.seldom.tell(|| {
                    tracing::error!(target: "tls.on_demand", name, error = %denied, "failed to get permission for on-demand certificate");
                });
            }
            Err(Failure::Storage(error)) => {
                self.handshakes.lock().rest(name, DENIAL_REST);
                self.handshakes
                    .seldom
                    .tell(|| tracing::error!(target: "tls.on_demand", name, %error, "no certificate"));
            }
            Err(Failure::Issuer { error, old }) => {
                let wait = match error.retry {
                    Retry::Later => FAILURE_REST,
                    Retry::After(said) => FAILURE_REST.max(said.min(WAIT_MAX)),
                };
                tracing::error!(target: "tls.on_demand", name, %error, retrying_in = ?wait, "obtaining a certificate failed");
                self.handshakes.lock().rest(name, wait);
                // One that is only due still serves.
                if let Some(old) = old.filter(|old| old.certificate.facts.not_after > now()) {
                    self.hold(name, *old);
                }
            }
        }
    }

    /// Puts a certificate at hand, in place of one of the same name, or of any if there are too many.
    fn hold(&self, name: &str, held: Held) {
        let is_wildcard = held.certificate.names().any(|of| wildcard_of(name).as_deref() == Some(of));
        let key = match wildcard_of(name) {
            Some(wildcard) if is_wildcard => wildcard,
            _ => name.to_owned(),
        };
        let certificate = held.certificate.clone();
        let (replaced, evicted) = {
            let mut state = self.handshakes.lock();
            if state.held.get(&key).is_some_and(|old| old.certificate.facts == certificate.facts) {
                return;
            }
            let replaced = state.held.remove(&key);
            let is_full = state.held.len() >= self.handshakes.capacity;
            let any = state.held.keys().next().filter(|_| is_full).cloned();
            let evicted = any.and_then(|any| state.held.remove(&any));
            state.held.insert(key, held);
            (replaced, evicted)
        };
        // Handshakes do not wait for what follows.
        evicted.iter().for_each(|evicted| self.store.remove(&evicted.certificate));
        self.store.put(certificate, replaced.as_ref().map(|old| &old.certificate));
    }
}

/// Marks a name as one that is being looked for.
struct Pending<'a> {
    automation: &'a Automation,
    name: &'a str,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.automation.handshakes.lock().pending.remove(self.name);
    }
}

impl State {
    fn rests(&self, name: &str) -> bool {
        self.resting.get(name).is_some_and(|until| Instant::now() < *until)
    }

    /// Leaves a name alone for a while.
    fn rest(&mut self, name: &str, wait: Duration) {
        let now = Instant::now();
        if self.resting.len() >= RESTING_MAX {
            self.resting.retain(|_, until| now < *until);
        }
        if self.resting.len() < RESTING_MAX {
            self.resting.insert(name.to_owned(), now + wait);
        }
    }
}

/// Says what strangers can cause again and again only now and then.
#[derive(Debug, Default)]
struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    fn tell(&self, say: impl FnOnce()) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= TELL_INTERVAL) {
            *last = Some(Instant::now());
            drop(last);
            say();
        }
    }
}

/// Why there is no certificate for a handshake.
enum Failure {
    Denied(Denied),
    Storage(TlsError),
    Issuer {
        error: IssueError,
        /// What was in the storage.
        old: Option<Box<Held>>,
    },
}

/// `name` with its first label replaced by `*`.
fn wildcard_of(name: &str) -> Option<String> {
    name.split_once('.').map(|(_, rest)| format!("*.{rest}"))
}
