//! The `tls` and `pki` apps of one configuration, ready to use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;

use super::automation::Automation;
use super::challenges::{Challenge, SharedChallenges};
use super::issuance::{IssuerContext, Ports};
use super::ocsp::{self, Stapling};
use super::placeholder::{expand, server_name};
use super::policy::Context;
use super::storage::{self, blocking};
use super::tickets::Tickets;
use super::trust_pool::Sources;
use super::{
    Authorities, Certificate, CertificateStore, ClientOptions, ConnectionPolicies, HttpVersions, Modules,
    SharedStorage, TlsError, TrustPool, TrustStore, client, load,
};
use crate::config;
use crate::config::pki::Pki;
use crate::config::tls::ConnectionPolicy;

/// How often storages are cleaned, unless said otherwise, as in Caddy.
const CLEAN_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long after the start they are cleaned first.
const CLEAN_DELAY: Duration = Duration::from_secs(60);
/// A configuration waits so long for staples that are not stored before it is in force.
const STAPLES_TIMEOUT: Duration = Duration::from_secs(3);
/// How often authorities are looked at if there is none.
const LOOK_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// However short their certificates live, they are not looked at more often.
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The TLS side of one configuration: its certificates, and all that is made from them.
#[derive(Debug)]
pub struct App {
    store: Arc<CertificateStore>,
    authorities: Authorities,
    storage: SharedStorage,
    modules: Arc<Modules>,
    tickets: Tickets,
    automation: Arc<Automation>,
    challenges: Arc<SharedChallenges>,
    /// How often storages are cleaned; none if they are not.
    clean_interval: Option<Duration>,
    /// Certificates that the configuration loads, and how they get their staples.
    loaded: Vec<Arc<Certificate>>,
    stapling: Arc<Stapling>,
    staple_interval: Duration,
    /// Whether all staples have been looked after once.
    is_stapled: AtomicBool,
    /// Names that the configuration lists to be managed.
    automate: BTreeSet<String>,
    /// The DNS servers of whoever names none.
    resolvers: Vec<String>,
    /// What the system trusts, once somebody has asked.
    system_pool: OnceLock<TrustPool>,
}

impl App {
    /// Loads certificates and authorities. This reads and writes files, so it must not run on a worker.
    ///
    /// # Errors
    /// [`TlsError`] for whatever can't be loaded or makes no sense.
    pub fn provision(
        config: Option<&config::tls::App>,
        pki: Option<&Pki>,
        storage: SharedStorage,
        modules: &Arc<Modules>,
    ) -> Result<Self, TlsError> {
        let nothing = config::tls::App::default();
        let config = config.unwrap_or(&nothing);
        if config.encrypted_client_hello.is_some() {
            return Err(TlsError::Invalid("encrypted_client_hello is not supported".into()));
        }
        let automate: Vec<String> = match config.certificates.get(load::AUTOMATE) {
            Some(json) => config::decode(json.clone()).map_err(|error| {
                TlsError::Invalid(format!(
                    "loading certificates with 'automate' requires array of strings: {error}"
                ))
            })?,
            None => Vec::new(),
        };
        let stapling = Stapling::new(storage.clone(), config.disable_ocsp_stapling, BTreeMap::new());
        let mut loaded = Vec::new();
        for (loader, json) in &config.certificates {
            let by_loader = load::load(loader, json, &*storage);
            loaded.extend(
                by_loader.map_err(|error| error.at("loading certificates"))?.into_iter().map(Arc::new),
            );
        }
        loaded.iter().for_each(|certificate| stapling.staple_stored(certificate));
        let store = CertificateStore::default();
        store.extend_shared(loaded.clone());
        Ok(Self {
            loaded,
            stapling: Arc::new(stapling),
            staple_interval: staple_interval(config),
            is_stapled: AtomicBool::new(false),
            store: Arc::new(store),
            authorities: Authorities::provision(pki, &storage, &modules.storages)?,
            clean_interval: clean_interval(config),
            tickets: Tickets::new(config.session_tickets.as_ref(), &storage, &modules.storages)?,
            automation: Arc::default(),
            challenges: Arc::default(),
            automate: automate.iter().map(|name| server_name(&expand(name))).collect(),
            resolvers: config.resolvers.clone(),
            storage,
            modules: modules.clone(),
            system_pool: OnceLock::new(),
        })
    }

    /// Puts the certificates of `names`, and of those that the configuration lists, at hand, as far as
    /// they can be had without waiting for others; [`App::maintain`] gets the rest. It reads and writes
    /// files, so it must not run on a worker.
    ///
    /// # Errors
    /// [`TlsError`] for a policy that makes no sense, or a certificate of our own that can't be made.
    pub fn automate(
        &mut self,
        config: Option<&config::tls::App>,
        names: &BTreeSet<String>,
        ports: Ports,
    ) -> Result<(), TlsError> {
        let system = || self.system_pool();
        let context = IssuerContext {
            authorities: &self.authorities,
            storage: &self.storage,
            ports,
            dns: config.and_then(|config| config.dns.as_ref()),
            resolvers: config.map_or(&[], |config| config.resolvers.as_slice()),
            sources: self.sources(),
            store: &self.store,
            system: &system,
        };
        let automation = config.and_then(|config| config.automation.as_ref());
        let capacity = config.and_then(|config| config.cache.as_ref()).map(|cache| cache.capacity);
        let capacity = capacity.and_then(|capacity| usize::try_from(capacity).ok()).filter(|most| *most > 0);
        let mut automation =
            Automation::provision(automation, capacity, &self.automate, &context, &self.modules)?;
        automation.manage(names, &self.automate, &context, &self.modules)?;
        self.challenges = Arc::new(automation.shared_challenges());
        self.automation = Arc::new(automation);
        Ok(())
    }

    /// Takes over what the app before has got at handshakes, as far as the same is said of it here. To be called before
    /// anything is served.
    pub fn inherit(&self, before: &Self) {
        self.automation.inherit(&before.automation);
    }

    /// Keeps certificates and authorities renewed, for as long as it is polled. What may block is done
    /// on the runtime's threads for that.
    pub async fn maintain(self: Arc<Self>) {
        tokio::join!(
            self.automation.clone().run(),
            self.maintain_authorities(),
            self.keep_storages_clean(),
            self.keep_stapled(),
            self.tickets.maintain()
        );
    }

    /// Gets the staples that are not stored, as far as they are there soon, so that the first handshakes have them;
    /// [`App::maintain`] gets the rest.
    pub async fn staple(&self) {
        // The rest comes later.
        _ = tokio::time::timeout(STAPLES_TIMEOUT, self.look_after_staples()).await;
    }

    async fn keep_stapled(&self) {
        if !self.is_stapled.load(Ordering::Relaxed) {
            self.look_after_staples().await;
        }
        loop {
            tokio::time::sleep(self.staple_interval).await;
            self.look_after_staples().await;
        }
    }

    async fn look_after_staples(&self) {
        let mut all = self.automation.to_staple();
        all.extend(self.loaded.iter().map(|certificate| (certificate.clone(), self.stapling.clone())));
        ocsp::look_after(all).await;
        self.is_stapled.store(true, Ordering::Relaxed);
        self.automation.look_again();
    }

    async fn keep_storages_clean(&self) {
        let Some(interval) = self.clean_interval else { return };
        // What is to be served comes first.
        tokio::time::sleep(CLEAN_DELAY).await;
        loop {
            let mut storages = self.automation.storages();
            if !storages.iter().any(|known| Arc::ptr_eq(known, &self.storage)) {
                storages.push(self.storage.clone());
            }
            for storage in storages {
                if let Err(error) = blocking(move || storage::clean(&*storage, interval)).await {
                    tracing::warn!(target: "tls.storage", %error, "cleaning the storage failed");
                }
            }
            tokio::time::sleep(interval).await;
        }
    }

    async fn maintain_authorities(self: &Arc<Self>) {
        loop {
            let authorities = self.authorities.all();
            let intervals = authorities.iter().map(|authority| authority.maintenance_interval());
            tokio::time::sleep(intervals.min().unwrap_or(LOOK_INTERVAL).max(LOOK_INTERVAL_MIN)).await;
            let app = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || app.renew_authorities()).await {
                tracing::error!(target: "pki.ca", %error, "renewing authorities broke off");
            }
        }
    }

    /// The answer to an authority that asks by `GET` for this path of this host (without port) whether the name is ours,
    /// from what other instances have left in the storage; what this process shows is [`super::challenges::http_answer`]'s.
    pub async fn shared_challenge_answer(&self, host: &str, path: &str) -> Option<String> {
        let asked = path.to_owned();
        let is_meant = move |found: &Challenge| found.http_answer(&asked).is_some();
        let found = self.challenges.clone().find(host, is_meant).await?;
        found.http_answer(path).map(str::to_owned)
    }

    /// Makes the system trust the roots of the authorities that are in use, except of those that shall
    /// not be. It runs a command of the system, so it must not run on a worker.
    pub fn install_roots(&self, store: &TrustStore) {
        for authority in self.authorities.all() {
            let ca = authority.id();
            if !authority.installs_trust() {
                tracing::info!(
                    target: "pki.ca", ca,
                    "root certificate trust store installation disabled; unconfigured clients may show warnings"
                );
                continue;
            }
            match store.install(&authority.root()) {
                Ok(true) => {
                    tracing::info!(target: "pki.ca", ca, "root certificate installed in the system's trust store")
                }
                Ok(false) => {
                    tracing::debug!(target: "pki.ca", ca, "root certificate is already trusted by the system")
                }
                Err(error) => {
                    tracing::error!(target: "pki.ca", ca, %error, "failed to install root certificate")
                }
            }
        }
    }

    fn renew_authorities(&self) {
        for authority in self.authorities.all() {
            match authority.maintain() {
                Ok(true) => {
                    tracing::info!(target: "pki.ca", ca = authority.id(), "intermediate certificate renewed")
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(target: "pki.ca", ca = authority.id(), %error, "renewing the intermediate certificate failed");
                }
            }
        }
    }

    /// Builds the policies of one server.
    ///
    /// # Errors
    /// [`TlsError`] with the policy's index.
    pub fn connection_policies(
        &self,
        policies: &[ConnectionPolicy],
        versions: HttpVersions,
    ) -> Result<ConnectionPolicies, TlsError> {
        let context = Context {
            store: &self.store,
            sources: self.sources(),
            tickets: &self.tickets,
            automation: &self.automation,
            challenges: &self.challenges,
        };
        ConnectionPolicies::provision(policies, versions, &context)
    }

    /// Builds what rustls needs to connect to servers behind us.
    ///
    /// # Errors
    /// [`TlsError`] for what can't be read, contradicts itself, or would trust nobody.
    pub fn client_config(&self, options: &ClientOptions<'_>) -> Result<Arc<ClientConfig>, TlsError> {
        if !options.certificate_name.is_empty() && !self.has_certificate_for(options.certificate_name) {
            self.automation.add(options.certificate_name)?;
        }
        Ok(Arc::new(client::config(options, self.sources(), &|| self.system_pool(), &self.store)?))
    }

    /// Whether a certificate is at hand for this name, or a wildcard that stands for it.
    pub fn has_certificate_for(&self, subject: &str) -> bool {
        self.store.covers(subject)
    }

    /// What the system trusts.
    fn system_pool(&self) -> Result<TrustPool, TlsError> {
        if let Some(pool) = self.system_pool.get() {
            return Ok(pool.clone());
        }
        let pool = TrustPool::system()?;
        Ok(self.system_pool.get_or_init(|| pool).clone())
    }

    /// The certificates at hand.
    #[cfg(test)]
    pub(super) fn store(&self) -> &Arc<CertificateStore> {
        &self.store
    }

    /// The authorities.
    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Where certificates and keys are kept.
    pub fn storage(&self) -> &SharedStorage {
        &self.storage
    }

    /// The DNS servers that are asked by whoever names none; none means those of the system.
    pub fn resolvers(&self) -> &[String] {
        &self.resolvers
    }

    fn sources(&self) -> Sources<'_> {
        Sources { authorities: &self.authorities, storage: &self.storage, storages: &self.modules.storages }
    }
}

fn clean_interval(config: &config::tls::App) -> Option<Duration> {
    let said = config.automation.as_ref().and_then(|automation| automation.storage_clean_interval.positive());
    (!config.disable_storage_clean).then(|| said.unwrap_or(CLEAN_INTERVAL))
}

fn staple_interval(config: &config::tls::App) -> Duration {
    let said = config.automation.as_ref().and_then(|automation| automation.ocsp_interval.positive());
    said.unwrap_or(ocsp::INTERVAL).max(LOOK_INTERVAL_MIN)
}
