//! Certificates that are trusted to vouch for others; modules of `tls.ca_pool.source`.

mod http;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::chain_from_pem;
use super::storage::{self, SharedStorage, StorageTypes};
use super::{Authorities, TlsError};
use crate::config::ModuleJson;
use crate::config::schema::{self, ModuleSchema};

/// The tag under which a trust pool's name stands.
pub(super) const TRUST_POOL_TAG: &str = "provider";

/// Certificates that are trusted to vouch for others, or for themselves.
#[derive(Clone, Debug)]
pub struct TrustPool {
    roots: Arc<RootCertStore>,
    /// The same, to recognise a certificate that is itself in the pool.
    certificates: Arc<HashSet<CertificateDer<'static>>>,
}

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Client,
    Server,
}

/// Where pools can find certificates.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) authorities: &'a Authorities,
    pub(super) storage: &'a SharedStorage,
    pub(super) storages: &'a StorageTypes,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct InlineJson {
    trusted_ca_certs: Vec<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct FileJson {
    pem_files: Vec<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct AuthorityJson {
    authority: Vec<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct StorageJson {
    #[schemars(with = "Option<schema::Storage>")]
    storage: Option<ModuleJson>,
    pem_keys: Vec<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct CombinedJson {
    #[schemars(with = "Vec<schema::CaPool>")]
    sources: Vec<ModuleJson>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct NoJson {}

/// What can be said of each pool.
pub(super) const SCHEMAS: &[ModuleSchema] = &[
    ModuleSchema::of::<InlineJson>(POOLS, "inline"),
    ModuleSchema::of::<FileJson>(POOLS, "file"),
    ModuleSchema::of::<AuthorityJson>(POOLS, "pki_root"),
    ModuleSchema::of::<AuthorityJson>(POOLS, "pki_intermediate"),
    ModuleSchema::of::<StorageJson>(POOLS, "storage"),
    ModuleSchema::of::<CombinedJson>(POOLS, "combined"),
    ModuleSchema::of::<http::HttpJson>(POOLS, "http"),
    ModuleSchema::of::<NoJson>(POOLS, "system"),
];

const POOLS: &str = "tls.ca_pool.source";

impl TrustPool {
    /// Reads the pool that a module describes.
    ///
    /// # Errors
    /// [`TlsError`] if there is no such module, something can't be read, or the pool would be empty:
    /// trusting nobody is never what was meant.
    pub(super) fn load(json: &ModuleJson, sources: Sources<'_>) -> Result<Self, TlsError> {
        let name = json.name(TRUST_POOL_TAG)?;
        Self::new(certificates(json, sources)?)
            .map_err(|problem| TlsError::Invalid(format!("trust pool {name}: {problem}")))
    }

    /// The pool of these certificates.
    ///
    /// # Errors
    /// [`TlsError`] if there is none, or one that can't be an authority.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, TlsError> {
        if certificates.is_empty() {
            return Err(TlsError::Invalid("no certificates specified".into()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        Ok(Self { roots: Arc::new(roots), certificates: Arc::new(certificates.into_iter().collect()) })
    }

    /// What the system trusts. Certificates of its that rustls can't read are left out.
    ///
    /// # Errors
    /// [`TlsError::Invalid`] if it trusts nobody at all.
    pub fn system() -> Result<Self, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs.iter().cloned());
        if added == 0 {
            let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
            return Err(TlsError::Invalid(format!("the system's trust store holds no certificates{why}")));
        }
        Ok(Self { roots: Arc::new(roots), certificates: Arc::new(found.certs.into_iter().collect()) })
    }

    /// For rustls.
    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }

    /// Whether `certificate` is trusted because it is itself in the pool: `None` if it isn't, and else
    /// whether it may be used for `purpose` at `now`.
    ///
    /// webpki refuses an authority's certificate as a peer's own; Go, and so Caddy, takes one that is
    /// trusted by itself. Self-signed certificates are used so.
    pub(super) fn verify_itself(
        &self,
        certificate: &CertificateDer<'_>,
        purpose: Purpose,
        now: UnixTime,
    ) -> Option<Result<(), Error>> {
        self.certificates.get(certificate).map(|_| may_be_used(certificate, purpose, now))
    }
}

/// Whether a certificate is valid at `now`, and its extended key usage allows `purpose`.
fn may_be_used(certificate: &CertificateDer<'_>, purpose: Purpose, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    let usage =
        parsed.extended_key_usage().map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let allowed = usage.is_none_or(|usage| {
        let usage = usage.value;
        usage.any
            || match purpose {
                Purpose::Client => usage.client_auth,
                Purpose::Server => usage.server_auth,
            }
    });
    if allowed { Ok(()) } else { Err(CertificateError::InvalidPurpose.into()) }
}

/// The certificates that a pool's module names.
fn certificates(json: &ModuleJson, sources: Sources<'_>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    match json.name(TRUST_POOL_TAG)? {
        "inline" => {
            let json: InlineJson = decode(json)?;
            json.trusted_ca_certs.iter().enumerate().map(|(index, text)| from_base64(text, index)).collect()
        }
        "file" => {
            let json: FileJson = decode(json)?;
            flatten(json.pem_files.iter().map(|file| from_pem_file(file)))
        }
        "pki_root" => {
            let json: AuthorityJson = decode(json)?;
            json.authority.iter().map(|id| Ok(sources.authorities.get(id)?.root())).collect()
        }
        "pki_intermediate" => {
            let json: AuthorityJson = decode(json)?;
            flatten(json.authority.iter().map(|id| Ok(sources.authorities.get(id)?.intermediates())))
        }
        "storage" => {
            let json: StorageJson = decode(json)?;
            let own = json.storage.as_ref().map(|json| storage::open(json, sources.storages)).transpose()?;
            let storage = own.as_ref().unwrap_or(sources.storage);
            flatten(json.pem_keys.iter().map(|key| chain_from_pem(&storage.load(key)?, key)))
        }
        "system" => {
            let NoJson {} = decode(json)?;
            let found = rustls_native_certs::load_native_certs();
            Ok(found.certs)
        }
        "combined" => {
            let json: CombinedJson = decode(json)?;
            for source in &json.sources {
                if source.name(TRUST_POOL_TAG)? == "system" {
                    let problem = "the system's trust pool can't be combined with others";
                    return Err(TlsError::Invalid(problem.into()));
                }
            }
            flatten(json.sources.iter().map(|source| certificates(source, sources)))
        }
        "http" => http::fetch(decode(json)?, sources),
        other => Err(TlsError::unknown_module("tls.ca_pool.source", other)),
    }
}

fn decode<T: DeserializeOwned>(json: &ModuleJson) -> Result<T, TlsError> {
    Ok(json.decode(TRUST_POOL_TAG)?)
}

fn flatten(
    lists: impl Iterator<Item = Result<Vec<CertificateDer<'static>>, TlsError>>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
}

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// [`TlsError`] that names the file.
pub(super) fn from_pem_file(file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text =
        std::fs::read(file).map_err(|source| TlsError::Read { path: Path::new(file).to_owned(), source })?;
    chain_from_pem(&text, file)
}

/// The certificate whose DER is `text` in base64, the one at `index` of a list.
///
/// # Errors
/// [`TlsError::Invalid`] with the index.
pub(super) fn from_base64(text: &str, index: usize) -> Result<CertificateDer<'static>, TlsError> {
    let invalid = |problem: &dyn std::fmt::Display| {
        TlsError::Invalid(format!("parsing certificate at index {index}: {problem}"))
    };
    let der = STANDARD.decode(text).map_err(|error| invalid(&error))?;
    X509Certificate::from_der(&der).map_err(|error| invalid(&error))?;
    Ok(der.into())
}
