//! Keys and certificates that somebody asks for by hand, in the forms that sprig gives them.

use std::net::IpAddr;

use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};
use rcgen::{
    BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519,
    PKCS_RSA_SHA256, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::TlsError;
use super::super::certificate::key_from_pem;
use super::make::{self, KeyType};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// A certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadePair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// What a certificate shall say.
#[derive(Debug, Default)]
pub struct MadeFor<'a> {
    /// The subject's common name.
    pub common_name: &'a str,
    /// Addresses that it is for.
    pub ips: Vec<IpAddr>,
    /// Names that it is for.
    pub names: Vec<String>,
    /// How long it is valid from now on; it may have expired.
    pub days: i64,
    /// Whether it may sign others.
    pub is_authority: bool,
}

/// A new key: `rsa` (4,096 bits), `ecdsa` (P-256) or `ed25519`; RSA takes a while.
///
/// # Errors
/// There is no such kind.
pub fn private_key(kind: &str) -> Result<String, TlsError> {
    let kind = match kind {
        "" | "rsa" => KeyType::Rsa4096,
        "ecdsa" => KeyType::P256,
        "ed25519" => KeyType::Ed25519,
        other => return Err(TlsError::Invalid(format!("Unknown type {other}"))),
    };
    told(&kind.key_pair()?)
}

/// A certificate that nobody else signs, with this key (PEM) or a new one (RSA, 2,048 bits).
///
/// # Errors
/// The key is none, or the wish can't be fulfilled.
pub fn self_signed(wish: &MadeFor<'_>, key: Option<&str>) -> Result<MadePair, TlsError> {
    let (key, text) = given_or_new(key)?;
    let certificate = params(wish)?.self_signed(&key)?;
    Ok(MadePair { certificate: make::certificate_pem(&[certificate.der()]), key: text })
}

/// The same, signed by an authority.
///
/// # Errors
/// Also if the authority is none.
pub fn signed(wish: &MadeFor<'_>, by: &MadePair, key: Option<&str>) -> Result<MadePair, TlsError> {
    let (key, text) = given_or_new(key)?;
    let root = CertificateDer::from_pem_slice(by.certificate.as_bytes())
        .map_err(|_| TlsError::Invalid("unable to decode certificate".to_owned()))?;
    let issuer = Issuer::from_ca_cert_der(&root, parsed(&by.key)?.0)?;
    let mut params = params(wish)?;
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(MadePair { certificate: make::certificate_pem(&[certificate.der()]), key: text })
}

/// A pair that somebody has.
///
/// # Errors
/// One of them is not what it should be.
pub fn given(pair: MadePair) -> Result<MadePair, TlsError> {
    let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes())
        .map_err(|_| TlsError::Invalid("unable to decode certificate".to_owned()))?;
    x509_parser::parse_x509_certificate(&der)
        .map_err(|error| TlsError::Invalid(format!("error parsing certificate: {error}")))?;
    parsed(&pair.key).map_err(|error| TlsError::Invalid(format!("error parsing private key: {error}")))?;
    Ok(pair)
}

fn params(wish: &MadeFor<'_>) -> Result<rcgen::CertificateParams, TlsError> {
    let now = make::now();
    let mut params = make::dated_params(now, now.saturating_add(wish.days.saturating_mul(DAY_SECONDS)))?;
    params.distinguished_name.push(DnType::CommonName, wish.common_name);
    params.subject_alt_names = wish.ips.iter().map(|ip| SanType::IpAddress(*ip)).collect();
    for name in &wish.names {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    if wish.is_authority {
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    Ok(params)
}

fn given_or_new(key: Option<&str>) -> Result<(KeyPair, String), TlsError> {
    if let Some(key) = key {
        return parsed(key).map_err(|error| TlsError::Invalid(format!("parsing private key: {error}")));
    }
    let key = KeyType::Rsa2048.key_pair()?;
    let text = told(&key)?;
    Ok((key, text))
}

/// A key of a PEM text, and how it is written here.
fn parsed(pem: &str) -> Result<(KeyPair, String), TlsError> {
    if !pem.contains("-----BEGIN ") {
        return Err(TlsError::Invalid("no PEM data in input".to_owned()));
    }
    let der = key_from_pem(pem.as_bytes(), "the key")?;
    let key = KeyPair::try_from(&der).map_err(|error| TlsError::certificate("the key", error))?;
    let text = match &der {
        PrivateKeyDer::Pkcs1(der) => make::pem(RSA, der.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(der) => make::pem(EC, der.secret_sec1_der()),
        _ => told(&key)?,
    };
    Ok((key, text))
}

const RSA: &str = "RSA PRIVATE KEY";
const EC: &str = "EC PRIVATE KEY";

/// A key as Go writes it: RSA's as of PKCS #1, elliptic curves' as of SEC 1, others as of PKCS #8.
fn told(key: &KeyPair) -> Result<String, TlsError> {
    let der = key.serialized_der();
    let broken = || TlsError::Invalid("a key in an unknown form".to_owned());
    let algorithm = key.algorithm();
    if *algorithm == PKCS_RSA_SHA256 {
        return Ok(make::pem(RSA, inner(der).ok_or_else(broken)?));
    }
    if *algorithm == PKCS_ED25519 {
        // Version 0 of PKCS #8, without the public key that version 1 has (RFC 8410 section 7).
        const HEAD: &[u8] = &[0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 34];
        return Ok(make::pem("PRIVATE KEY", &[HEAD, inner(der).ok_or_else(broken)?].concat()));
    }
    let known = [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING];
    let pair = known.iter().find_map(|algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der).ok());
    let sec1 = pair.and_then(|pair| pair.private_key().as_der().ok());
    let sec1: EcPrivateKeyRfc5915Der<'_> = sec1.ok_or_else(broken)?;
    Ok(make::pem(EC, sec1.as_ref()))
}

/// What PKCS #8 wraps (RFC 5958): the octets behind the version and the algorithm.
fn inner(pkcs8: &[u8]) -> Option<&[u8]> {
    let (0x30, key, _) = element(pkcs8)? else { return None };
    let (2, _, rest) = element(key)? else { return None };
    let (0x30, _, rest) = element(rest)? else { return None };
    let (4, octets, _) = element(rest)? else { return None };
    Some(octets)
}

/// The element that some DER begins with: its tag, its contents, and what is behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (bytes, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*bytes)), rest)
        }
        _ => return None,
    };
    let (contents, behind) = rest.split_at_checked(length)?;
    Some((tag, contents, behind))
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

    use super::*;

    fn begins(text: &str) -> &str {
        text.lines().next().unwrap_or_default()
    }

    #[test]
    fn keys_have_gos_forms_and_are_read_again() {
        for (kind, label) in [
            ("ecdsa", "-----BEGIN EC PRIVATE KEY-----"),
            ("ed25519", "-----BEGIN PRIVATE KEY-----"),
            ("rsa", "-----BEGIN RSA PRIVATE KEY-----"),
        ] {
            let key = private_key(kind).unwrap();
            assert_eq!(begins(&key), label);
            let wish = MadeFor { common_name: "ca", days: 1, is_authority: true, ..MadeFor::default() };
            let authority = self_signed(&wish, Some(&key)).unwrap();
            assert_eq!(authority.key, key);
            assert_eq!(given(authority.clone()).unwrap(), authority);
        }
        assert_eq!(private_key("x").unwrap_err().to_string(), "Unknown type x");
        let none = self_signed(&MadeFor::default(), Some("x")).unwrap_err();
        assert_eq!(none.to_string(), "parsing private key: no PEM data in input");
    }

    #[test]
    fn a_certificate_says_what_was_wished_for_and_who_signed_it() {
        let wish = MadeFor { common_name: "root", days: 365, is_authority: true, ..MadeFor::default() };
        let key = private_key("ecdsa").unwrap();
        let authority = self_signed(&wish, Some(&key)).unwrap();
        let wish = MadeFor {
            common_name: "site",
            ips: vec!["::1".parse().unwrap()],
            names: vec!["a.test".to_owned()],
            days: 2,
            is_authority: false,
        };
        let pair = signed(&wish, &authority, Some(&key)).unwrap();
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (root, leaf) = (der(&authority.certificate), der(&pair.certificate));
        let (root, leaf) =
            (X509Certificate::from_der(&root).unwrap().1, X509Certificate::from_der(&leaf).unwrap().1);
        assert!(root.is_ca() && !leaf.is_ca());
        assert_eq!((leaf.issuer(), leaf.subject().to_string()), (root.subject(), "CN=site".to_owned()));
        leaf.verify_signature(Some(root.public_key())).unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
        assert!(
            matches!(&names[..], [GeneralName::IPAddress(_), GeneralName::DNSName("a.test")]),
            "{names:?}"
        );
        let days = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
        assert_eq!(days, 2 * DAY_SECONDS);
        assert!(given(MadePair { certificate: "x".to_owned(), ..pair }).is_err());
    }
}
