//! Certificates for keys that others have: what they ask for (RFC 2986), and what they get.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rcgen::{
    DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData as _,
    SanType, SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::super::TlsError;
use super::make::{certificate_pem, dated_params, subject_key_identifier};

/// A common name has no more characters (RFC 5280, appendix A.1).
const COMMON_NAME_CHARS_MAX: usize = 64;

/// A request for a certificate, signed by the key that it is for. Of what it asks for only that key and
/// the names count.
#[derive(Debug)]
pub struct SigningRequest {
    key: SubjectPublicKeyInfo,
    names: BTreeSet<String>,
    /// The first of its common names.
    common_name: Option<String>,
}

/// What a request gets.
#[derive(Clone, Copy, Debug)]
pub struct RequestOrder<'a> {
    /// The request.
    pub request: &'a SigningRequest,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970; a certificate does not outlive its issuer.
    pub not_after: i64,
    /// Whether the root signs, in place of the intermediate.
    pub sign_with_root: bool,
}

/// A certificate that was issued for a request.
#[derive(Clone, Debug)]
pub struct SignedRequest {
    /// PEM, leaf first, without the root.
    pub chain_pem: String,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// Seconds since 1970.
    pub not_after: i64,
}

impl SigningRequest {
    /// Reads a request (DER), and checks that the key that it is for has signed it.
    ///
    /// # Errors
    /// [`TlsError::Invalid`] for one that is broken, signed by another key, of a kind of key that there
    /// are no certificates for, or for something other than names and addresses.
    pub fn read(der: &[u8]) -> Result<Self, TlsError> {
        let wrong = |problem: String| TlsError::Invalid(format!("certificate request: {problem}"));
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|error| wrong(error.to_string()))?;
        if !rest.is_empty() {
            return Err(wrong("something follows it".into()));
        }
        request.verify_signature().map_err(|error| wrong(error.to_string()))?;
        let info = &request.certification_request_info;
        let key =
            SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|error| wrong(error.to_string()))?;
        let mut names = BTreeSet::new();
        let mut common_name = None;
        for name in info.subject.iter_common_name() {
            let name = name.as_str().map_err(|error| wrong(error.to_string()))?;
            if !name.is_empty() {
                common_name.get_or_insert_with(|| name.to_owned());
                // An address in another form is the same address.
                let canonical = name
                    .parse::<IpAddr>()
                    .map_or_else(|_| dns_name(name), |ip| ip.to_canonical().to_string());
                names.insert(canonical);
            }
        }
        for extension in request.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(alternatives) => {
                    for name in &alternatives.general_names {
                        names.insert(alternative(name).map_err(wrong)?);
                    }
                }
                ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                    return Err(wrong("it is for an authority".into()));
                }
                _ => {}
            }
        }
        Ok(Self { key, names, common_name })
    }

    /// What it asks for: names in lower case and addresses, each once.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }
}

fn alternative(name: &GeneralName<'_>) -> Result<String, String> {
    match name {
        // What is written as a name but is an address would be one for whoever compares texts.
        GeneralName::DNSName(name) if name.parse::<IpAddr>().is_ok() => {
            Err(format!("{name} is an address and not a name"))
        }
        GeneralName::DNSName(name) => Ok(dns_name(name)),
        GeneralName::IPAddress(octets) => {
            let ip = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let ip = ip.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from));
            ip.map(|ip| ip.to_canonical().to_string())
                .map_err(|_| "an address has the wrong length".to_owned())
        }
        _ => Err("only DNS names and IP addresses are allowed".to_owned()),
    }
}

fn dns_name(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Issues what a request gets.
pub(super) fn sign(
    order: &RequestOrder<'_>,
    issuer: &Issuer<'_, KeyPair>,
    chain: &[CertificateDer<'static>],
    issuer_not_after: i64,
) -> Result<SignedRequest, TlsError> {
    let request = order.request;
    let not_after = order.not_after.min(issuer_not_after);
    if not_after <= order.not_before {
        return Err(TlsError::Invalid("the certificate would begin after the authority's end".into()));
    }
    let mut params = dated_params(order.not_before, not_after)?;
    let short = |name: &&String| name.chars().count() <= COMMON_NAME_CHARS_MAX;
    if let Some(name) = request.common_name.as_ref().filter(short) {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    for name in &request.names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if *request.key.algorithm() == PKCS_RSA_SHA256 {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.custom_extensions = vec![subject_key_identifier(&params, &request.key)];
    let serial = params.serial_number.as_ref().map(rcgen::SerialNumber::to_bytes).unwrap_or_default();
    let certificate = params.signed_by(&request.key, issuer)?;
    let chain: Vec<_> = std::iter::once(certificate.der()).chain(chain).collect();
    Ok(SignedRequest {
        chain_pem: certificate_pem(&chain),
        serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
        not_after,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, IsCa, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    };

    use std::time::Duration;

    use super::*;

    fn request(names: &[&str], common_name: Option<&str>, key: &KeyPair) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse::<IpAddr>() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        params.serialize_request(key).unwrap().der().to_vec()
    }

    fn names(der: &[u8]) -> Vec<String> {
        SigningRequest::read(der).unwrap().names().iter().cloned().collect()
    }

    #[test]
    fn names_are_gathered_from_everywhere() {
        let key = KeyPair::generate().unwrap();
        let der = request(&["B.test", "192.0.2.1", "::1", "*.c.test"], Some("A.test"), &key);
        assert_eq!(names(&der), ["*.c.test", "192.0.2.1", "::1", "a.test", "b.test"]);
        assert_eq!(names(&request(&["::1"], Some("0:0:0:0:0:0:0:1"), &key)), ["::1"]);
    }

    #[test]
    fn what_is_forged_or_for_more_than_names_is_refused() {
        let key = KeyPair::generate().unwrap();
        let mut der = request(&["a.test"], None, &key);
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(SigningRequest::read(&der).is_err());
        der[last] ^= 1;
        der.push(0);
        assert!(SigningRequest::read(&der).unwrap_err().to_string().contains("follows"));
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.serialize_request(&key).unwrap();
        assert!(SigningRequest::read(der.der()).unwrap_err().to_string().contains("authority"));
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::Rfc822Name("a@b.test".try_into().unwrap())];
        let der = params.serialize_request(&key).unwrap();
        assert!(SigningRequest::read(der.der()).unwrap_err().to_string().contains("only DNS names"));
        params.subject_alt_names = vec![SanType::DnsName("192.0.2.1".try_into().unwrap())];
        let der = params.serialize_request(&key).unwrap();
        assert!(SigningRequest::read(der.der()).unwrap_err().to_string().contains("is an address"));
    }

    #[test]
    fn keys_of_every_kind_are_signed_as_they_are() {
        let root = KeyPair::generate().unwrap();
        let (certificate, _) = super::super::make::root("r", 1_000_000, Duration::from_secs(1000)).unwrap();
        let issuer = Issuer::from_ca_cert_der(&certificate, root).unwrap();
        for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let request = SigningRequest::read(&request(&["a.test"], Some("a.test"), &key)).unwrap();
            let order = RequestOrder {
                request: &request,
                not_before: 1_000_000,
                not_after: 2_000_000,
                sign_with_root: false,
            };
            let signed = sign(&order, &issuer, &[], 1_000_500).unwrap();
            assert_eq!((signed.not_after, signed.serial.len()), (1_000_500, 32));
            let chain = super::super::chain_from_pem(signed.chain_pem.as_bytes(), "x").unwrap();
            let (_, leaf) = x509_parser::prelude::X509Certificate::from_der(&chain[0]).unwrap();
            assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
            assert_eq!(leaf.subject().to_string(), "CN=a.test");
            assert_eq!(leaf.raw_serial_as_string().replace(':', ""), signed.serial);
            assert_eq!(leaf.validity().not_after.timestamp(), 1_000_500);
            assert!(!leaf.is_ca());
        }
    }
}
