//! A running instance: the engine, the configuration in force, and how one follows another.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::admin::{Bound, Endpoint};
use super::config_tree::{ConfigTree, Edit, TreeError};
use super::provision::{self, LoadError, Provisioned};
use super::source::Origin;
use super::{autosave, notify};
use crate::config::ModuleJson;
use crate::http::{Background, Engine, upstream};
use crate::log;
use crate::metrics;
use crate::module::Registry;
use crate::tls::{self, TrustStore};

/// How often idle connections to upstreams are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The path of the whole configuration.
const WHOLE: &str = "/config/";

/// So long the process waits for what is to be done at its end.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(3);

/// A running instance. There is one in a process.
///
/// All of it runs on the control thread. A change of configuration is provisioned beside the one in
/// force, takes its place at once, and leaves no trace if it fails; changes wait for each other.
pub struct Instance {
    registry: &'static Registry,
    running: tokio::sync::Mutex<Running>,
    /// Where the configuration came from, as long as no other has changed it.
    origin: Mutex<Option<Origin>>,
    /// The certificates and authorities of the configuration in force.
    tls: Mutex<Option<Arc<tls::App>>>,
    /// What counts in the configuration in force.
    metrics: Mutex<Arc<metrics::Registry>>,
    /// Where roots of our authorities are put, if anywhere.
    trust_store: OnceLock<TrustStore>,
    phase: watch::Sender<Phase>,
}

/// How far an instance has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// It was told to quit.
    Quitting,
    /// All requests to the sites are done.
    Drained,
}

struct Running {
    /// Gone once the instance has begun to stop.
    engine: Option<Engine>,
    tree: ConfigTree,
    generation: Generation,
    admin: Option<Endpoint>,
}

/// What belongs to one configuration alone. Its work beside the requests ends when it is dropped.
#[derive(Default)]
struct Generation {
    /// What is said of where certificates are kept.
    storage: Option<ModuleJson>,
    grace: Option<Duration>,
    delay: Option<Duration>,
    _background: JoinSet<()>,
    /// What is to be done at the end of the process.
    closing: Vec<Background>,
}

/// A change of the configuration.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where, beginning with `/config/`.
    pub path: String,
    /// What.
    pub edit: Edit,
    /// The `If-Match` field: only if the value at some path still has this tag.
    pub if_match: Option<String>,
    /// Even if it changes nothing, so that files that the configuration names are read anew.
    pub force: bool,
}

impl Change {
    /// A new configuration altogether.
    pub fn whole(config: Value, force: bool) -> Self {
        Self { path: WHOLE.to_owned(), edit: Edit::Put(config), if_match: None, force }
    }
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// `If-Match` isn't a path and a hash in quotes, or its path can't be read.
    #[error("malformed If-Match header; {0}")]
    MalformedIfMatch(String),
    /// The value has changed since.
    #[error("If-Match header did not match current config hash")]
    IfMatchDiffers,
    /// The path and what to do there don't fit together.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The configuration that would come of it can't run.
    #[error("loading new config: {0}")]
    Load(#[from] LoadError),
    /// The instance is about to end.
    #[error("the instance is shutting down")]
    Stopping,
}

impl Instance {
    /// An instance that serves nothing yet.
    pub fn new(registry: &'static Registry, engine: Engine) -> Arc<Self> {
        let running = Running {
            engine: Some(engine),
            tree: ConfigTree::default(),
            generation: Generation::default(),
            admin: None,
        };
        Arc::new(Self {
            registry,
            running: tokio::sync::Mutex::new(running),
            origin: Mutex::default(),
            tls: Mutex::default(),
            metrics: Mutex::default(),
            trust_store: OnceLock::new(),
            phase: watch::channel(Phase::Serving).0,
        })
    }

    /// All modules.
    pub fn registry(&self) -> &'static Registry {
        self.registry
    }

    /// From the next configuration on, makes the system trust the roots of our authorities, unless a
    /// configuration says otherwise.
    pub fn install_roots_in(&self, store: TrustStore) {
        // Once is enough: a process has one system.
        _ = self.trust_store.set(store);
    }

    /// The certificates and authorities of the configuration in force, if there is one.
    pub fn tls(&self) -> Option<Arc<tls::App>> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What counts in the configuration in force.
    pub fn metrics(&self) -> Arc<metrics::Registry> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the configuration; null is an empty one.
    ///
    /// # Errors
    /// [`ChangeError`]; then the one before goes on.
    pub async fn load(self: &Arc<Self>, config: Value, force: bool) -> Result<(), ChangeError> {
        self.change(Change::whole(config, force)).await
    }

    /// Changes the configuration. That nothing has changed is no error. Once begun it goes on to its
    /// end, even if nobody waits for it any more.
    ///
    /// # Errors
    /// [`ChangeError`]; then the one before goes on.
    pub async fn change(self: &Arc<Self>, change: Change) -> Result<(), ChangeError> {
        let instance = self.clone();
        let changed = tokio::spawn(async move {
            notify::reloading();
            let mut running = instance.running.lock().await;
            let changed = instance.change_now(&mut running, change).await;
            if let Err(error) = &changed {
                notify::status(&error.to_string());
                metrics::not_loaded();
            }
            notify::ready();
            changed
        });
        // It only breaks off when the runtime ends.
        changed.await.unwrap_or(Err(ChangeError::Stopping))
    }

    async fn change_now(self: &Arc<Self>, running: &mut Running, change: Change) -> Result<(), ChangeError> {
        if let Some(tag) = &change.if_match {
            check_tag(&running.tree, tag)?;
        }
        let tree = running.tree.edited(&change.path, change.edit)?;
        if !change.force && tree.config() == running.tree.config() {
            tracing::info!(target: "", "config is unchanged");
            return Ok(());
        }
        let persist = self.swap(running, tree.without_ids()).await?;
        running.tree = tree;
        if persist && !running.tree.config().is_null() {
            autosave::save(running.tree.config()).await;
        }
        Ok(())
    }

    /// Puts a configuration in force. Tells whether it is to be saved.
    async fn swap(self: &Arc<Self>, running: &mut Running, config: Value) -> Result<bool, ChangeError> {
        let engine = running.engine.as_ref().ok_or(ChangeError::Stopping)?;
        let registry = self.registry;
        // It reads files, and may make keys.
        let provisioned = tokio::task::spawn_blocking(move || provision::provision(config, registry))
            .await
            .map_err(|_| LoadError::BrokeOff)??;
        let Provisioned {
            listens,
            logging,
            admin,
            grace,
            delay,
            persist,
            tls,
            storage,
            metrics,
            background,
            closing,
        } = provisioned;
        let moved = match admin.address() {
            Some(address) if !running.admin.as_ref().is_some_and(|now| now.is_at(address)) => {
                let bound = Bound::open(address).await;
                Some(bound.map_err(|source| LoadError::Admin { address: address.to_string(), source })?)
            }
            _ => None,
        };
        tls.staple().await;
        if let Some(before) = self.tls().filter(|_| storage == running.generation.storage) {
            let next = tls.clone();
            // It verifies what it takes over.
            tokio::task::spawn_blocking(move || next.inherit(&before))
                .await
                .map_err(|_| LoadError::BrokeOff)?;
        }
        engine.apply(listens).await.map_err(LoadError::from)?;
        // Nothing can fail from here on.
        log::activate(logging);
        *self.metrics.lock().unwrap_or_else(PoisonError::into_inner) = metrics;
        metrics::loaded();
        let mut tasks = JoinSet::new();
        background.into_iter().for_each(|work| drop(tasks.spawn(work)));
        tasks.spawn(sweep());
        running.generation = Generation { storage, grace, delay, _background: tasks, closing };
        *self.tls.lock().unwrap_or_else(PoisonError::into_inner) = Some(tls.clone());
        if self.trust_store.get().is_some() {
            let instance = self.clone();
            // Nobody waits for it: sites serve whoever trusts them.
            drop(tokio::task::spawn_blocking(move || {
                instance.trust_store.get().iter().for_each(|store| tls.install_roots(store));
            }));
        }
        match (moved, admin.address()) {
            (Some(bound), _) => {
                let endpoint = Endpoint::start(bound, &admin, self.clone());
                retire(running.admin.replace(endpoint));
            }
            (None, Some(_)) => running.admin.iter().for_each(|endpoint| endpoint.reconfigure(&admin)),
            (None, None) => {
                tracing::warn!(target: "admin", "admin endpoint disabled");
                retire(running.admin.take());
            }
        }
        Ok(persist)
    }

    /// The value at a path of the configuration as JSON, and its tag.
    ///
    /// # Errors
    /// The path can't be walked.
    pub async fn read(&self, path: &str) -> Result<(String, String), TreeError> {
        let running = self.running.lock().await;
        Ok((running.tree.get(path)?.to_string(), running.tree.etag(path)?))
    }

    /// The path of the object of that name.
    pub async fn path_of_id(&self, id: &str) -> Option<String> {
        self.running.lock().await.tree.path_of_id(id).map(str::to_owned)
    }

    /// The TCP addresses of the sites, with the ports that the system has chosen where it was to choose.
    pub async fn local_addresses(&self) -> Vec<SocketAddr> {
        self.running.lock().await.engine.as_ref().map(Engine::local_addresses).unwrap_or_default()
    }

    /// Where the configuration came from, as long as no other has changed it.
    pub fn origin(&self) -> Option<Origin> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes where the configuration came from.
    pub fn set_origin(&self, origin: Option<Origin>) {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = origin;
    }

    /// Forgets where the configuration came from, unless a change came from there too.
    pub fn keep_origin_if(&self, of_change: &Origin) {
        let mut origin = self.origin.lock().unwrap_or_else(PoisonError::into_inner);
        if origin.as_ref().is_some_and(|known| !is_same(known, of_change)) {
            *origin = None;
        }
    }

    /// Asks the instance to end, and waits until all requests to the sites are done.
    pub async fn quit(&self) {
        self.phase.send_if_modified(|phase| {
            let is_first = *phase == Phase::Serving;
            if is_first {
                *phase = Phase::Quitting;
            }
            is_first
        });
        self.reached(Phase::Drained).await;
    }

    /// Waits until somebody has asked the instance to end.
    pub async fn told_to_quit(&self) {
        self.reached(Phase::Quitting).await;
    }

    async fn reached(&self, wanted: Phase) {
        // The sender is ours, so this can't fail.
        _ = self.phase.subscribe().wait_for(|phase| *phase >= wanted).await;
    }

    /// Serves on for the shutdown delay, lets requests under way end for the grace period, then ends
    /// the admin endpoint too.
    pub async fn stop(&self) {
        let mut running = self.running.lock().await;
        if let Some(engine) = running.engine.take() {
            let (grace, delay) = (running.generation.grace, running.generation.delay);
            if let Some(delay) = delay {
                tracing::info!(target: "http", ?delay, "shutdown scheduled");
                tokio::time::sleep(delay).await;
            }
            match grace {
                Some(grace) => {
                    tracing::info!(target: "http", ?grace, "servers shutting down; grace period initiated")
                }
                None => tracing::info!(target: "http", "servers shutting down with eternal grace period"),
            }
            engine.shutdown(grace).await;
            let Generation { closing, .. } = std::mem::take(&mut running.generation);
            let closed = futures_util::future::join_all(closing);
            if tokio::time::timeout(CLOSING_TIMEOUT, closed).await.is_err() {
                tracing::warn!(target: "", "what was to be done at the end took too long");
            }
        }
        self.phase.send_replace(Phase::Drained);
        if let Some(endpoint) = running.admin.take() {
            // Requests that wait for this lock are answered now.
            drop(running);
            endpoint.stop().await;
        }
    }
}

/// Ends an endpoint in the background: a request to it may be waiting for us.
fn retire(endpoint: Option<Endpoint>) {
    if let Some(endpoint) = endpoint {
        tokio::spawn(endpoint.stop());
    }
}

fn check_tag(tree: &ConfigTree, tag: &str) -> Result<(), ChangeError> {
    let malformed = |why: &str| ChangeError::MalformedIfMatch(why.to_owned());
    let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let inner = inner.ok_or_else(|| malformed("expect quoted string"))?;
    let (Some(path), Some(hash), None) = ({
        let mut parts = inner.split_whitespace();
        (parts.next(), parts.next(), parts.next())
    }) else {
        return Err(malformed("expect format \"<path> <hash>\""));
    };
    if tree.etag(path)? == format!("\"{path} {hash}\"") { Ok(()) } else { Err(ChangeError::IfMatchDiffers) }
}

/// Whether two names are likely those of one file. As in Caddy the last part of the path is enough,
/// since `reload` may be run from another directory.
fn is_same(known: &Origin, other: &Origin) -> bool {
    if !other.adapter.is_empty() && other.adapter != known.adapter {
        return false;
    }
    let name = |origin: &Origin| Path::new(&origin.file).file_name().map(ToOwned::to_owned);
    known.file == other.file || (name(known).is_some() && name(known) == name(other))
}

/// Closes what work beside the requests, such as health checks, has left of connections to upstreams. Workers
/// do that for their own.
async fn sweep() {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        upstream::sweep();
    }
}
