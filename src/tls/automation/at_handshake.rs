//! Certificates that are got when a client asks for their names.
//!
//! However many clients ask for a name at once, it is looked for once, and those who ask for another
//! name don't wait for it. The work is the control thread's: a client that leaves stops nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::super::on_demand::{Answer, Denied, Hello, Permission};
use super::super::storage::blocking;
use super::super::{Certificate, TlsError};
use super::{Automation, Held, Policy, now};
use crate::config::subject::qualifies_for_certificate;

/// A client waits so long at most.
const WAIT_MAX: Duration = Duration::from_secs(180);
/// So many names are looked for at once; clients who ask for further ones are refused.
const PENDING_MAX: usize = 1024;
/// So many certificates are at hand, unless said otherwise, as in Caddy.
const CAPACITY: usize = 10_000;
/// What an issuer would not give is not asked for again before this time has passed.
const FAILURE_MEMORY: Duration = Duration::from_secs(60);
/// So many failures are remembered.
const FAILURES_MAX: usize = 4096;

/// What is known of names that clients have asked for.
#[derive(Debug)]
pub(super) struct Handshakes {
    /// Whether any policy gets certificates at handshakes.
    enabled: bool,
    permission: Option<Arc<dyn Permission>>,
    capacity: usize,
    /// The thread that gets certificates; none where nothing runs, as when a file is only checked.
    control: Option<Handle>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<String, Held>,
    /// Names that are being looked for, and how to learn that it is over.
    pending: HashMap<String, watch::Receiver<()>>,
    failed: HashMap<String, Instant>,
}

impl Handshakes {
    pub(super) fn new(
        permission: Option<Arc<dyn Permission>>,
        capacity: Option<usize>,
        enabled: bool,
    ) -> Self {
        Self {
            enabled,
            permission,
            capacity: capacity.unwrap_or(CAPACITY).max(1),
            control: Handle::try_current().ok(),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Automation {
    /// What a handshake for `name` (in lower case) has to wait for, if for anything: a certificate for
    /// this handshake alone, or nothing, and then the store has one, or none can be had.
    pub(in super::super) fn at_handshake(
        self: &Arc<Self>,
        name: &str,
        hello: impl FnOnce() -> Hello,
    ) -> Option<Answer<'static, Option<Arc<Certificate>>>> {
        if !self.handshakes.enabled || !qualifies_for_certificate(name) {
            return None;
        }
        let policy = self.policy_for(name).filter(|policy| policy.on_demand)?.clone();
        if self.store.covers(name) {
            return self.renewed_at_handshake(name, policy);
        }
        let (automation, name, hello) = (self.clone(), name.to_owned(), hello());
        Some(Box::pin(async move {
            for manager in &policy.managers {
                match manager.certificate(&hello).await {
                    Ok(None) => {}
                    Ok(found) => return found,
                    Err(error) => {
                        tracing::error!(target: "tls.handshake", name, %error, "getting a certificate from a manager failed");
                        return None;
                    }
                }
            }
            automation.wait_for(&name, &policy).await;
            None
        }))
    }

    /// Renews what has been got at a handshake and is due; only if it has expired, the client waits.
    fn renewed_at_handshake(
        self: &Arc<Self>,
        name: &str,
        policy: Arc<Policy>,
    ) -> Option<Answer<'static, Option<Arc<Certificate>>>> {
        let has_expired = {
            let state = self.handshakes.lock();
            let held = state.held.get(name)?;
            let now = now();
            if !policy.is_due(held, now) {
                return None;
            }
            held.certificate.facts.not_after < now
        };
        if !has_expired {
            // Nobody waits for it.
            drop(self.look_for(name, &policy));
            return None;
        }
        let (automation, name) = (self.clone(), name.to_owned());
        Some(Box::pin(async move {
            automation.wait_for(&name, &policy).await;
            None
        }))
    }

    async fn wait_for(self: &Arc<Self>, name: &str, policy: &Arc<Policy>) {
        let Some(mut over) = self.look_for(name, policy) else { return };
        // It is over too when its sender is gone.
        _ = tokio::time::timeout(WAIT_MAX, over.changed()).await;
    }

    /// Sees to it that somebody looks for a certificate.
    fn look_for(self: &Arc<Self>, name: &str, policy: &Arc<Policy>) -> Option<watch::Receiver<()>> {
        let control = self.handshakes.control.as_ref()?;
        let mut state = self.handshakes.lock();
        if let Some(pending) = state.pending.get(name) {
            return Some(pending.clone());
        }
        if state.pending.len() >= PENDING_MAX {
            tracing::warn!(target: "tls.on_demand", name, "too many certificates are being obtained; refused");
            return None;
        }
        let (over, pending) = watch::channel(());
        state.pending.insert(name.to_owned(), pending.clone());
        drop(state);
        let (automation, name, policy) = (self.clone(), name.to_owned(), policy.clone());
        control.spawn(async move {
            let found = tokio::time::timeout(WAIT_MAX, automation.find(&name, &policy)).await;
            automation.note(&name, found.unwrap_or(Err(Failure::Timeout)));
            drop(over);
        });
        Some(pending)
    }

    /// The certificate of a name: from the storage, or a new one.
    async fn find(self: &Arc<Self>, name: &str, policy: &Arc<Policy>) -> Result<Held, Failure> {
        match &self.handshakes.permission {
            Some(permission) => permission.ask(name).await.map_err(Failure::Denied)?,
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
        let old = match stored {
            Some(held) if !policy.is_due(&held, now()) => return Ok(held),
            old => old,
        };
        if self.handshakes.lock().failed.get(name).is_some_and(|at| at.elapsed() < FAILURE_MEMORY) {
            return old.ok_or(Failure::Again);
        }
        let _turn = self.orders.acquire().await;
        let got = policy.get(name, 0, old.clone()).await;
        match (got, old) {
            (Ok(held), _) => {
                tracing::info!(target: "tls.on_demand", name, "certificate obtained");
                Ok(held)
            }
            (Err(error), old) => {
                self.handshakes.lock().remember_failure(name);
                tracing::error!(target: "tls.on_demand", name, %error, "obtaining a certificate failed");
                // One that is only due still serves.
                old.filter(|old| old.certificate.facts.not_after > now()).ok_or(Failure::Again)
            }
        }
    }

    /// Puts what has been found at hand, and forgets that it was looked for.
    fn note(&self, name: &str, found: Result<Held, Failure>) {
        let mut state = self.handshakes.lock();
        state.pending.remove(name);
        match found {
            Ok(held) => {
                let replaced = state.held.remove(name).map(|old| old.certificate);
                if state.held.len() >= self.handshakes.capacity
                    && let Some(any) = state.held.keys().next().cloned()
                    && let Some(gone) = state.held.remove(&any)
                {
                    self.store.remove(&gone.certificate);
                }
                self.store.put(held.certificate.clone(), replaced.as_ref());
                state.held.insert(name.to_owned(), held);
            }
            Err(Failure::Denied(denied)) => {
                if let Some(gone) = state.held.remove(name) {
                    self.store.remove(&gone.certificate);
                }
                match denied {
                    Denied::Refused(_) => {
                        tracing::debug!(target: "tls.on_demand", name, error = %denied, "on-demand certificate issuance denied");
                    }
                    Denied::Failed(_) => {
                        tracing::error!(target: "tls.on_demand", name, error = %denied, "failed to get permission for on-demand certificate");
                    }
                }
            }
            Err(error) => tracing::debug!(target: "tls.on_demand", name, %error, "no certificate"),
        }
    }
}

impl State {
    fn remember_failure(&mut self, name: &str) {
        if self.failed.len() >= FAILURES_MAX {
            self.failed.retain(|_, at| at.elapsed() < FAILURE_MEMORY);
        }
        if self.failed.len() < FAILURES_MAX {
            self.failed.insert(name.to_owned(), Instant::now());
        }
    }
}

/// Why there is no certificate for a handshake.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Denied(Denied),
    #[error("{0}")]
    Storage(TlsError),
    #[error("it took too long")]
    Timeout,
    #[error("it could not be obtained; it is tried again in a while")]
    Again,
}

/// `name` with its first label replaced by `*`.
fn wildcard_of(name: &str) -> Option<String> {
    name.split_once('.').map(|(_, rest)| format!("*.{rest}"))
}
