//! Making certificates: roots, intermediates and those of sites.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use x509_parser::time::ASN1Time;

use super::super::TlsError;
use super::super::certificate::key_from_pem;
use super::super::issuance::KeyPem;

/// RFC 5280, section 4.2.1.2.
const SUBJECT_KEY_IDENTIFIER: &[u64] = &[2, 5, 29, 14];

/// What kind of key a certificate gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum KeyType {
    #[default]
    P256,
    P384,
    Ed25519,
    Rsa2048,
    Rsa4096,
}

/// What a certificate shall be.
#[derive(Clone, Debug)]
pub(in super::super) struct LeafOrder<'a> {
    /// A name, with or without wildcard, or an IP address.
    pub(in super::super) subject: &'a str,
    pub(in super::super) lifetime: Duration,
    /// The key that it is for, in PEM.
    pub(in super::super) key: &'a [u8],
    pub(in super::super) sign_with_root: bool,
}

impl std::str::FromStr for KeyType {
    type Err = TlsError;

    /// Reads Caddy's names; an empty one means the default.
    fn from_str(name: &str) -> Result<Self, TlsError> {
        Ok(match name {
            "" | "p256" => Self::P256,
            "p384" => Self::P384,
            "ed25519" => Self::Ed25519,
            "rsa2048" => Self::Rsa2048,
            "rsa4096" => Self::Rsa4096,
            other => return Err(TlsError::Invalid(format!("unrecognized key type: {other}"))),
        })
    }
}

impl KeyType {
    /// A new key of this type. It may take a while.
    pub(in super::super) fn generate(self) -> Result<KeyPem, TlsError> {
        Ok(KeyPem::new(key_pem(&self.key_pair()?)))
    }

    pub(super) fn key_pair(self) -> Result<KeyPair, rcgen::Error> {
        match self {
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Self::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Whether `now` lies in the last part of a certificate's life, which is `ratio` of the whole.
pub(in super::super) fn is_due(not_before: i64, not_after: i64, ratio: f64, now: i64) -> bool {
    let window = (not_after - not_before) as f64 * ratio;
    now as f64 > not_after as f64 - window
}

/// A common name with its placeholders put in.
pub(super) fn common_name(template: &str, authority: &str, now: i64) -> String {
    let year = jiff::Timestamp::from_second(now)
        .map(|now| now.to_zoned(jiff::tz::TimeZone::system()).year().to_string())
        .unwrap_or_default();
    template.replace("{pki.ca.name}", authority).replace("{time.now.year}", &year)
}

/// A new root.
pub(super) fn root(
    common_name: &str,
    now: i64,
    lifetime: Duration,
) -> Result<(CertificateDer<'static>, KeyPair), TlsError> {
    let key = KeyPair::generate()?;
    let certificate = authority_params(common_name, 1, now, lifetime)?.self_signed(&key)?;
    Ok((certificate.der().clone(), key))
}

/// A new intermediate.
pub(super) fn intermediate(
    common_name: &str,
    root: &Issuer<'_, KeyPair>,
    now: i64,
    lifetime: Duration,
) -> Result<(CertificateDer<'static>, KeyPair), TlsError> {
    let key = KeyPair::generate()?;
    let mut params = authority_params(common_name, 0, now, lifetime)?;
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, root)?;
    Ok((certificate.der().clone(), key))
}

/// A new certificate for a site, which does not outlive its issuer; PEM, leaf first.
pub(super) fn leaf(
    order: &LeafOrder<'_>,
    issuer: &Issuer<'_, KeyPair>,
    chain: &[CertificateDer<'static>],
    issuer_not_after: i64,
    now: i64,
) -> Result<String, TlsError> {
    let key = signing_key(order.key, "the key of the certificate")?;
    let mut params = dated_params(now, (now + seconds(order.lifetime)).min(issuer_not_after))?;
    params.subject_alt_names = vec![match order.subject.parse::<IpAddr>() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) => SanType::DnsName(order.subject.try_into()?),
    }];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if *key.algorithm() == PKCS_RSA_SHA256 {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.custom_extensions = vec![subject_key_identifier(&params, &key)];
    let certificate = params.signed_by(&key, issuer)?;
    let chain: Vec<_> = std::iter::once(certificate.der()).chain(chain).collect();
    Ok(certificate_pem(&chain))
}

fn authority_params(
    common_name: &str,
    path_length: u8,
    now: i64,
    lifetime: Duration,
) -> Result<CertificateParams, TlsError> {
    let mut params = dated_params(now, now + seconds(lifetime))?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// Parameters with an empty subject, a random serial number and these dates.
pub(super) fn dated_params(not_before: i64, not_after: i64) -> Result<CertificateParams, TlsError> {
    let date = |seconds| {
        ASN1Time::from_timestamp(seconds).map(|time| time.to_datetime()).map_err(|_| {
            TlsError::Invalid("the clock or a lifetime is beyond what certificates can hold".into())
        })
    };
    let mut serial = [0_u8; 16];
    getrandom::fill(&mut serial).map_err(|error| TlsError::Invalid(format!("no randomness: {error}")))?;
    // Positive, and without leading zeros.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = date(not_before)?;
    params.not_after = date(not_after)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

pub(super) fn subject_key_identifier(
    params: &CertificateParams,
    key: &impl PublicKeyData,
) -> CustomExtension {
    let identifier = params.key_identifier(key);
    // An OCTET STRING of less than 128 bytes.
    let mut der = vec![0x04, identifier.len() as u8];
    der.extend(identifier);
    CustomExtension::from_oid_content(SUBJECT_KEY_IDENTIFIER, der)
}

fn seconds(duration: Duration) -> i64 {
    // Ten thousand years is more than a certificate's date can hold anyway.
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX).min(10_000 * 366 * 24 * 60 * 60)
}

/// A key that signs, of a PEM text in any form that Caddy writes: SEC 1, PKCS #1 or PKCS #8.
pub(in super::super) fn signing_key(pem: &[u8], origin: &str) -> Result<KeyPair, TlsError> {
    let der = key_from_pem(pem, origin)?;
    KeyPair::try_from(&der).map_err(|error| TlsError::certificate(origin, error))
}

/// A key made here, in PEM (PKCS #8).
pub(super) fn key_pem(key: &KeyPair) -> String {
    key.serialize_pem()
}

/// Certificates in PEM, with the line length that everyone writes.
pub(in super::super) fn certificate_pem(chain: &[&CertificateDer<'static>]) -> String {
    chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
}

/// A block of PEM.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let mut text = format!("-----BEGIN {label}-----\n");
    let encoded = base64::engine::general_purpose::STANDARD.encode(der);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
