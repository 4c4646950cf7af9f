//! `{http.request.tls.*}`

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ProtocolVersion;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

use super::into_bytes;
use crate::http::conn_info::TlsInfo;

/// What can be asked of a request's TLS session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsField {
    Version,
    CipherSuite,
    Resumed,
    Proto,
    Mutual,
    ServerName,
    Ech,
    Client(CertificateField),
}

/// What can be asked of the client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateField {
    Fingerprint,
    PublicKey,
    PublicKeySha256,
    Issuer,
    Subject,
    Serial,
    Pem,
    DerBase64,
    DnsNames(Option<usize>),
    Emails(Option<usize>),
    Ips(Option<usize>),
    Uris(Option<usize>),
}

impl TlsField {
    /// The value; empty without TLS or without what is asked for.
    pub(super) fn value(self, tls: Option<&TlsInfo>) -> Cow<'_, [u8]> {
        let Some(tls) = tls else { return Cow::Borrowed(b"") };
        let text = match self {
            Self::Version => Cow::Borrowed(match tls.version {
                Some(ProtocolVersion::TLSv1_3) => "tls1.3",
                Some(ProtocolVersion::TLSv1_2) => "tls1.2",
                _ => "",
            }),
            Self::CipherSuite => Cow::Owned(match tls.cipher_suite {
                // rustls puts the version into the names of TLS 1.3's suites, the RFC does not.
                Some(suite) => format!("{suite:?}").replacen("TLS13_", "TLS_", 1),
                None => String::new(),
            }),
            Self::Resumed => Cow::Borrowed(if tls.resumed { "true" } else { "false" }),
            Self::Proto => return Cow::Borrowed(tls.alpn.as_deref().unwrap_or_default()),
            Self::Mutual => Cow::Borrowed("true"),
            Self::ServerName => Cow::Borrowed(tls.server_name.as_deref().unwrap_or_default()),
            Self::Ech => Cow::Borrowed("false"),
            Self::Client(field) => Cow::Owned(
                tls.client_certificates.first().and_then(|der| field.text(der)).unwrap_or_default(),
            ),
        };
        into_bytes(text)
    }
}

impl CertificateField {
    fn text(self, der: &[u8]) -> Option<String> {
        match self {
            Self::Fingerprint => return Some(hex(digest(&SHA256, der).as_ref())),
            Self::DerBase64 => return Some(STANDARD.encode(der)),
            Self::Pem => return Some(pem(der)),
            _ => {}
        }
        // The handshake has verified the certificate, so it parses; one that does not has no fields.
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let key = || &*certificate.public_key().subject_public_key.data;
        Some(match self {
            Self::PublicKey => hex(key()),
            Self::PublicKeySha256 => hex(digest(&SHA256, key()).as_ref()),
            Self::Issuer => name(certificate.issuer()),
            Self::Subject => name(certificate.subject()),
            Self::Serial => certificate.tbs_certificate.serial.to_string(),
            Self::DnsNames(index) => listed(&certificate, index, |name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            }),
            Self::Emails(index) => listed(&certificate, index, |name| match name {
                GeneralName::RFC822Name(name) => Some((*name).to_owned()),
                _ => None,
            }),
            Self::Uris(index) => listed(&certificate, index, |name| match name {
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            }),
            Self::Ips(index) => listed(&certificate, index, |name| match name {
                GeneralName::IPAddress(ip) => address(ip),
                _ => None,
            }),
            Self::Fingerprint | Self::DerBase64 | Self::Pem => return None,
        })
    }
}

/// One of the certificate's other names, or all of them as Go prints a list.
fn listed<T: Display>(
    certificate: &X509Certificate<'_>,
    index: Option<usize>,
    pick: impl Fn(&GeneralName<'_>) -> Option<T>,
) -> String {
    let names = certificate.subject_alternative_name().ok().flatten();
    let mut picked = names.iter().flat_map(|names| &names.value.general_names).filter_map(pick);
    match index {
        Some(index) => picked.nth(index).map(|name| name.to_string()).unwrap_or_default(),
        None => format!("[{}]", picked.map(|name| name.to_string()).collect::<Vec<_>>().join(" ")),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// A distinguished name as Go prints it: always in this order, several values of a kind with `+`
/// (RFC 2253).
fn name(name: &X509Name<'_>) -> String {
    const KINDS: [(&str, &str); 9] = [
        ("2.5.4.5", "SERIALNUMBER"),
        ("2.5.4.3", "CN"),
        ("2.5.4.17", "POSTALCODE"),
        ("2.5.4.9", "STREET"),
        ("2.5.4.8", "ST"),
        ("2.5.4.7", "L"),
        ("2.5.4.11", "OU"),
        ("2.5.4.10", "O"),
        ("2.5.4.6", "C"),
    ];
    let mut names = Vec::new();
    for (oid, short) in KINDS {
        let values: Vec<_> = name
            .iter_attributes()
            .filter(|attribute| attribute.attr_type().to_id_string() == oid)
            .filter_map(|attribute| attribute.as_str().ok())
            .map(|value| format!("{short}={}", escaped(value)))
            .collect();
        if !values.is_empty() {
            names.push(values.join("+"));
        }
    }
    names.join(",")
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, char) in value.chars().enumerate() {
        let special = match char {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            '#' => at == 0,
            ' ' => at == 0 || at == last,
            _ => false,
        };
        if special {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn pem(der: &[u8]) -> String {
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    let text = STANDARD.encode(der);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> TlsInfo {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".into(), "10.0.0.1".into()]).unwrap();
        let mut subject = rcgen::DistinguishedName::new();
        subject.push(rcgen::DnType::OrganizationName, "Acme, Inc.");
        subject.push(rcgen::DnType::CommonName, "client");
        params.distinguished_name = subject;
        params.serial_number = Some(rcgen::SerialNumber::from(300_u64));
        let key = rcgen::KeyPair::generate().unwrap();
        TlsInfo {
            version: Some(ProtocolVersion::TLSv1_3),
            cipher_suite: Some(rustls::CipherSuite::TLS13_AES_128_GCM_SHA256),
            alpn: Some(b"h2".to_vec()),
            server_name: Some("a.example".into()),
            client_certificates: vec![params.self_signed(&key).unwrap().der().clone()],
            ..TlsInfo::default()
        }
    }

    fn value(tls: &TlsInfo, field: &str) -> String {
        String::from_utf8(TlsField::parse(field).unwrap().value(Some(tls)).into_owned()).unwrap()
    }

    #[test]
    fn a_session_is_described_in_gos_words() {
        let tls = client();
        for (field, expected) in [
            ("version", "tls1.3"),
            ("cipher_suite", "TLS_AES_128_GCM_SHA256"),
            ("proto", "h2"),
            ("server_name", "a.example"),
            ("resumed", "false"),
            ("client.subject", "CN=client,O=Acme\\, Inc."),
            ("client.serial", "300"),
            ("client.san.dns_names", "[a.example]"),
            ("client.san.ips.0", "10.0.0.1"),
            ("client.san.ips.1", ""),
            ("client.san.uris", "[]"),
        ] {
            assert_eq!(value(&tls, field), expected, "{field}");
        }
        assert_eq!(value(&tls, "client.fingerprint").len(), 64);
        assert_eq!(value(&tls, "client.public_key").len(), 130);
        let pem = value(&tls, "client.certificate_pem");
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\nMII"), "{pem}");
        assert!(pem.ends_with("\n-----END CERTIFICATE-----\n"), "{pem}");
    }

    #[test]
    fn without_tls_or_certificate_all_is_empty() {
        assert_eq!(&*TlsField::Version.value(None), b"");
        let bare = TlsInfo::default();
        assert_eq!(value(&bare, "client.subject"), "");
        assert_eq!(value(&bare, "version"), "");
    }
}
