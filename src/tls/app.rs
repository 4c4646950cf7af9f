//! The `tls` and `pki` apps of one configuration, ready to use.

use std::sync::Arc;

use super::policy::Context;
use super::tickets::Tickets;
use super::trust_pool::Sources;
use super::{Authorities, CertificateStore, ConnectionPolicies, FileStorage, HttpVersions, TlsError, load};
use crate::config;
use crate::config::pki::Pki;
use crate::config::tls::ConnectionPolicy;

/// The TLS side of one configuration: its certificates, and all that is made from them.
#[derive(Debug)]
pub struct App {
    store: Arc<CertificateStore>,
    authorities: Authorities,
    storage: FileStorage,
    tickets: Tickets,
}

impl App {
    /// Loads certificates and authorities. This reads and writes files, so it must not run on a worker.
    ///
    /// # Errors
    /// [`TlsError`] for whatever can't be loaded or makes no sense.
    pub fn provision(
        config: Option<&config::tls::App>,
        pki: Option<&Pki>,
        storage: FileStorage,
    ) -> Result<Self, TlsError> {
        let nothing = config::tls::App::default();
        let config = config.unwrap_or(&nothing);
        if config.encrypted_client_hello.is_some() {
            return Err(TlsError::Invalid("encrypted_client_hello is not supported".into()));
        }
        let store = CertificateStore::default();
        for (loader, json) in &config.certificates {
            let loaded = load::load(loader, json, &storage);
            store.extend(loaded.map_err(|error| error.at("loading certificates"))?);
        }
        Ok(Self {
            store: Arc::new(store),
            authorities: Authorities::provision(pki, &storage)?,
            tickets: Tickets::new(config.session_tickets.as_ref())?,
            storage,
        })
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

    /// Whether a certificate is at hand for this name, or a wildcard that stands for it.
    pub fn has_certificate_for(&self, subject: &str) -> bool {
        self.store.covers(subject)
    }

    /// The certificates at hand.
    pub(super) fn store(&self) -> &Arc<CertificateStore> {
        &self.store
    }

    /// The authorities.
    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    fn sources(&self) -> Sources<'_> {
        Sources { authorities: &self.authorities, storage: &self.storage }
    }
}
