//! The issuer `internal`: an authority of our own.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::UnixTime;
use rustls::server::ParsedCertificate;
use serde_json::Value;

use super::authority::LeafOrder;
use super::issuance::{Issued, Issuer, IssuerContext, Issuing, Order};
use super::storage::blocking;
use super::{Authority, Certificate, TlsError, provider};
use crate::config::ModuleJson;
use crate::config::tls::{ISSUER_TAG, InternalIssuer};

const DEFAULT_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// Issues by an authority of our own.
#[derive(Clone, Debug)]
struct Internal {
    authority: Arc<Authority>,
    lifetime: Duration,
    sign_with_root: bool,
}

/// Makes the issuer that a module's JSON describes.
///
/// # Errors
/// [`TlsError`] if there is no such authority.
pub fn internal_issuer(json: &ModuleJson, context: &IssuerContext<'_>) -> Result<Arc<dyn Issuer>, TlsError> {
    let config: InternalIssuer = json.decode(ISSUER_TAG)?;
    Ok(Arc::new(Internal {
        authority: context.authorities.get(&config.ca)?,
        lifetime: config.lifetime.positive().unwrap_or(DEFAULT_LIFETIME),
        sign_with_root: config.sign_with_root,
    }))
}

impl Internal {
    fn sign(&self, order: &Order) -> Result<Issued, TlsError> {
        let leaf = LeafOrder {
            subject: &order.subject,
            lifetime: self.lifetime,
            key: order.key.as_str().as_bytes(),
            sign_with_root: self.sign_with_root,
        };
        let chain_pem = self
            .authority
            .issue(&leaf)
            .map_err(|error| error.at(format!("certificate for {}", order.subject)))?;
        Ok(Issued { chain_pem, data: Value::Null })
    }
}

impl Issuer for Internal {
    fn key(&self) -> &str {
        self.authority.id()
    }

    fn is_own(&self) -> bool {
        true
    }

    fn issue_at_once(&self, order: &Order) -> Option<Result<Issued, TlsError>> {
        Some(self.sign(order))
    }

    fn issue<'a>(&'a self, order: &'a Order) -> Issuing<'a, Issued> {
        let (issuer, order) = (self.clone(), order.clone());
        Box::pin(async move { Ok(blocking(move || issuer.sign(&order)).await?) })
    }

    /// A root that was replaced leaves certificates behind which nobody can verify.
    fn recognize(&self, certificate: &Certificate) -> Result<(), TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.root())?;
        let (leaf, chain) =
            certificate.chain().split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let algorithms = provider().signature_verification_algorithms.all;
        let leaf = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, chain, UnixTime::now(), algorithms)?;
        Ok(())
    }
}
