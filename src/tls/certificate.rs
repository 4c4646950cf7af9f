//! A certificate with its key, ready for handshakes.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::SignatureScheme;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::TlsError;
use super::ocsp::{self, Answer, Status};
use super::provider::provider;

/// A certificate chain with its key, and what selecting among several needs to know of it.
#[derive(Debug)]
pub struct Certificate {
    /// For rustls, without a staple.
    key: Arc<CertifiedKey>,
    /// The same with one, if there is one; it comes and goes while the certificate is in use.
    stapled: ArcSwapOption<Stapled>,
    /// What its authority said of it last.
    answer: ArcSwapOption<Answer>,
    /// Whether it names somebody who can be asked whether it is revoked.
    names_responder: bool,
    /// The hash of the PEM text that it is stored as, if it is managed.
    pub(super) bundle: Option<u32>,
    /// What it is for, in lower case: its common name, then its subject alternative names by their kinds.
    pub(super) names: Vec<Box<str>>,
    /// What the configuration calls it.
    pub(super) tags: Vec<String>,
    pub(super) facts: Facts,
}

/// A certificate with what its authority says of it.
#[derive(Debug)]
struct Stapled {
    key: Arc<CertifiedKey>,
    /// When that says nothing any more, in seconds since 1970: clients may take it for an attempt to show them
    /// something old.
    ends: Option<i64>,
}

/// What stands in a leaf certificate, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    /// In decimal.
    pub(super) serial: String,
    pub(super) organizations: Vec<String>,
    pub(super) algorithm: &'static str,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    /// Seconds since 1970; still valid at this second.
    pub(super) not_after: i64,
}

impl Certificate {
    /// The certificate and key of these PEM texts, which come from `certificate_origin` and
    /// `key_origin` (files mostly); errors name them.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] if there is none, it is not valid DER, names nothing, or does not
    /// belong to the key.
    pub fn from_pem(
        certificate: &[u8],
        certificate_origin: &str,
        key: &[u8],
        key_origin: &str,
        tags: Vec<String>,
    ) -> Result<Self, TlsError> {
        let chain = chain_from_pem(certificate, certificate_origin)?;
        let key = key_from_pem(key, key_origin)?;
        Self::from_der(chain, key, tags).map_err(|problem| match problem {
            TlsError::Rustls(rustls::Error::InconsistentKeys(_)) if certificate_origin != key_origin => {
                TlsError::certificate(certificate_origin, format!("does not belong to the key {key_origin}"))
            }
            TlsError::Rustls(rustls::Error::InconsistentKeys(_)) => {
                TlsError::certificate(certificate_origin, "the certificate does not belong to the key")
            }
            TlsError::Rustls(rustls::Error::General(problem)) => TlsError::certificate(key_origin, problem),
            other => TlsError::certificate(certificate_origin, other),
        })
    }

    /// The certificate chain, leaf first, with its key.
    ///
    /// # Errors
    /// [`TlsError`] if the leaf can't be read, names nothing, or does not belong to the key.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        tags: Vec<String>,
    ) -> Result<Self, TlsError> {
        let leaf = chain.first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let Leaf { names, facts, names_responder } = read_leaf(leaf)?;
        let key = Arc::new(CertifiedKey::from_der(chain, key, provider())?);
        let (stapled, answer) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        Ok(Self { key, stapled, answer, names_responder, bundle: None, names, tags, facts })
    }

    /// The same, stored as this PEM text.
    pub(super) fn stored_as(self, chain_pem: &[u8]) -> Self {
        Self { bundle: Some(ocsp::fast_hash(chain_pem)), ..self }
    }

    /// For rustls, with a staple if there is one.
    pub(super) fn for_handshakes(&self) -> Arc<CertifiedKey> {
        match &*self.stapled.load() {
            Some(stapled) if stapled.ends.is_none_or(|ends| ocsp::now() <= ends) => stapled.key.clone(),
            _ => self.key.clone(),
        }
    }

    /// What its authority said of it last.
    pub(super) fn answer(&self) -> Option<Arc<Answer>> {
        self.answer.load_full()
    }

    /// Notes what its authority says of it, and shows it to clients from now on if it is good.
    pub(super) fn note(&self, answer: Answer, der: Vec<u8>) {
        match answer.status {
            Status::Good => {
                let stapled = CertifiedKey { ocsp: Some(der), ..CertifiedKey::clone(&self.key) };
                self.stapled.store(Some(Arc::new(Stapled { key: Arc::new(stapled), ends: answer.ends() })));
            }
            // It would be a lie.
            Status::Revoked { .. } => self.unstaple(),
            // What was known holds on.
            Status::Unknown => return,
        }
        self.answer.store(Some(Arc::new(answer)));
    }

    /// Shows clients nothing of what its authority says.
    pub(super) fn unstaple(&self) {
        self.stapled.store(None);
    }

    /// Whether its authority has taken it back.
    pub(super) fn is_revoked(&self) -> bool {
        self.answer.load().as_ref().is_some_and(|answer| matches!(answer.status, Status::Revoked { .. }))
    }

    /// Whether its authority has taken it back because others have its key.
    pub(super) fn is_compromised(&self) -> bool {
        let compromised = Status::Revoked { reason: Some(ocsp::KEY_COMPROMISE) };
        self.answer.load().as_ref().is_some_and(|answer| answer.status == compromised)
    }

    /// Whether this key in PEM is its own.
    pub(super) fn has_key(&self, key_pem: &[u8]) -> bool {
        let key = key_from_pem(key_pem, "");
        key.is_ok_and(|key| CertifiedKey::from_der(self.chain().to_vec(), key, provider()).is_ok())
    }

    /// Whether it names somebody who can be asked whether it is revoked.
    pub(super) fn names_responder(&self) -> bool {
        self.names_responder
    }

    /// How long it is valid in all, in seconds.
    pub(super) fn lives_for(&self) -> i64 {
        self.facts.not_after - self.facts.not_before
    }

    /// Whether it is valid no more at `now`, in seconds since 1970.
    pub(super) fn has_expired(&self, now: i64) -> bool {
        self.facts.not_after < now
    }

    /// The first of its names; there is always one.
    pub(super) fn first_name(&self) -> &str {
        self.names.first().map_or("", AsRef::as_ref)
    }

    /// What it is for, in lower case: its common name, then its subject alternative names by their kinds.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// The chain in DER, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// Whether it is valid at `now`.
    pub(super) fn is_valid_at(&self, now: UnixTime) -> bool {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.facts.not_before <= now && now <= self.facts.not_after
    }

    /// Whether a client that accepts these signature schemes can verify its signatures.
    pub(super) fn suits(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(schemes).is_some()
    }
}

/// All certificates of a PEM text, in its order.
///
/// # Errors
/// [`TlsError::Certificate`] that names `origin` if there is none, or the PEM is broken.
pub(super) fn chain_from_pem(text: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::certificate(origin, problem_of(&error)))?;
    if chain.is_empty() {
        return Err(TlsError::certificate(origin, "no CERTIFICATE pem block found"));
    }
    Ok(chain)
}

/// The first private key of a PEM text.
///
/// # Errors
/// [`TlsError::Certificate`] that names `origin` if there is none, or it is encrypted.
pub(super) fn key_from_pem(text: &[u8], origin: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        let problem = match error {
            pem::Error::NoItemsFound if contains(text, b"ENCRYPTED") => {
                "encrypted private keys are not supported; decrypt the key first".to_owned()
            }
            pem::Error::NoItemsFound => "no PRIVATE KEY pem block found".to_owned(),
            other => problem_of(&other),
        };
        TlsError::certificate(origin, problem)
    })
}

/// Whether a PEM text holds something other than certificates and keys, which a bundle must not.
pub(super) fn has_foreign_blocks(text: &[u8]) -> bool {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(text).any(|block| {
        !matches!(
            block,
            Ok((
                SectionKind::Certificate
                    | SectionKind::PrivateKey
                    | SectionKind::EcPrivateKey
                    | SectionKind::RsaPrivateKey,
                _
            ))
        )
    })
}

fn problem_of(error: &pem::Error) -> String {
    format!("broken PEM: {error:?}")
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(text, needle).is_some()
}

/// What is read of a leaf certificate.
struct Leaf {
    names: Vec<Box<str>>,
    facts: Facts,
    names_responder: bool,
}

fn read_leaf(leaf: &CertificateDer<'_>) -> Result<Leaf, TlsError> {
    let unreadable = |problem: String| TlsError::Invalid(format!("unreadable certificate: {problem}"));
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| unreadable(error.to_string()))?;
    let names = names_of(&leaf).map_err(unreadable)?;
    if names.is_empty() {
        return Err(TlsError::Invalid("certificate has no names".into()));
    }
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| value.as_str().ok().map(str::to_owned);
    let facts = Facts {
        serial: leaf.tbs_certificate.serial.to_string(),
        organizations: leaf.subject().iter_organization().filter_map(text).collect(),
        algorithm: algorithm_of(&leaf),
        not_before: leaf.validity().not_before.timestamp(),
        not_after: leaf.validity().not_after.timestamp(),
    };
    Ok(Leaf { names, facts, names_responder: ocsp::names_responder(&leaf) })
}

fn names_of(leaf: &X509Certificate<'_>) -> Result<Vec<Box<str>>, String> {
    let mut names: Vec<Box<str>> = Vec::new();
    let mut add = |name: &str| {
        let name = name.to_ascii_lowercase().into_boxed_str();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    };
    for common_name in leaf.subject().iter_common_name().take(1) {
        add(common_name.as_str().unwrap_or_default());
    }
    let alternatives = leaf.subject_alternative_name().map_err(|error| error.to_string())?;
    let mut alternatives: Vec<_> =
        alternatives.iter().flat_map(|extension| &extension.value.general_names).collect();
    // As in Caddy, where the first name is part of names in the storage.
    alternatives.sort_by_key(|name| match name {
        GeneralName::DNSName(_) => 0,
        GeneralName::IPAddress(_) => 1,
        GeneralName::RFC822Name(_) => 2,
        _ => 3,
    });
    for name in alternatives {
        match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => add(name),
            GeneralName::IPAddress(octets) => {
                if let Some(ip) = ip_of(octets) {
                    add(&ip.to_string());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

fn ip_of(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

fn algorithm_of(leaf: &X509Certificate<'_>) -> &'static str {
    use x509_parser::oid_registry as oid;
    let algorithm = &leaf.public_key().algorithm.algorithm;
    if *algorithm == oid::OID_PKCS1_RSAENCRYPTION {
        "rsa"
    } else if *algorithm == oid::OID_KEY_TYPE_EC_PUBLIC_KEY {
        "ecdsa"
    } else if *algorithm == oid::OID_KEY_TYPE_DSA {
        "dsa"
    } else {
        ""
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Certificates for tests.

    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256, SerialNumber};

    use super::*;

    /// A self-signed certificate for these names, as PEM with its key.
    pub(crate) fn pem(names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params(names).self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    /// A self-signed certificate for these names with these tags.
    pub(crate) fn certificate(names: &[&str], tags: &[&str]) -> Certificate {
        let (certificate, key) = pem(names);
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Certificate::from_pem(certificate.as_bytes(), "test", key.as_bytes(), "test", tags).unwrap()
    }

    /// The same with an RSA key, serial number 77 and organization `Acme`.
    pub(crate) fn rsa(names: &[&str]) -> Certificate {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let mut params = params(names);
        params.serial_number = Some(SerialNumber::from(77_u64));
        params.distinguished_name.push(DnType::OrganizationName, "Acme");
        let der = params.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Certificate::from_der(vec![der], key, Vec::new()).unwrap()
    }

    /// The same, but expired.
    pub(crate) fn expired(names: &[&str]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let mut params = params(names);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let der = params.self_signed(&key).unwrap().der().clone();
        Certificate::from_der(vec![der], PrivateKeyDer::try_from(key.serialize_der()).unwrap(), Vec::new())
            .unwrap()
    }

    fn params(names: &[&str]) -> CertificateParams {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_single() {
        let certificate = testing::certificate(&["A.test", "*.b.test", "127.0.0.1", "::1", "a.test"], &[]);
        assert_eq!(certificate.names().collect::<Vec<_>>(), ["a.test", "*.b.test", "127.0.0.1", "::1"]);
    }

    #[test]
    fn facts_for_selection() {
        let facts = testing::rsa(&["a.test"]).facts;
        assert_eq!((facts.serial.as_str(), facts.algorithm), ("77", "rsa"));
        assert_eq!(facts.organizations, ["Acme"]);
        assert_eq!(testing::certificate(&["a.test"], &[]).facts.algorithm, "ecdsa");
    }

    #[test]
    fn validity_is_inclusive() {
        let expired = testing::expired(&["a.test"]);
        let last = u64::try_from(expired.facts.not_after).unwrap();
        let at = |secs| expired.is_valid_at(UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs)));
        assert!(at(last) && !at(last + 1));
    }

    #[test]
    fn problems_name_their_file() {
        let (certificate, key) = testing::pem(&["a.test"]);
        let (_, other_key) = testing::pem(&["b.test"]);
        let problem = |certificate: &str, key: &str| {
            Certificate::from_pem(certificate.as_bytes(), "c.pem", key.as_bytes(), "k.pem", Vec::new())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(problem(&certificate, &other_key), "c.pem: does not belong to the key k.pem");
        assert_eq!(problem(&key, &key), "c.pem: no CERTIFICATE pem block found");
        assert_eq!(problem(&certificate, &certificate), "k.pem: no PRIVATE KEY pem block found");
        assert_eq!(problem("", &key), "c.pem: no CERTIFICATE pem block found");
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(problem(&certificate, encrypted).starts_with("k.pem: encrypted private keys"));
        let cut = certificate.replace("-----END CERTIFICATE-----", "");
        assert!(problem(&cut, &key).starts_with("c.pem: broken PEM"));
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(problem(&certificate, no_key).starts_with("k.pem: "), "{}", problem(&certificate, no_key));
    }
}
