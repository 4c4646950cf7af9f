//! Certificates that clients show.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::certificate::chain_from_pem;
use super::placeholder::expand;
use super::provider::provider;
use super::trust_pool::{self, Purpose, Sources, TrustPool};
use super::{TlsError, load, storage};
use crate::config::ModuleJson;
use crate::config::schema::{self, ModuleSchema};
use crate::config::tls::ClientAuthentication;

const VERIFIER_TAG: &str = "verifier";
const LEAF_LOADER_TAG: &str = "loader";

/// Asks clients for a certificate, and looks at it as the configuration says.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    mandatory: bool,
    /// Who may have issued it; `None` if that does not matter.
    issuers: Option<Issuers>,
    /// It must be in each of these sets.
    leaves: Vec<HashSet<CertificateDer<'static>>>,
}

#[derive(Debug)]
struct Issuers {
    pool: TrustPool,
    webpki: Arc<dyn ClientCertVerifier>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct LeafVerifierJson {
    #[schemars(with = "Vec<schema::LeafLoader>")]
    leaf_certs_loaders: Vec<ModuleJson>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Files {
    files: Vec<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Folders {
    folders: Vec<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Certificates {
    certificates: Vec<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Stored {
    certificates: Vec<String>,
    #[schemars(with = "Option<schema::Storage>")]
    storage: Option<ModuleJson>,
}

/// What can be said of verifiers, and of what loads their certificates.
pub(super) const SCHEMAS: &[ModuleSchema] = &[
    ModuleSchema::of::<LeafVerifierJson>("tls.client_auth.verifier", "leaf"),
    ModuleSchema::of::<Files>(LEAF_LOADERS, "file"),
    ModuleSchema::of::<Folders>(LEAF_LOADERS, "folder"),
    ModuleSchema::of::<Certificates>(LEAF_LOADERS, "pem"),
    ModuleSchema::of::<Stored>(LEAF_LOADERS, "storage"),
];

const LEAF_LOADERS: &str = "tls.leaf_cert_loader";

impl ClientVerifier {
    /// What a policy says of client certificates; `None` if nothing.
    ///
    /// # Errors
    /// [`TlsError`] for a mode or a module that there isn't, and certificates that can't be read.
    pub(super) fn new(config: &ClientAuthentication, sources: Sources<'_>) -> Result<Option<Self>, TlsError> {
        if *config == ClientAuthentication::default() {
            return Ok(None);
        }
        let pool = pool(config, sources)?;
        let trusts = pool.is_some() || !config.trusted_leaf_certs.is_empty();
        let (mandatory, verify) = match config.mode.as_str() {
            "request" => (false, false),
            "require" => (true, false),
            "verify_if_given" => (false, true),
            "require_and_verify" => (true, true),
            "" => (true, trusts),
            other => return Err(TlsError::Invalid(format!("client auth mode not recognized: {other}"))),
        };
        let issuers = match (verify, pool) {
            (false, _) => None,
            (true, Some(pool)) => Some(Issuers::new(pool)?),
            (true, None) => Some(Issuers::new(TrustPool::system()?)?),
        };
        let leaves = leaves(config, sources)?;
        Ok(Some(Self { mandatory: mandatory || !leaves.is_empty(), issuers, leaves }))
    }
}

impl Issuers {
    fn new(pool: TrustPool) -> Result<Self, TlsError> {
        let webpki = WebPkiClientVerifier::builder_with_provider(pool.roots(), provider().clone())
            .build()
            .map_err(|error| TlsError::Invalid(format!("client certificates: {error}")))?;
        Ok(Self { pool, webpki })
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        match self.pool.verify_itself(leaf, Purpose::Client, now) {
            Some(verdict) => verdict,
            None => self.webpki.verify_client_cert(leaf, intermediates, now).map(|_| ()),
        }
    }
}

/// Whom to trust, in its new form or one of the old ones.
fn pool(config: &ClientAuthentication, sources: Sources<'_>) -> Result<Option<TrustPool>, TlsError> {
    let old_form = !config.trusted_ca_certs.is_empty() || !config.trusted_ca_certs_pem_files.is_empty();
    match &config.ca {
        Some(_) if old_form => {
            Err(TlsError::Invalid("conflicting config for client authentication trust CA".into()))
        }
        Some(ca) => TrustPool::load(ca, sources).map(Some),
        None if old_form => {
            let mut certificates = Vec::new();
            for (index, text) in config.trusted_ca_certs.iter().enumerate() {
                certificates.push(trust_pool::from_base64(text, index)?);
            }
            for file in &config.trusted_ca_certs_pem_files {
                certificates.extend(trust_pool::from_pem_file(file)?);
            }
            TrustPool::new(certificates).map(Some)
        }
        None => Ok(None),
    }
}

/// The sets in each of which a client's certificate must be.
fn leaves(
    config: &ClientAuthentication,
    sources: Sources<'_>,
) -> Result<Vec<HashSet<CertificateDer<'static>>>, TlsError> {
    let mut sets = Vec::new();
    if !config.trusted_leaf_certs.is_empty() {
        let decode = |(index, text): (usize, &String)| trust_pool::from_base64(text, index);
        sets.push(config.trusted_leaf_certs.iter().enumerate().map(decode).collect::<Result<_, _>>()?);
    }
    for verifier in &config.verifiers {
        match verifier.name(VERIFIER_TAG)? {
            "leaf" => {
                let json: LeafVerifierJson = verifier.decode(VERIFIER_TAG)?;
                let mut set = HashSet::new();
                for loader in &json.leaf_certs_loaders {
                    set.extend(load_leaves(loader, sources)?);
                }
                sets.push(set);
            }
            other => {
                return Err(TlsError::unknown_module("tls.client_auth.verifier", other));
            }
        }
    }
    Ok(sets)
}

/// The certificates that a module of `tls.leaf_cert_loader` names.
fn load_leaves(loader: &ModuleJson, sources: Sources<'_>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    fn decode<T: DeserializeOwned>(loader: &ModuleJson) -> Result<T, TlsError> {
        Ok(loader.decode(LEAF_LOADER_TAG)?)
    }

    let lists: Result<Vec<_>, TlsError> = match loader.name(LEAF_LOADER_TAG)? {
        "file" => {
            let Files { files } = decode(loader)?;
            files.iter().map(|file| trust_pool::from_pem_file(&expand(file))).collect()
        }
        "folder" => {
            let Folders { folders } = decode(loader)?;
            let files: Result<Vec<_>, _> =
                folders.iter().map(|folder| load::pem_files(&expand(folder))).collect();
            files?.concat().iter().map(|file| trust_pool::from_pem_file(&file.to_string_lossy())).collect()
        }
        "pem" => {
            let Certificates { certificates } = decode(loader)?;
            let read = |pem: &String| chain_from_pem(expand(pem).as_bytes(), "leaf certificate");
            certificates.iter().map(read).collect()
        }
        "storage" => {
            let Stored { certificates, storage } = decode(loader)?;
            let own = storage.as_ref().map(|json| storage::open(json, sources.storages)).transpose()?;
            let storage = own.as_ref().unwrap_or(sources.storage);
            certificates.iter().map(|key| chain_from_pem(&storage.load(&expand(key))?, key)).collect()
        }
        other => Err(TlsError::unknown_module("tls.leaf_cert_loader", other)),
    };
    Ok(lists?.concat())
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.issuers.as_ref().map_or(&[], |issuers| issuers.webpki.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(issuers) = &self.issuers {
            issuers.verify(leaf, intermediates, now)?;
        }
        if self.leaves.iter().all(|set| set.contains(leaf)) {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
