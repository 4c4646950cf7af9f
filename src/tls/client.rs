//! TLS towards servers behind us: whom to trust, and what to show them.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::certificate::chain_from_pem;
use super::placeholder::expand;
use super::provider::{narrowed, provider};
use super::trust_pool::{self, Purpose, Sources, TrustPool};
use super::{Certificate, CertificateStore, TlsError};
use crate::config::ModuleJson;

/// What a configuration says of TLS towards servers.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientOptions<'a> {
    /// Whom to trust, a module of `tls.ca_pool.source`; the system's authorities unless given.
    pub ca: Option<&'a ModuleJson>,
    /// The same as base64 of DER; old form of `ca`.
    pub root_ca_pool: &'a [String],
    /// The same as PEM files; old form of `ca`.
    pub root_ca_pem_files: &'a [String],
    /// Trust whoever answers.
    pub insecure_skip_verify: bool,
    /// The files of our own certificate and its key; empty for none.
    pub certificate_file: &'a str,
    /// See `certificate_file`.
    pub key_file: &'a str,
    /// The name whose managed certificate is our own; empty for none.
    pub certificate_name: &'a str,
    /// Key exchange groups; none means the default ones.
    pub curves: &'a [String],
    /// Application protocols, best first.
    pub alpn: &'a [&'a str],
}

/// Builds what rustls needs to connect.
///
/// # Errors
/// [`TlsError`] for what can't be read, contradicts itself, or would trust nobody.
pub(super) fn config(
    options: &ClientOptions<'_>,
    sources: Sources<'_>,
    system: &dyn Fn() -> Result<TrustPool, TlsError>,
    store: &Arc<CertificateStore>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(narrowed(&[], options.curves)?);
    let verifier: Arc<dyn ServerCertVerifier> = match pool(options, sources)? {
        _ if options.insecure_skip_verify => Arc::new(TrustAll),
        Some(pool) => Arc::new(PoolVerifier::new(pool)?),
        None => Arc::new(PoolVerifier::new(system()?)?),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own_certificate(options, store)? {
        Some(own) => builder.with_client_cert_resolver(own),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = options.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(config)
}

/// Whom the gateway itself trusts when it asks for something of its own, such as at a storage.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Those that the system trusts.
    System,
    /// The authorities of a PEM text.
    Pem {
        /// The text.
        text: &'a [u8],
        /// Where it is from, for errors.
        origin: &'a str,
    },
    /// This pool.
    Pool(&'a TrustPool),
    /// Whoever answers.
    Anybody,
}

/// What rustls needs to connect to a server that is there for the gateway itself.
///
/// # Errors
/// [`TlsError`] for what can't be read, or would trust nobody.
pub fn own_client_config(trust: Trust<'_>) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anybody => Arc::new(TrustAll),
        Trust::System => Arc::new(PoolVerifier::new(TrustPool::system()?)?),
        Trust::Pool(pool) => Arc::new(PoolVerifier::new(pool.clone())?),
        Trust::Pem { text, origin } => {
            Arc::new(PoolVerifier::new(TrustPool::new(chain_from_pem(text, origin)?)?)?)
        }
    };
    let config = ClientConfig::builder_with_provider(provider().clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn pool(options: &ClientOptions<'_>, sources: Sources<'_>) -> Result<Option<TrustPool>, TlsError> {
    let old_form = !options.root_ca_pool.is_empty() || !options.root_ca_pem_files.is_empty();
    match options.ca {
        Some(_) if old_form => Err(TlsError::Invalid("conflicting config for Root CA pool".into())),
        Some(ca) => TrustPool::load(ca, sources).map(Some),
        None if old_form => {
            let mut certificates = Vec::new();
            for (index, text) in options.root_ca_pool.iter().enumerate() {
                certificates.push(trust_pool::from_base64(text, index)?);
            }
            for file in options.root_ca_pem_files {
                certificates.extend(trust_pool::from_pem_file(file)?);
            }
            TrustPool::new(certificates).map(Some)
        }
        None => Ok(None),
    }
}

fn own_certificate(
    options: &ClientOptions<'_>,
    store: &Arc<CertificateStore>,
) -> Result<Option<Arc<dyn ResolvesClientCert>>, TlsError> {
    let (certificate, key) = (options.certificate_file, options.key_file);
    match (certificate.is_empty(), key.is_empty()) {
        (false, true) => {
            let problem = "client_certificate_file specified without client_certificate_key_file";
            Err(TlsError::Invalid(problem.into()))
        }
        (true, false) => {
            let problem = "client_certificate_key_file specified without client_certificate_file";
            Err(TlsError::Invalid(problem.into()))
        }
        (false, false) => {
            let (certificate, key) = (expand(certificate), expand(key));
            let loaded =
                Certificate::from_pem(&read(&certificate)?, &certificate, &read(&key)?, &key, Vec::new());
            let loaded = loaded.map_err(|error| error.at("loading client certificate key pair"))?;
            Ok(Some(Arc::new(Fixed(loaded.for_handshakes()))))
        }
        (true, true) if !options.certificate_name.is_empty() => {
            let name = options.certificate_name.to_lowercase();
            Ok(Some(Arc::new(Managed { name, store: store.clone() })))
        }
        (true, true) => Ok(None),
    }
}

fn read(file: &str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|source| TlsError::Read { path: Path::new(file).to_owned(), source })
}

/// Trusts what a pool vouches for.
#[derive(Debug)]
struct PoolVerifier {
    pool: TrustPool,
    webpki: Arc<WebPkiServerVerifier>,
}

impl PoolVerifier {
    fn new(pool: TrustPool) -> Result<Self, TlsError> {
        let webpki = WebPkiServerVerifier::builder_with_provider(pool.roots(), provider().clone())
            .build()
            .map_err(|error| TlsError::Invalid(error.to_string()))?;
        Ok(Self { pool, webpki })
    }
}

impl ServerCertVerifier for PoolVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.pool.verify_itself(leaf, Purpose::Server, now) {
            Some(verdict) => {
                verdict?;
                verify_server_name(&ParsedCertificate::try_from(leaf)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            None => self.webpki.verify_server_cert(leaf, intermediates, server_name, ocsp, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// `insecure_skip_verify`: trusts any certificate, though its key must sign the handshake.
#[derive(Debug)]
struct TrustAll;

impl TrustAll {
    /// A certificate that webpki can't read, such as one of version 1, is trusted like any other.
    fn unless_forged(
        verdict: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match verdict {
            Err(Error::InvalidCertificate(problem)) if problem != CertificateError::BadSignature => {
                Ok(HandshakeSignatureValid::assertion())
            }
            verdict => verdict,
        }
    }
}

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        Self::unless_forged(verify_tls12_signature(message, certificate, signature, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        Self::unless_forged(verify_tls13_signature(message, certificate, signature, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// One certificate, whoever asks.
#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesClientCert for Fixed {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The certificate that is at hand for a name at the time, so that a renewed one is used.
#[derive(Debug)]
struct Managed {
    name: String,
    store: Arc<CertificateStore>,
}

impl ResolvesClientCert for Managed {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let index = self.store.snapshot();
        let suitable = index.named(&self.name).iter().find(|certificate| certificate.suits(schemes));
        suitable.map(|certificate| certificate.for_handshakes())
    }

    fn has_certs(&self) -> bool {
        !self.store.snapshot().named(&self.name).is_empty()
    }
}

#[cfg(test)]
mod tests;
