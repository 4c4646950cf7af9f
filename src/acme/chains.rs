//! Which chain to take where an authority offers several for one certificate (RFC 8555 section 7.4.2).

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::account::Known;
use super::client::Carrier;
use super::message;
use crate::config;

/// An authority that offers more chains is not asked for all of them.
const CHAINS_MAX: usize = 8;

/// Which chain to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainPreference {
    /// The one with the fewest bytes, or with the most; none of both if unset.
    pub smallest: Option<bool>,
    /// One whose topmost certificate was issued by one of these common names.
    pub root_common_name: Vec<String>,
    /// One in which any certificate was issued by one of these common names.
    pub any_common_name: Vec<String>,
}

impl From<&config::tls::ChainPreference> for ChainPreference {
    fn from(said: &config::tls::ChainPreference) -> Self {
        Self {
            smallest: said.smallest,
            root_common_name: said.root_common_name.clone(),
            any_common_name: said.any_common_name.clone(),
        }
    }
}

impl ChainPreference {
    /// Whether it makes sense to ask for other chains.
    pub(super) fn is_some(&self) -> bool {
        *self != Self::default()
    }

    /// The chain to take, of at least one.
    pub(super) fn choose(&self, mut chains: Vec<String>) -> String {
        match self.smallest {
            Some(true) => chains.sort_by_key(String::len),
            Some(false) => chains.sort_by_key(|chain| std::cmp::Reverse(chain.len())),
            None => {}
        }
        let issuers: Vec<Vec<String>> = chains.iter().map(|chain| issuers_of(chain)).collect();
        let any = self
            .any_common_name
            .iter()
            .find_map(|wanted| issuers.iter().position(|issuers| issuers.contains(wanted)));
        let root = || {
            self.root_common_name
                .iter()
                .find_map(|wanted| issuers.iter().position(|issuers| issuers.last() == Some(wanted)))
        };
        chains.swap_remove(any.or_else(root).unwrap_or(0))
    }
}

/// The common names of those who issued the certificates of a chain, in its order.
fn issuers_of(chain: &str) -> Vec<String> {
    let certificates = CertificateDer::pem_slice_iter(chain.as_bytes()).flatten();
    certificates
        .filter_map(|der| {
            let (_, parsed) = X509Certificate::from_der(&der).ok()?;
            let name = parsed.issuer().iter_common_name().next()?.as_str().ok()?;
            Some(name.to_owned())
        })
        .collect()
}

/// The other chains of the certificate that came last. One that can't be had is left out.
pub(super) async fn others(known: &Known, carrier: &Carrier) -> Vec<String> {
    let mut chains = Vec::new();
    for address in carrier.seen().alternates.into_iter().take(CHAINS_MAX) {
        if origin(&address) != origin(&known.location) {
            tracing::warn!(target: "tls.issuance.acme", address, "another chain is said to be at another place");
            continue;
        }
        match other(known, carrier, &address).await {
            Some(chain) => chains.push(chain),
            None => tracing::warn!(target: "tls.issuance.acme", address, "another chain could not be had"),
        }
    }
    chains
}

/// Who is asked at an address.
fn origin(address: &str) -> Option<(String, String)> {
    let uri: http::Uri = address.parse().ok()?;
    Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_owned()))
}

/// Asks for what is at an address by a signed message without content (RFC 8555 section 6.3).
async fn other(known: &Known, carrier: &Carrier, address: &str) -> Option<String> {
    let nonce = carrier.seen().nonce?;
    let answer = message::post(known, carrier, (address, &nonce), "", "application/pem-certificate-chain");
    let answer = answer.await.ok()?;
    let chain =
        answer.status().is_success().then(|| String::from_utf8(answer.into_body().to_vec()).ok())??;
    (!issuers_of(&chain).is_empty()).then_some(chain)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    /// A leaf below an intermediate that this root has issued.
    fn chain(root: &str, padding: usize) -> String {
        let named = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params
        };
        let key = || KeyPair::generate().unwrap();
        let top = Issuer::new(named(root), key());
        let (middle_params, middle_key) = (named(&format!("Middle of {root}{}", "x".repeat(padding))), key());
        let middle = middle_params.signed_by(&middle_key, &top).unwrap();
        let below = Issuer::new(middle_params, middle_key);
        let leaf = named("leaf").signed_by(&key(), &below).unwrap();
        leaf.pem() + &middle.pem()
    }

    #[test]
    fn preferences() {
        let chains = || vec![chain("Root A", 20), chain("Root B", 0), chain("Root C", 200)];
        let root = |preference: ChainPreference| issuers_of(&preference.choose(chains())).pop().unwrap();
        let names = |name: &str| vec!["Nobody".to_owned(), name.to_owned()];
        assert_eq!(root(ChainPreference::default()), "Root A");
        assert_eq!(root(ChainPreference { smallest: Some(true), ..Default::default() }), "Root B");
        assert_eq!(root(ChainPreference { smallest: Some(false), ..Default::default() }), "Root C");
        assert_eq!(
            root(ChainPreference { root_common_name: names("Root C"), ..Default::default() }),
            "Root C"
        );
        let any = ChainPreference { any_common_name: names("Middle of Root B"), ..Default::default() };
        assert_eq!(root(any.clone()), "Root B");
        let unknown = ChainPreference { root_common_name: names("Middle of Root B"), ..Default::default() };
        assert_eq!(root(unknown.clone()), "Root A", "that is no root");
        assert!(any.is_some() && !ChainPreference::default().is_some());
    }
}
