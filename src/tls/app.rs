//! The `tls` and `pki` apps of one configuration, ready to use.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;

use super::automation::Automation;
use super::placeholder::{expand, server_name};
use super::policy::Context;
use super::tickets::Tickets;
use super::trust_pool::Sources;
use super::{
    Authorities, CertificateStore, ClientOptions, ConnectionPolicies, HttpVersions, Modules, SharedStorage,
    TlsError, TrustPool, TrustStore, client, load,
};
use crate::config;
use crate::config::pki::Pki;
use crate::config::tls::ConnectionPolicy;

/// However short certificates live, they are not looked at more often.
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The TLS side of one configuration: its certificates, and all that is made from them.
#[derive(Debug)]
pub struct App {
    store: Arc<CertificateStore>,
    authorities: Authorities,
    storage: SharedStorage,
    modules: Arc<Modules>,
    tickets: Tickets,
    automation: Automation,
    /// Names that the configuration lists to be managed.
    automate: BTreeSet<String>,
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
        let store = CertificateStore::default();
        for (loader, json) in &config.certificates {
            let loaded = load::load(loader, json, &*storage);
            store.extend(loaded.map_err(|error| error.at("loading certificates"))?);
        }
        Ok(Self {
            store: Arc::new(store),
            authorities: Authorities::provision(pki, &storage, &modules.storages)?,
            tickets: Tickets::new(config.session_tickets.as_ref())?,
            automation: Automation::default(),
            automate: automate.iter().map(|name| server_name(&expand(name))).collect(),
            storage,
            modules: modules.clone(),
            system_pool: OnceLock::new(),
        })
    }

    /// Gets certificates for `names`, and for those that the configuration lists, by the policies of
    /// `automation`. They are at hand when this returns. It reads and writes files, so it must not run
    /// on a worker.
    ///
    /// # Errors
    /// [`TlsError`] for a policy that makes no sense, or a name whose certificate can't be had.
    pub fn automate(
        &mut self,
        automation: Option<&config::tls::Automation>,
        names: &BTreeSet<String>,
    ) -> Result<(), TlsError> {
        self.automation = Automation::provision(
            automation,
            &self.automate,
            &self.authorities,
            &self.storage,
            &self.modules,
        )?;
        self.automation.manage(names, &self.automate, &self.store)
    }

    /// Keeps certificates and authorities renewed, for as long as it is polled. The work itself is done
    /// on the runtime's threads for blocking work.
    pub async fn maintain(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.next_look()).await;
            let app = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || app.renew()).await {
                tracing::error!(target: "tls.renew", %error, "renewing certificates broke off");
            }
        }
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

    fn next_look(&self) -> Duration {
        let authorities = self.authorities.all();
        let intervals = authorities.iter().map(|authority| authority.maintenance_interval());
        let look = intervals
            .min()
            .map_or(self.automation.next_look(), |least| least.min(self.automation.next_look()));
        look.max(LOOK_INTERVAL_MIN)
    }

    fn renew(&self) {
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
        self.automation.renew(&self.store);
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
        let context = Context { store: &self.store, sources: self.sources(), tickets: &self.tickets };
        ConnectionPolicies::provision(policies, versions, &context)
    }

    /// Builds what rustls needs to connect to servers behind us.
    ///
    /// # Errors
    /// [`TlsError`] for what can't be read, contradicts itself, or would trust nobody.
    pub fn client_config(&self, options: &ClientOptions<'_>) -> Result<Arc<ClientConfig>, TlsError> {
        let system = || match self.system_pool.get() {
            Some(pool) => Ok(pool.clone()),
            None => {
                let pool = TrustPool::system()?;
                Ok(self.system_pool.get_or_init(|| pool).clone())
            }
        };
        if !options.certificate_name.is_empty() && !self.has_certificate_for(options.certificate_name) {
            self.automation.add(options.certificate_name, &self.store)?;
        }
        Ok(Arc::new(client::config(options, self.sources(), system, &self.store)?))
    }

    /// Whether a certificate is at hand for this name, or a wildcard that stands for it.
    pub fn has_certificate_for(&self, subject: &str) -> bool {
        self.store.covers(subject)
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

    fn sources(&self) -> Sources<'_> {
        Sources { authorities: &self.authorities, storage: &self.storage, storages: &self.modules.storages }
    }
}
