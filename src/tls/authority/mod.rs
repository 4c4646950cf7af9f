//! Certificate authorities of our own: the `pki` app, and the issuer `internal`.
//!
//! An authority has a root that lives for years and signs one intermediate after the other; those
//! live for days and sign the certificates of sites. Both are kept in the storage, where Caddy
//! keeps them too.

pub mod by_hand;
mod make;
mod request;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rcgen::{Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::TlsError;
use super::certificate::{chain_from_pem, key_from_pem};
use super::storage::{self, SharedStorage, Storage, StorageTypes, safe};
use crate::config::pki::{self, DEFAULT_CA, Pki};

pub use request::{RequestOrder, SignedRequest, SigningRequest};

pub(super) use make::{KeyType, LeafOrder, certificate_pem, is_due};

const DEFAULT_NAME: &str = "Tollgate Local Authority";
const DEFAULT_ROOT_NAME: &str = "{pki.ca.name} - {time.now.year} ECC Root";
const DEFAULT_INTERMEDIATE_NAME: &str = "{pki.ca.name} - ECC Intermediate";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ROOT_LIFETIME: Duration = DAY.saturating_mul(3600);
const INTERMEDIATE_LIFETIME: Duration = DAY.saturating_mul(7);
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How long to wait for another instance that makes or renews the same authority.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(15);
const RENEWAL_WINDOW_RATIO: f64 = 0.2;

/// All authorities of a configuration. The default one is made when somebody first asks for it.
#[derive(Debug)]
pub struct Authorities {
    configured: BTreeMap<String, Arc<Authority>>,
    default: Mutex<Option<Arc<Authority>>>,
    storage: SharedStorage,
}

/// One authority, with its keys at hand.
#[derive(Debug)]
pub struct Authority {
    spec: Spec,
    /// Replaced when the intermediate is renewed.
    signer: ArcSwap<Signer>,
}

/// What stays the same as long as an authority is loaded.
#[derive(Debug)]
struct Spec {
    id: String,
    name: String,
    intermediate_name: String,
    intermediate_lifetime: Duration,
    maintenance_interval: Duration,
    renewal_window_ratio: f64,
    install_trust: bool,
    given_root: Option<pki::KeyPair>,
    intermediate_is_given: bool,
    storage: SharedStorage,
    root: CertificateDer<'static>,
}

/// What signs: an intermediate with its key, or the root.
struct Signer {
    /// The signing certificate and those above it, without the root.
    chain: Vec<CertificateDer<'static>>,
    issuer: Issuer<'static, KeyPair>,
    /// Seconds since 1970.
    not_before: i64,
    not_after: i64,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Authorities {
    /// Loads the authorities of a configuration, and makes those whose keys aren't there yet.
    ///
    /// # Errors
    /// [`TlsError`] with the authority's id.
    pub fn provision(
        config: Option<&Pki>,
        storage: &SharedStorage,
        types: &StorageTypes,
    ) -> Result<Self, TlsError> {
        let authorities =
            Self { configured: BTreeMap::new(), default: Mutex::new(None), storage: storage.clone() };
        let Some(config) = config else { return Ok(authorities) };
        let mut configured = BTreeMap::new();
        for (id, ca) in &config.certificate_authorities {
            configured.insert(id.clone(), Arc::new(Authority::provision(id, ca, storage, types)?));
        }
        if configured.is_empty() {
            authorities.get(DEFAULT_CA)?;
        }
        Ok(Self { configured, ..authorities })
    }

    /// The authority of this id; an empty one means the default.
    ///
    /// # Errors
    /// [`TlsError`] if it isn't configured, or the default one can't be made.
    pub fn get(&self, id: &str) -> Result<Arc<Authority>, TlsError> {
        let id = if id.is_empty() { DEFAULT_CA } else { id };
        if let Some(authority) = self.configured.get(id) {
            return Ok(authority.clone());
        }
        if id != DEFAULT_CA {
            return Err(TlsError::Invalid(format!("no certificate authority configured with id: {id}")));
        }
        let mut default = self.default.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(authority) = &*default {
            return Ok(authority.clone());
        }
        let made =
            Arc::new(Authority::provision(id, &pki::Ca::default(), &self.storage, &StorageTypes::new())?);
        *default = Some(made.clone());
        Ok(made)
    }

    /// The authorities that are in use.
    pub fn all(&self) -> Vec<Arc<Authority>> {
        let default = self.default.lock().unwrap_or_else(PoisonError::into_inner);
        self.configured.values().chain(default.iter()).cloned().collect()
    }
}

impl Authority {
    /// # Errors
    /// [`TlsError`] with the authority's id.
    fn provision(
        id: &str,
        config: &pki::Ca,
        storage: &SharedStorage,
        types: &StorageTypes,
    ) -> Result<Self, TlsError> {
        Self::load_or_make(id, config, storage, types, make::now())
            .map_err(|error| error.at(format!("CA '{id}'")))
    }

    fn load_or_make(
        id: &str,
        config: &pki::Ca,
        storage: &SharedStorage,
        types: &StorageTypes,
        now: i64,
    ) -> Result<Self, TlsError> {
        if id.is_empty() {
            return Err(TlsError::Invalid("CA ID is required (use 'local' for the default CA)".into()));
        }
        let storage = match &config.storage {
            Some(json) => storage::open(json, types)?,
            None => storage.clone(),
        };
        let said =
            |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        let name = said(&config.name, DEFAULT_NAME);
        let expand = |template: &str| make::common_name(template, &name, now);
        let root_name = expand(&said(&config.root_common_name, DEFAULT_ROOT_NAME));
        let intermediate_name = expand(&said(&config.intermediate_common_name, DEFAULT_INTERMEDIATE_NAME));
        let ratio = config.renewal_window_ratio;

        let folder = folder_key(id);
        let _lock = storage::lock(&*storage, &folder, LOCK_WAIT_MAX)?;
        let root = match &config.root {
            Some(given) => load_given(given)?.0.swap_remove(0),
            None => load_or_make_root(&*storage, &folder, &root_name, now)?,
        };
        let spec = Spec {
            id: id.to_owned(),
            intermediate_name,
            intermediate_lifetime: config.intermediate_lifetime.positive().unwrap_or(INTERMEDIATE_LIFETIME),
            maintenance_interval: config.maintenance_interval.positive().unwrap_or(MAINTENANCE_INTERVAL),
            renewal_window_ratio: if ratio > 0.0 && ratio <= 1.0 { ratio } else { RENEWAL_WINDOW_RATIO },
            install_trust: config.install_trust.unwrap_or(true),
            given_root: config.root.clone(),
            intermediate_is_given: config.intermediate.is_some(),
            storage,
            root,
            name,
        };
        let signer = spec.load_or_make_intermediate(config.intermediate.as_ref(), now)?;
        Ok(Self { spec, signer: ArcSwap::from_pointee(signer) })
    }

    /// Renews the intermediate if it is due.
    ///
    /// # Errors
    /// [`TlsError`]; the old one stays in use.
    pub(super) fn maintain(&self) -> Result<bool, TlsError> {
        self.maintain_at(make::now())
    }

    fn maintain_at(&self, now: i64) -> Result<bool, TlsError> {
        if self.spec.intermediate_is_given || !self.spec.is_due(&self.signer.load(), now) {
            return Ok(false);
        }
        let _lock = storage::lock(&*self.spec.storage, &folder_key(&self.spec.id), LOCK_WAIT_MAX)?;
        self.signer.store(Arc::new(self.spec.load_or_make_intermediate(None, now)?));
        Ok(true)
    }

    /// Issues a certificate; PEM, leaf first.
    ///
    /// # Errors
    /// [`TlsError`] if the root is to sign and its key isn't there, or the subject fits no certificate.
    pub(super) fn issue(&self, order: &LeafOrder<'_>) -> Result<String, TlsError> {
        if order.sign_with_root {
            let root = Signer::load(vec![self.spec.root.clone()], self.spec.root_key()?)?;
            return make::leaf(order, &root.issuer, &[], root.not_after, make::now());
        }
        let signer = self.signer.load();
        make::leaf(order, &signer.issuer, &signer.chain, signer.not_after, make::now())
    }

    /// Issues a certificate for a key that somebody else has. It may block.
    ///
    /// # Errors
    /// [`TlsError`] if the root is to sign and its key isn't there, or a name fits no certificate.
    pub fn sign(&self, order: &RequestOrder<'_>) -> Result<SignedRequest, TlsError> {
        if order.sign_with_root {
            let root = Signer::load(vec![self.spec.root.clone()], self.spec.root_key()?)?;
            return request::sign(order, &root.issuer, &[], root.not_after);
        }
        let signer = self.signer.load();
        request::sign(order, &signer.issuer, &signer.chain, signer.not_after)
    }

    /// How long the intermediates live that are made here; `None` if one is given.
    pub fn intermediate_lifetime(&self) -> Option<Duration> {
        (!self.spec.intermediate_is_given).then_some(self.spec.intermediate_lifetime)
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.spec.id
    }

    /// Its name for people.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The root's certificate.
    pub fn root(&self) -> CertificateDer<'static> {
        self.spec.root.clone()
    }

    /// The intermediate's certificate and those between it and the root.
    pub fn intermediates(&self) -> Vec<CertificateDer<'static>> {
        self.signer.load().chain.clone()
    }

    /// The root's certificate in PEM.
    pub fn root_pem(&self) -> String {
        make::certificate_pem(&[&self.spec.root])
    }

    /// The chain up to the root, without it, in PEM.
    pub fn intermediate_pem(&self) -> String {
        let signer = self.signer.load();
        make::certificate_pem(&signer.chain.iter().collect::<Vec<_>>())
    }

    /// The common names in the root's and the intermediate's certificate.
    pub fn common_names(&self) -> (String, String) {
        let signer = self.signer.load();
        (common_name_of(&self.spec.root), signer.chain.first().map(common_name_of).unwrap_or_default())
    }

    /// Whether the root shall be put into the system's trust store.
    pub fn installs_trust(&self) -> bool {
        self.spec.install_trust
    }

    /// How often to see whether something is due.
    pub(super) fn maintenance_interval(&self) -> Duration {
        self.spec.maintenance_interval
    }
}

impl Spec {
    fn load_or_make_intermediate(&self, given: Option<&pki::KeyPair>, now: i64) -> Result<Signer, TlsError> {
        if let Some(given) = given {
            let (chain, key) = load_given(given)?;
            let key = key
                .ok_or_else(|| TlsError::certificate(&given.certificate, "an intermediate needs its key"))?;
            return Signer::load(chain, key);
        }
        let key = |name: &str| format!("{}/{name}", folder_key(&self.id));
        if let Some(certificate) = self.storage.load_if_there(&key("intermediate.crt"))? {
            let signing_key = self.storage.load(&key("intermediate.key"))?;
            let signer = Signer::load(
                chain_from_pem(&certificate, &key("intermediate.crt"))?,
                make::signing_key(&signing_key, &key("intermediate.key"))?,
            )?;
            if !self.is_due(&signer, now) {
                return Ok(signer);
            }
        }
        self.make_intermediate(now)
    }

    /// Makes an intermediate and stores it.
    fn make_intermediate(&self, now: i64) -> Result<Signer, TlsError> {
        let root = Signer::load(vec![self.root.clone()], self.root_key()?)?;
        let left = Duration::from_secs(u64::try_from(root.not_after - now).unwrap_or(0));
        if self.intermediate_lifetime >= left {
            return Err(TlsError::Invalid(format!(
                "intermediate certificate lifetime must be less than actual root certificate lifetime ({left:?})"
            )));
        }
        let (certificate, key) =
            make::intermediate(&self.intermediate_name, &root.issuer, now, self.intermediate_lifetime)?;
        let folder = folder_key(&self.id);
        self.storage.store(&format!("{folder}/intermediate.key"), make::key_pem(&key).as_bytes())?;
        self.storage.store(
            &format!("{folder}/intermediate.crt"),
            make::certificate_pem(&[&certificate]).as_bytes(),
        )?;
        Signer::load(vec![certificate], key)
    }

    fn is_due(&self, signer: &Signer, now: i64) -> bool {
        make::is_due(signer.not_before, signer.not_after, self.renewal_window_ratio, now)
    }

    /// The root's key, which is not kept in memory.
    fn root_key(&self) -> Result<KeyPair, TlsError> {
        if let Some(given) = &self.given_root {
            let (_, key) = load_given(given)?;
            return key
                .ok_or_else(|| TlsError::certificate(&given.certificate, "the root's key is not given"));
        }
        let key = format!("{}/root.key", folder_key(&self.id));
        make::signing_key(&self.storage.load(&key)?, &key)
    }
}

impl Signer {
    fn load(chain: Vec<CertificateDer<'static>>, key: KeyPair) -> Result<Self, TlsError> {
        let first = chain.first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let (_, parsed) = X509Certificate::from_der(first)
            .map_err(|error| TlsError::Invalid(format!("unreadable certificate of an authority: {error}")))?;
        let (not_before, not_after) =
            (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        let issuer = Issuer::from_ca_cert_der(first, key)?;
        Ok(Self { issuer, not_before, not_after, chain })
    }
}

fn folder_key(id: &str) -> String {
    format!("pki/authorities/{}", safe(id))
}

fn common_name_of(certificate: &CertificateDer<'static>) -> String {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return String::new() };
    let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    name.unwrap_or_default().to_owned()
}

fn load_or_make_root(
    storage: &dyn Storage,
    folder: &str,
    common_name: &str,
    now: i64,
) -> Result<CertificateDer<'static>, TlsError> {
    let key = |name: &str| format!("{folder}/{name}");
    if let Some(certificate) = storage.load_if_there(&key("root.crt"))? {
        return Ok(chain_from_pem(&certificate, &key("root.crt"))?.swap_remove(0));
    }
    let (certificate, signing_key) = make::root(common_name, now, ROOT_LIFETIME)?;
    // The key first: a key without its certificate is made anew, the reverse can't be mended.
    storage.store(&key("root.key"), make::key_pem(&signing_key).as_bytes())?;
    storage.store(&key("root.crt"), make::certificate_pem(&[&certificate]).as_bytes())?;
    Ok(certificate)
}

/// The certificates and the key, if there is one, of files that a configuration names.
fn load_given(given: &pki::KeyPair) -> Result<(Vec<CertificateDer<'static>>, Option<KeyPair>), TlsError> {
    if !matches!(given.format.as_str(), "" | "pem_file") {
        return Err(TlsError::Invalid(format!("unsupported format: {}", given.format)));
    }
    let read = |file: &str| {
        std::fs::read(file).map_err(|source| TlsError::Read { path: Path::new(file).to_owned(), source })
    };
    let chain = chain_from_pem(&read(&given.certificate)?, &given.certificate)?;
    if given.private_key.is_empty() {
        return Ok((chain, None));
    }
    let text = read(&given.private_key)?;
    let der = key_from_pem(&text, &given.private_key)?;
    rustls::sign::CertifiedKey::from_der(chain.clone(), der, super::provider::provider()).map_err(
        |error| TlsError::certificate(&given.certificate, format!("with key {}: {error}", given.private_key)),
    )?;
    Ok((chain, Some(make::signing_key(&text, &given.private_key)?)))
}

#[cfg(test)]
mod tests;
