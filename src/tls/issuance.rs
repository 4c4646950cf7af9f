//! Who issues certificates: what an issuer is asked for, and what it answers.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::Value;
use zeroize::Zeroizing;

use super::renewal_info::RenewalInfo;
use super::trust_pool::{Sources, TrustPool};
use super::{Authorities, Certificate, CertificateStore, ClientOptions, SharedStorage, TlsError, client};
use crate::config::ModuleJson;

/// Caddy's namespace of issuers.
pub(super) const NAMESPACE: &str = "tls.issuance";

/// Work of an issuer that waits for others.
pub type Issuing<'a, T> = Pin<Box<dyn Future<Output = Result<T, IssueError>> + Send + 'a>>;

/// Who issues certificates: a module of `tls.issuance`, ready to use.
pub trait Issuer: fmt::Debug + Send + Sync {
    /// Its name in the storage: certificates of different authorities are kept apart.
    fn key(&self) -> &str;

    /// Whether it is our own, so that asking it bothers nobody.
    fn is_own(&self) -> bool {
        false
    }

    /// Issues a certificate without waiting for anybody, if it can do so at all. It may block.
    fn issue_at_once(&self, order: &Order) -> Option<Result<Issued, TlsError>> {
        _ = order;
        None
    }

    /// Issues a certificate.
    fn issue<'a>(&'a self, order: &'a Order) -> Issuing<'a, Issued>;

    /// Whether a certificate that it issued once is still of use.
    ///
    /// # Errors
    /// Why it isn't.
    fn recognize(&self, certificate: &Certificate) -> Result<(), TlsError> {
        _ = certificate;
        Ok(())
    }

    /// When a certificate had better be renewed, if the authority tells such things (RFC 9773).
    fn renewal_info<'a>(&'a self, certificate: &'a Certificate) -> Option<Issuing<'a, RenewalInfo>> {
        _ = certificate;
        None
    }

    /// The folder of the storage in which instances put what they show this authority, if others may
    /// show it in their place.
    fn challenge_folder(&self) -> Option<String> {
        None
    }
}

/// What an issuer is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// A name, with or without wildcard, or an IP address.
    pub subject: String,
    /// The key that it is for.
    pub key: KeyPem,
    /// How often it has been asked for already in vain.
    pub attempt: u32,
    /// The certificate that the new one follows, if there is one.
    pub replaces: Option<Arc<Certificate>>,
    /// Whether it shall tell clients to insist on an OCSP staple (RFC 7633).
    pub must_staple: bool,
}

/// A private key in PEM. It is never shown, and wiped when it is dropped.
#[derive(Clone)]
pub struct KeyPem(Zeroizing<String>);

impl KeyPem {
    /// This key.
    pub fn new(pem: String) -> Self {
        Self(Zeroizing::new(pem))
    }

    /// The PEM.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPem(..)")
    }
}

/// What an issuer answers.
#[derive(Clone, Debug)]
pub struct Issued {
    /// PEM, leaf first.
    pub chain_pem: String,
    /// What the issuer wants to know again when it renews; kept beside the certificate.
    pub data: Value,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct IssueError {
    /// What went wrong.
    pub problem: String,
    /// Whether it makes sense to ask again.
    pub retry: Retry,
}

/// Whether it makes sense to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// In a while.
    Later,
    /// Not before this time has passed, as the authority said.
    After(Duration),
}

impl IssueError {
    /// What may go well another time.
    pub fn new(problem: impl fmt::Display) -> Self {
        Self { problem: problem.to_string(), retry: Retry::Later }
    }
}

impl From<TlsError> for IssueError {
    fn from(error: TlsError) -> Self {
        Self::new(error)
    }
}

/// A row of the table of issuers.
#[derive(Debug)]
pub struct IssuerType {
    /// Its name in JSON, without the namespace.
    pub id: &'static str,
    /// Makes one of a module's JSON.
    pub provision: fn(&ModuleJson, &IssuerContext<'_>) -> Result<Arc<dyn Issuer>, TlsError>,
}

/// The issuers that there are, by their names in JSON.
pub type IssuerTypes = HashMap<&'static str, &'static IssuerType>;

/// What an issuer can use.
pub struct IssuerContext<'a> {
    /// Our own authorities.
    pub authorities: &'a Authorities,
    /// Where accounts are kept, and what is shown to authorities.
    pub storage: &'a SharedStorage,
    /// The ports that requests for ports 80 and 443 reach us at.
    pub ports: Ports,
    /// The DNS provider where an issuer names none.
    pub dns: Option<&'a ModuleJson>,
    /// The DNS resolvers where an issuer names none.
    pub resolvers: &'a [String],
    pub(super) sources: Sources<'a>,
    pub(super) store: &'a Arc<CertificateStore>,
    pub(super) system: &'a dyn Fn() -> Result<TrustPool, TlsError>,
}

/// The ports that requests for ports 80 and 443 reach us at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// 80 unless somebody forwards it.
    pub http: u16,
    /// 443 unless somebody forwards it.
    pub https: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { http: 80, https: 443 }
    }
}

impl IssuerContext<'_> {
    /// How to speak TLS with an authority: trusting these PEM files, or else what the system trusts.
    ///
    /// # Errors
    /// [`TlsError`] for a file that can't be read, or if nobody is trusted.
    pub fn client_config(&self, roots: &[String]) -> Result<Arc<ClientConfig>, TlsError> {
        let options = ClientOptions { root_ca_pem_files: roots, ..ClientOptions::default() };
        Ok(Arc::new(client::config(&options, self.sources, self.system, self.store)?))
    }
}
