//! Upstreams that are looked up: the addresses behind a name (`dynamic a`), or the servers of a
//! service (`dynamic srv`), from one source or several.
//!
//! An outcome is used until it is too old. Then one request looks again, and those that come meanwhile
//! use the old one.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::dynamic::{AUpstreams, MultiUpstreams, NAMESPACE, SrvUpstreams};
use super::json::SOURCE_TAG;
use super::upstreams::{Limits, Upstream};
use crate::config::{self, ModuleJson, join_host_port};
use crate::dns::{Families, Resolver, Srv};
use crate::http::{Exchange, ProvisionError, Template, Unknown};
use crate::modules::transports::http::Resolver as ResolverJson;

/// How long an outcome is used, unless said otherwise.
const REFRESH: Duration = Duration::from_secs(60);
/// A look-up gets this long.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);
/// A source looks for so many names at a time.
const LOOKUPS_MAX: usize = 32;
/// So many names are remembered; a name may depend on the request.
const NAMES_MAX: usize = 100;

/// Where upstreams are looked up.
pub enum Source {
    /// The addresses of a name.
    A(Addresses),
    /// The servers of a service.
    Srv(Services),
    /// Several sources, one after the other.
    Multi(Vec<Source>),
}

/// The addresses of a name.
pub struct Addresses {
    name: Template,
    port: Template,
    families: Families,
    resolver: Option<Resolver>,
    cache: Cache,
}

/// The servers of a service.
pub struct Services {
    /// The labels of service and protocol, if there are any.
    labels: Option<(Template, Template)>,
    name: Template,
    network: String,
    resolver: Resolver,
    cache: Cache,
}

/// Outcomes, and how long they are used.
struct Cache {
    refresh: Duration,
    /// How long an old one is used after a failure.
    grace: Option<Duration>,
    limits: Limits,
    known: Mutex<HashMap<String, Known>>,
    /// Look-ups of what is not known yet, and their outcomes for those who wait for the same.
    under_way: Mutex<HashMap<String, UnderWay>>,
    turns: Semaphore,
}

/// What a look-up has come to: nothing yet, or upstreams if there are some.
type UnderWay = Arc<tokio::sync::Mutex<Option<Option<Vec<Arc<Upstream>>>>>>;

/// A look-up's place among those under way, which it leaves at its end.
struct Entry<'c> {
    cache: &'c Cache,
    key: &'c str,
    under_way: UnderWay,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut all = self.cache.under_way();
        if all.get(self.key).is_some_and(|current| Arc::ptr_eq(current, &self.under_way)) {
            all.remove(self.key);
        }
    }
}

/// What is known of a name.
enum Look {
    Fresh(Vec<Arc<Upstream>>),
    /// Somebody has to look again: this one.
    Old,
    Unknown,
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
    /// There is none such, or its own complaint.
    pub fn provision(json: &ModuleJson, limits: Limits) -> Result<Self, ProvisionError> {
        match json.name(SOURCE_TAG)? {
            "a" => Addresses::provision(&json.decode(SOURCE_TAG)?, limits).map(Self::A),
            "srv" => Services::provision(&json.decode(SOURCE_TAG)?, limits).map(Self::Srv),
            "multi" => {
                let multi: MultiUpstreams = json.decode(SOURCE_TAG)?;
                let sources = multi.sources.iter().map(|source| Self::provision(source, limits));
                sources.collect::<Result<_, _>>().map(Self::Multi)
            }
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
            Self::Srv(services) => Box::pin(services.upstreams(services.asked(x))),
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

/// Who is asked, if the configuration says so.
fn resolver(
    json: Option<&ResolverJson>,
    timeout: config::Duration,
) -> Result<Option<Resolver>, ProvisionError> {
    json.map(|json| Resolver::new(&json.addresses, timeout.positive()))
        .transpose()
        .map_err(ProvisionError::invalid)
}

fn text(template: &Template, x: &Exchange) -> String {
    String::from_utf8_lossy(&template.render(x)).into_owned()
}

impl Addresses {
    fn provision(json: &AUpstreams, limits: Limits) -> Result<Self, ProvisionError> {
        let versions = json.versions.clone().unwrap_or_default();
        let both = versions.ipv4.is_none() && versions.ipv6.is_none();
        let port = if json.port.is_empty() { "80" } else { &json.port };
        Ok(Self {
            name: Template::compile(&json.name, Unknown::Empty),
            port: Template::compile(port, Unknown::Empty),
            families: Families {
                v4: both || versions.ipv4 == Some(true),
                v6: both || versions.ipv6 == Some(true),
            },
            resolver: resolver(json.resolver.as_ref(), json.dial_timeout)?,
            cache: Cache::new(json.refresh, None, limits),
        })
    }

    fn asked(&self, x: &Exchange) -> (String, String) {
        (text(&self.name, x), text(&self.port, x))
    }

    async fn upstreams(&self, name: String, port: String) -> Option<Vec<Arc<Upstream>>> {
        let port_number: u16 = port.parse().ok()?;
        let key = join_host_port(&name, &port);
        let looking = async {
            let addresses: Vec<IpAddr> = match &self.resolver {
                Some(resolver) => resolver.addresses(&name, self.families).await?,
                None => {
                    tokio::net::lookup_host((name.as_str(), port_number)).await?.map(|a| a.ip()).collect()
                }
            };
            let meant = addresses.into_iter().filter(|ip| self.families.hold(*ip));
            Ok(meant.map(|ip| SocketAddr::new(ip, port_number).to_string()).collect())
        };
        self.cache.get(key, looking).await
    }
}

impl Services {
    fn provision(json: &SrvUpstreams, limits: Limits) -> Result<Self, ProvisionError> {
        let compile = |text: &str| Template::compile(text, Unknown::Empty);
        let has_labels = !json.service.is_empty() || !json.proto.is_empty();
        Ok(Self {
            labels: has_labels.then(|| (compile(&json.service), compile(&json.proto))),
            name: compile(&json.name),
            network: json.dial_network.clone(),
            resolver: match resolver(json.resolver.as_ref(), json.dial_timeout)? {
                Some(resolver) => resolver,
                None => Resolver::system(),
            },
            cache: Cache::new(json.refresh, json.grace_period.positive(), limits),
        })
    }

    fn asked(&self, x: &Exchange) -> String {
        let name = text(&self.name, x);
        match &self.labels {
            Some((service, proto)) => format!("_{}._{}.{name}", text(service, x), text(proto, x)),
            None => name,
        }
    }

    async fn upstreams(&self, name: String) -> Option<Vec<Arc<Upstream>>> {
        let looking = async {
            let services = self.resolver.services(&name).await?;
            let address = |srv: Srv| {
                let address = join_host_port(&srv.target, &srv.port.to_string());
                if self.network.is_empty() { address } else { format!("{}/{address}", self.network) }
            };
            Ok(services.into_iter().map(address).collect())
        };
        self.cache.get(name.clone(), looking).await
    }
}

impl Cache {
    fn new(refresh: config::Duration, grace: Option<Duration>, limits: Limits) -> Self {
        Self {
            refresh: refresh.positive().unwrap_or(REFRESH),
            grace,
            limits,
            known: Mutex::default(),
            under_way: Mutex::default(),
            turns: Semaphore::new(LOOKUPS_MAX),
        }
    }

    /// What is known under `key`, or what looking comes to.
    async fn get(
        &self,
        key: String,
        looking: impl Future<Output = io::Result<Vec<String>>>,
    ) -> Option<Vec<Arc<Upstream>>> {
        match self.look(&key) {
            Look::Fresh(known) => Some(known),
            Look::Old => self.renew(key, looking).await,
            Look::Unknown => self.join(key, looking).await,
        }
    }

    /// Looks, or waits for who is looking for the same already, and shares the outcome.
    async fn join(
        &self,
        key: String,
        looking: impl Future<Output = io::Result<Vec<String>>>,
    ) -> Option<Vec<Arc<Upstream>>> {
        let under_way = Arc::clone(self.under_way().entry(key.clone()).or_default());
        // Who comes after it looks anew, or finds what is known; also if the client leaves meanwhile.
        let entry = Entry { cache: self, key: &key, under_way };
        let mut outcome = entry.under_way.lock().await;
        if outcome.is_none() {
            *outcome = Some(self.renew(key.clone(), looking).await);
        }
        outcome.clone().flatten()
    }

    /// Looks, as soon as not too many others do.
    async fn renew(
        &self,
        key: String,
        looking: impl Future<Output = io::Result<Vec<String>>>,
    ) -> Option<Vec<Arc<Upstream>>> {
        let looked = tokio::time::timeout(LOOKUP_TIMEOUT, async {
            let _turn = self.turns.acquire().await.map_err(io::Error::other)?;
            looking.await
        });
        let found =
            looked.await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long")));
        match found {
            Ok(addresses) => Some(self.keep(key, &addresses)),
            Err(error) => {
                tracing::error!(name = key, %error, "looking up dynamic upstreams");
                self.after_failure(&key)
            }
        }
    }

    /// What is fresh. What is too old counts as fresh for whoever asks while the first who found it so
    /// looks again.
    fn look(&self, key: &str) -> Look {
        let now = Instant::now();
        let mut all = self.known();
        let Some(known) = all.get_mut(key) else { return Look::Unknown };
        if known.until > now {
            return Look::Fresh(known.upstreams.clone());
        }
        known.until = now + LOOKUP_TIMEOUT;
        Look::Old
    }

    fn keep(&self, key: String, addresses: &[String]) -> Vec<Arc<Upstream>> {
        let upstream = |address: &String| match Upstream::fixed(address, self.limits) {
            Ok(upstream) => Some(Arc::new(upstream)),
            Err(error) => {
                tracing::warn!(address, %error, "a record was left out");
                None
            }
        };
        let upstreams: Vec<_> = addresses.iter().filter_map(upstream).collect();
        let mut all = self.known();
        let now = Instant::now();
        if all.len() >= NAMES_MAX && !all.contains_key(&key) {
            all.retain(|_, known| known.until > now);
        }
        // Names that all are fresh can only come from requests; one more is not remembered.
        if all.len() < NAMES_MAX || all.contains_key(&key) {
            all.insert(key, Known { until: now + self.refresh, upstreams: upstreams.clone() });
        }
        upstreams
    }

    /// The old outcome, if it may still be used.
    fn after_failure(&self, key: &str) -> Option<Vec<Arc<Upstream>>> {
        let mut all = self.known();
        let known = all.get_mut(key)?;
        let Some(grace) = self.grace else {
            // The next request looks again.
            all.remove(key);
            return None;
        };
        known.until = Instant::now() + grace;
        Some(known.upstreams.clone())
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(refresh: u64, grace: Option<u64>) -> Cache {
        Cache {
            refresh: Duration::from_millis(refresh),
            ..Cache::new(config::Duration::ZERO, grace.map(Duration::from_millis), Limits::default())
        }
    }

    async fn get(cache: &Cache, outcome: io::Result<Vec<String>>) -> Option<Vec<String>> {
        let found = cache.get("name".into(), async { outcome }).await?;
        Some(found.iter().map(|upstream| upstream.name.to_string()).collect())
    }

    fn found(address: &str) -> io::Result<Vec<String>> {
        Ok(vec![address.to_owned()])
    }

    fn failed() -> io::Result<Vec<String>> {
        Err(io::Error::other("no answer"))
    }

    #[tokio::test]
    async fn an_outcome_is_used_until_it_is_too_old() {
        let cache = cache(50, None);
        assert_eq!(get(&cache, found("a:1")).await.unwrap(), ["a:1"]);
        assert_eq!(get(&cache, found("b:1")).await.unwrap(), ["a:1"]);
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(get(&cache, found("c:1")).await.unwrap(), ["c:1"]);
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(get(&cache, failed()).await, None);
        assert_eq!(get(&cache, found("d:1")).await.unwrap(), ["d:1"]);
    }

    #[tokio::test]
    async fn within_its_grace_an_old_one_outlives_a_failure() {
        let cache = cache(20, Some(60));
        assert_eq!(get(&cache, failed()).await, None);
        assert_eq!(get(&cache, found("a:1")).await.unwrap(), ["a:1"]);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(get(&cache, failed()).await.unwrap(), ["a:1"]);
        assert_eq!(get(&cache, found("b:1")).await.unwrap(), ["a:1"]);
        tokio::time::sleep(Duration::from_millis(70)).await;
        assert_eq!(get(&cache, found("b:1")).await.unwrap(), ["b:1"]);
    }

    #[tokio::test]
    async fn one_looks_again_and_others_use_the_old_one() {
        let cache = cache(20, None);
        get(&cache, found("a:1")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        let slow = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            found("b:1")
        };
        let (slow, other) = tokio::join!(cache.get("name".into(), slow), get(&cache, found("c:1")));
        assert_eq!(&*slow.unwrap()[0].name, "b:1");
        assert_eq!(other.unwrap(), ["a:1"]);
    }

    #[tokio::test]
    async fn of_many_who_ask_for_what_is_not_known_one_looks() {
        let cache = cache(10_000, None);
        let looks = std::sync::atomic::AtomicUsize::new(0);
        let looks = &looks;
        let ask = |outcome: fn() -> io::Result<Vec<String>>| {
            let slow = async move {
                looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
                outcome()
            };
            cache.get("name".into(), slow)
        };
        let failures = futures_util::future::join_all((0..50).map(|_| ask(failed))).await;
        assert!(failures.iter().all(Option::is_none));
        assert_eq!(looks.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert!(cache.under_way().is_empty());
        let outcomes = futures_util::future::join_all((0..50).map(|_| ask(|| found("a:1")))).await;
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_some_and(|all| &*all[0].name == "a:1")));
        assert_eq!(looks.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn who_leaves_while_looking_leaves_it_to_another() {
        let cache = cache(10_000, None);
        let endless = cache.get("name".into(), std::future::pending());
        assert!(tokio::time::timeout(Duration::from_millis(20), endless).await.is_err());
        assert!(cache.under_way().is_empty());
        assert_eq!(get(&cache, found("a:1")).await.unwrap(), ["a:1"]);
        assert!(cache.under_way().is_empty());
    }

    #[tokio::test]
    async fn what_is_no_address_is_left_out_and_few_names_are_remembered() {
        let cache = cache(10_000, None);
        let both = Ok(vec!["a:1".into(), "udp/b:1".into()]);
        assert_eq!(get(&cache, both).await.unwrap(), ["a:1"]);
        for name in 0..NAMES_MAX + 10 {
            cache.get(name.to_string(), async { found("a:1") }).await.unwrap();
        }
        assert_eq!(cache.known().len(), NAMES_MAX);
    }
}
