//! From what is said of a transport to connections.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{HttpTransport, KeepAlive, PROXY_TAG};
use crate::http::upstream::{Dial, Transport, TransportOptions};
use crate::http::{Exchange, Provision, ProvisionError};

/// How long a connection may take to stand, unless said otherwise.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an idle connection is kept, unless said otherwise.
const IDLE_KEEP: Duration = Duration::from_secs(120);
/// So many of them, unless said otherwise.
const IDLE_MAX: usize = 32;

/// The ways of one `transport http` to upstreams.
pub struct Transports {
    plain: Transport,
    limits: Option<Limits>,
}

/// The right to have one of the connections that `max_conns_per_host` grants.
pub type Permit = OwnedSemaphorePermit;

/// So many requests at a time to each upstream. Each has a connection of its own.
struct Limits {
    most: usize,
    by_upstream: Mutex<HashMap<Dial, Weak<Semaphore>>>,
}

impl Transports {
    /// Makes ready what the JSON asks for.
    ///
    /// # Errors
    /// It asks for something that can't be, or isn't there yet.
    pub fn provision(json: &HttpTransport, _: &mut Provision<'_>) -> Result<Self, ProvisionError> {
        refuse_what_is_missing(json)?;
        let h2c = json.versions.iter().any(|version| version == "h2c");
        let options = TransportOptions { h2c, ..options(json) };
        let limits = usize::try_from(json.max_conns_per_host).ok().filter(|most| *most > 0);
        Ok(Self {
            plain: Transport::new(options),
            limits: limits.map(|most| Limits { most, by_upstream: Mutex::default() }),
        })
    }

    /// Whether requests travel by TLS, so that `Host` has to be the upstream's own.
    pub fn uses_tls(&self) -> bool {
        false
    }

    /// The way to an upstream.
    ///
    /// # Errors
    /// The server's name for TLS, which depends on the request, is none.
    pub fn pick(
        &self,
        _: &Dial,
        _: &Exchange,
        _upgrade: bool,
    ) -> Result<impl Deref<Target = Transport>, String> {
        Ok(&self.plain)
    }

    /// Waits for the right to a connection, if their number is limited.
    pub async fn permit(&self, dial: &Dial) -> Option<Permit> {
        let limits = self.limits.as_ref()?;
        // Semaphores are closed by nobody.
        limits.semaphore(dial).acquire_owned().await.ok()
    }
}

impl Limits {
    fn semaphore(&self, dial: &Dial) -> Arc<Semaphore> {
        let mut by_upstream = self.by_upstream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = by_upstream.get(dial).and_then(Weak::upgrade) {
            return semaphore;
        }
        // Upstreams that depend on the request come and go.
        by_upstream.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.most));
        by_upstream.insert(dial.clone(), Arc::downgrade(&semaphore));
        semaphore
    }
}

fn options(json: &HttpTransport) -> TransportOptions {
    let keep_alive = json.keep_alive.clone().unwrap_or_default();
    let defaults = TransportOptions::default();
    TransportOptions {
        dial_timeout: Some(json.dial_timeout.positive().unwrap_or(DIAL_TIMEOUT)),
        response_header_timeout: json.response_header_timeout.positive(),
        keep_alive: keep_alive.enabled.unwrap_or(true),
        idle_keep: keep_alive.idle_timeout.positive().unwrap_or(IDLE_KEEP),
        idle_max: idle_max(&keep_alive),
        head_bytes_max: positive(json.max_response_header_size).unwrap_or(defaults.head_bytes_max),
        ..defaults
    }
}

/// Idle connections to each upstream. Their number in all is a limit for each upstream, too.
fn idle_max(keep_alive: &KeepAlive) -> usize {
    let each = positive(keep_alive.max_idle_conns_per_host).unwrap_or(IDLE_MAX);
    positive(keep_alive.max_idle_conns).map_or(each, |all| each.min(all))
}

fn positive(number: i64) -> Option<usize> {
    usize::try_from(number).ok().filter(|number| *number > 0)
}

/// What is known as configuration but can't be done yet must not be ignored.
fn refuse_what_is_missing(json: &HttpTransport) -> Result<(), ProvisionError> {
    const VERSIONS: [&str; 4] = ["1.1", "2", "h2c", "3"];
    for version in &json.versions {
        if !VERSIONS.contains(&version.as_str()) {
            return Err(ProvisionError::invalid(format!(
                "unsupported HTTP version: {version}, supported version: {}",
                VERSIONS.join(", ")
            )));
        }
    }
    let proxy = json.network_proxy.as_ref().map(|proxy| proxy.name(PROXY_TAG)).transpose()?;
    let missing = [
        ("versions 3", json.versions.iter().any(|version| version == "3")),
        ("resolvers", json.resolver.is_some()),
        ("proxy_protocol", !json.proxy_protocol.is_empty()),
        ("forward_proxy_url", !json.forward_proxy_url.is_empty()),
        ("network_proxy", proxy.is_some_and(|name| name != "none")),
        ("local_address", !json.local_address.is_empty()),
        ("tls", json.tls.is_some()),
    ];
    match missing.iter().find(|(_, said)| *said) {
        Some((option, _)) => {
            Err(ProvisionError::invalid(format!("transport http: {option} is not available yet")))
        }
        None => Ok(()),
    }
}
