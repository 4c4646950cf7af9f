//! Which certificate answers a handshake.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::pki_types::UnixTime;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::Value;

use super::store::{CertificateStore, Index, wildcards_of};
use super::{Certificate, TlsError};
use crate::config::tls::CertificateSelection;

/// What a certificate must be to be chosen; each thing said must hold.
#[derive(Debug)]
pub(super) struct Criteria {
    serials: Vec<String>,
    organizations: Vec<String>,
    algorithm: String,
    any_tag: Vec<String>,
    all_tags: Vec<String>,
}

impl Criteria {
    /// # Errors
    /// [`TlsError::Invalid`] for a serial number or an algorithm that makes no sense.
    pub(super) fn new(config: &CertificateSelection) -> Result<Self, TlsError> {
        let serials = config.serial_number.iter().map(serial).collect::<Result<_, _>>()?;
        let algorithm = config.public_key_algorithm.to_ascii_lowercase();
        if !matches!(algorithm.as_str(), "" | "rsa" | "dsa" | "ecdsa") {
            return Err(TlsError::Invalid(format!("unrecognized public key algorithm: {algorithm}")));
        }
        Ok(Self {
            serials,
            organizations: config.subject_organization.clone(),
            algorithm,
            any_tag: config.any_tag.clone(),
            all_tags: config.all_tags.clone(),
        })
    }

    fn accept(&self, certificate: &Certificate) -> bool {
        let facts = &certificate.facts;
        let tagged = |tag: &String| certificate.tags.contains(tag);
        (self.serials.is_empty() || self.serials.contains(&facts.serial))
            && (self.organizations.is_empty()
                || self.organizations.iter().any(|name| facts.organizations.contains(name)))
            && (self.algorithm.is_empty() || self.algorithm == facts.algorithm)
            && (self.any_tag.is_empty() || self.any_tag.iter().any(tagged))
            && self.all_tags.iter().all(tagged)
    }
}

/// A serial number in decimal without leading zeros.
fn serial(said: &Value) -> Result<String, TlsError> {
    let text = match said {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let digits = text.trim_start_matches('0');
    match text.as_str() {
        "" => Err(TlsError::Invalid("not a valid big integer: \"\"".into())),
        text if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(TlsError::Invalid(format!("not a valid big integer: {text:?}")))
        }
        _ if digits.is_empty() => Ok("0".into()),
        _ => Ok(digits.to_owned()),
    }
}

/// Chooses among the certificates of a store, as one connection policy says.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    pub(super) store: Arc<CertificateStore>,
    pub(super) criteria: Option<Arc<Criteria>>,
    /// In lower case; empty for none.
    pub(super) default_name: Arc<str>,
    /// In lower case; empty for none.
    pub(super) fallback_name: Arc<str>,
    /// Our own address, for clients that name no server since they connect by address.
    pub(super) local: Option<IpAddr>,
}

impl Resolver {
    /// Whether there is a certificate for our own address `ip`.
    pub(super) fn knows_address(&self, ip: IpAddr) -> bool {
        !self.store.snapshot().named(&ip.to_string()).is_empty()
    }

    /// The certificate for a client that asks for `name` (in any case) and accepts these schemes.
    pub(super) fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<Certificate>> {
        let index = self.store.snapshot();
        let select = |name: &str| self.select(&index, name, schemes);
        let found = match name {
            None => {
                let by_address = self.local.and_then(|ip| select(&ip.to_string()));
                by_address.or_else(|| non_empty(&self.default_name).and_then(select))
            }
            Some(name) => {
                let name = name.to_ascii_lowercase();
                select(&name).or_else(|| wildcards_of(&name).find_map(|candidate| select(&candidate)))
            }
        };
        found.or_else(|| non_empty(&self.fallback_name).and_then(select))
    }

    /// The best certificate that holds exactly `name`; with criteria any certificate will do if none
    /// holds the name.
    fn select(&self, index: &Index, name: &str, schemes: &[SignatureScheme]) -> Option<Arc<Certificate>> {
        let Some(criteria) = &self.criteria else { return best(index.named(name).iter(), schemes) };
        let candidates = match index.named(name) {
            [] => index.all(),
            named => named,
        };
        best(candidates.iter().filter(|certificate| criteria.accept(certificate)), schemes)
    }
}

/// The first that suits the client and is valid now; else one that suits; else the first.
fn best<'a>(
    candidates: impl Iterator<Item = &'a Arc<Certificate>>,
    schemes: &[SignatureScheme],
) -> Option<Arc<Certificate>> {
    let mut candidates = candidates.peekable();
    let mut best = candidates.next()?;
    if candidates.peek().is_none() {
        return Some(best.clone());
    }
    let now = UnixTime::now();
    for candidate in std::iter::once(best).chain(candidates) {
        if candidate.suits(schemes) {
            best = candidate;
            if candidate.is_valid_at(now) {
                break;
            }
        }
    }
    Some(best.clone())
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.choose(hello.server_name(), hello.signature_schemes());
        if chosen.is_none() {
            tracing::debug!(server_name = hello.server_name(), "no certificate for this server name");
        }
        chosen.map(|certificate| certificate.for_handshakes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::testing::{certificate, expired, rsa};
    use super::*;

    const ANY: &[SignatureScheme] =
        &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256];

    fn resolver(certificates: Vec<Certificate>, selection: Option<CertificateSelection>) -> Resolver {
        let store = CertificateStore::default();
        store.extend(certificates);
        Resolver {
            store: Arc::new(store),
            criteria: selection.map(|selection| Arc::new(Criteria::new(&selection).unwrap())),
            default_name: "".into(),
            fallback_name: "".into(),
            local: None,
        }
    }

    fn chosen(resolver: &Resolver, name: &str) -> Option<String> {
        let name = Some(name).filter(|name| !name.is_empty());
        resolver.choose(name, ANY).map(|certificate| certificate.names[0].to_string())
    }

    #[test]
    fn exact_names_before_wildcards() {
        let resolver = resolver(vec![certificate(&["*.a.test"], &[]), certificate(&["b.a.test"], &[])], None);
        assert_eq!(chosen(&resolver, "B.a.test").as_deref(), Some("b.a.test"));
        assert_eq!(chosen(&resolver, "c.a.test").as_deref(), Some("*.a.test"));
        assert_eq!(chosen(&resolver, "a.test"), None);
        assert_eq!(chosen(&resolver, ""), None);
    }

    #[test]
    fn default_and_fallback_names() {
        let mut resolver = resolver(vec![certificate(&["a.test"], &[]), certificate(&["b.test"], &[])], None);
        resolver.default_name = "b.test".into();
        assert_eq!(chosen(&resolver, "").as_deref(), Some("b.test"));
        assert_eq!(chosen(&resolver, "x.test"), None);
        resolver.fallback_name = "a.test".into();
        assert_eq!(chosen(&resolver, "").as_deref(), Some("b.test"));
        assert_eq!(chosen(&resolver, "x.test").as_deref(), Some("a.test"));
    }

    #[test]
    fn our_own_address_when_no_name_is_asked_for() {
        let mut resolver =
            resolver(vec![certificate(&["a.test"], &[]), certificate(&["127.0.0.1"], &[])], None);
        resolver.default_name = "a.test".into();
        resolver.local = Some([127, 0, 0, 1].into());
        assert_eq!(chosen(&resolver, "").as_deref(), Some("127.0.0.1"));
        assert!(
            resolver.knows_address([127, 0, 0, 1].into()) && !resolver.knows_address([127, 0, 0, 2].into())
        );
    }

    #[test]
    fn tags_choose_even_for_names_that_no_certificate_holds() {
        let selection = CertificateSelection { any_tag: vec!["cert1".into()], ..Default::default() };
        let certificates = vec![certificate(&["a.test"], &["cert0"]), certificate(&["b.test"], &["cert1"])];
        let resolver = resolver(certificates, Some(selection));
        assert_eq!(chosen(&resolver, "x.test").as_deref(), Some("b.test"));
        assert_eq!(chosen(&resolver, "b.test").as_deref(), Some("b.test"));
        // A certificate that holds the name hides the others at first, and then a wildcard finds them.
        assert_eq!(chosen(&resolver, "a.test").as_deref(), Some("b.test"));
    }

    #[test]
    fn each_criterion_must_hold() {
        let select = |selection: CertificateSelection| {
            let certificates = vec![certificate(&["a.test"], &["x", "y"]), rsa(&["a.test"])];
            let resolver = resolver(certificates, Some(selection));
            resolver.choose(Some("a.test"), ANY).map(|certificate| certificate.facts.algorithm)
        };
        let serial = |serial: &str| vec![Value::from(serial)];
        assert_eq!(
            select(CertificateSelection { serial_number: serial("077"), ..Default::default() }),
            Some("rsa")
        );
        assert_eq!(select(CertificateSelection { serial_number: serial("78"), ..Default::default() }), None);
        let organization =
            CertificateSelection { subject_organization: vec!["Acme".into()], ..Default::default() };
        assert_eq!(select(organization.clone()), Some("rsa"));
        let contradiction = CertificateSelection { public_key_algorithm: "ECDSA".into(), ..organization };
        assert_eq!(select(contradiction), None);
        let both = CertificateSelection { all_tags: vec!["x".into(), "y".into()], ..Default::default() };
        assert_eq!(select(both), Some("ecdsa"));
        assert!(
            Criteria::new(&CertificateSelection { serial_number: serial("0x1"), ..Default::default() })
                .is_err()
        );
    }

    #[test]
    fn among_equals_the_valid_one_that_suits_the_client() {
        let certificates = vec![expired(&["a.test"]), rsa(&["a.test"]), certificate(&["a.test"], &["new"])];
        let resolver = resolver(certificates, None);
        let algorithm = |schemes: &[SignatureScheme]| {
            let chosen = resolver.choose(Some("a.test"), schemes).unwrap();
            (chosen.facts.algorithm, chosen.tags.len())
        };
        assert_eq!(algorithm(&[SignatureScheme::ECDSA_NISTP256_SHA256]), ("ecdsa", 1));
        assert_eq!(algorithm(&[SignatureScheme::RSA_PSS_SHA256]), ("rsa", 0));
        assert_eq!(algorithm(&[SignatureScheme::ED25519]), ("ecdsa", 0));
    }
}
