//! Upstreams that are looked up for each request: the addresses behind a name (`dynamic a`), from
//! one source or several.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::dynamic::{AUpstreams, MultiUpstreams, NAMESPACE};
use super::json::SOURCE_TAG;
use super::upstreams::{Limits, Upstream};
use crate::config::{ModuleJson, join_host_port};
use crate::http::{Exchange, ProvisionError, Template, Unknown};

/// How long an outcome is used, unless said otherwise.
const REFRESH: Duration = Duration::from_secs(60);
/// The system's resolver gets this long.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// So many names are remembered; a name may depend on the request.
const NAMES_MAX: usize = 100;

/// Where upstreams are looked up.
pub enum Source {
    /// The addresses of a name.
    A(Addresses),
    /// Several sources, one after the other.
    Multi(Vec<Source>),
}

/// The addresses of a name.
pub struct Addresses {
    name: Template,
    port: Template,
    refresh: Duration,
    ipv4: bool,
    ipv6: bool,
    limits: Limits,
    known: Mutex<HashMap<String, Known>>,
}

struct Known {
    until: Instant,
    upstreams: Vec<Arc<Upstream>>,
}

type Lookup<'x> = Pin<Box<dyn Future<Output = Option<Vec<Arc<Upstream>>>> + Send + 'x>>;

impl Source {
    /// The source that the JSON asks for.
    ///
    /// # Errors
    /// There is none such, or not yet.
    pub fn provision(json: &ModuleJson, limits: Limits) -> Result<Self, ProvisionError> {
        match json.name(SOURCE_TAG)? {
            "a" => Addresses::provision(&json.decode(SOURCE_TAG)?, limits).map(Self::A),
            "multi" => {
                let multi: MultiUpstreams = json.decode(SOURCE_TAG)?;
                let sources = multi.sources.iter().map(|source| Self::provision(source, limits));
                sources.collect::<Result<_, _>>().map(Self::Multi)
            }
            "srv" => Err(ProvisionError::invalid("dynamic upstreams: srv is not available yet")),
            name => Err(ProvisionError::Unknown { namespace: NAMESPACE, name: name.to_owned() }),
        }
    }

    /// The upstreams for a request; `None` if they can't be found out, which leaves the static ones.
    pub fn upstreams<'x>(&'x self, x: &'x Exchange) -> Lookup<'x> {
        match self {
            Self::A(addresses) => {
                let (name, port) = addresses.asked(x);
                Box::pin(addresses.upstreams(name, port))
            }
            Self::Multi(sources) => {
                let lookups: Vec<_> = sources.iter().map(|source| source.upstreams(x)).collect();
                Box::pin(async move {
                    let mut all = Vec::new();
                    for lookup in lookups {
                        all.extend(lookup.await.unwrap_or_default());
                    }
                    Some(all)
                })
            }
        }
    }
}

impl Addresses {
    fn provision(json: &AUpstreams, limits: Limits) -> Result<Self, ProvisionError> {
        if json.resolver.is_some() {
            return Err(ProvisionError::invalid("dynamic upstreams: resolvers is not available yet"));
        }
        let versions = json.versions.clone().unwrap_or_default();
        let both = versions.ipv4.is_none() && versions.ipv6.is_none();
        let port = if json.port.is_empty() { "80" } else { &json.port };
        Ok(Self {
            name: Template::compile(&json.name, Unknown::Empty),
            port: Template::compile(port, Unknown::Empty),
            refresh: json.refresh.positive().unwrap_or(REFRESH),
            ipv4: both || versions.ipv4 == Some(true),
            ipv6: both || versions.ipv6 == Some(true),
            limits,
            known: Mutex::default(),
        })
    }

    fn asked(&self, x: &Exchange) -> (String, String) {
        let text = |template: &Template| String::from_utf8_lossy(&template.render(x)).into_owned();
        (text(&self.name), text(&self.port))
    }

    async fn upstreams(&self, name: String, port: String) -> Option<Vec<Arc<Upstream>>> {
        let key = join_host_port(&name, &port);
        if let Some(known) = self.known().get(&key)
            && known.until > Instant::now()
        {
            return Some(known.upstreams.clone());
        }
        let port_number: u16 = port.parse().ok()?;
        let lookup = tokio::net::lookup_host((name.as_str(), port_number));
        let addresses = match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => {
                tracing::error!(name, %error, "looking up dynamic upstreams");
                return None;
            }
            Err(_) => {
                tracing::error!(name, "looking up dynamic upstreams took too long");
                return None;
            }
        };
        let meant = addresses.filter(|address| if address.is_ipv4() { self.ipv4 } else { self.ipv6 });
        let upstreams: Vec<_> = meant
            .filter_map(|address| Upstream::fixed(&address.to_string(), self.limits).ok())
            .map(Arc::new)
            .collect();
        let mut known = self.known();
        if known.len() >= NAMES_MAX {
            let now = Instant::now();
            known.retain(|_, known| known.until > now);
        }
        // Names that all are fresh can only come from requests; one more is not remembered.
        if known.len() < NAMES_MAX {
            let until = Instant::now() + self.refresh;
            known.insert(key, Known { until, upstreams: upstreams.clone() });
        }
        Some(upstreams)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
