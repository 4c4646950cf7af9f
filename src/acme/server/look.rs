//! Looking at challenges: whether what should be shown is there.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Response;
use http::header::LOCATION;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::identifier::Identifier;
use super::orders::{Seen, Way};
use super::problem::{Kind, Problem};
use crate::dns::Resolver;
use crate::fetch;
use crate::tls::challenges::{ACME_TLS, HTTP_PATH, reverse_name};
use crate::tls::issuance::Ports;
use crate::tls::{TlsError, Trust, own_client_config};

/// Looking takes no longer, as in Caddy.
const TIMEOUT: Duration = Duration::from_secs(30);
/// So often may an answer send us elsewhere, as in Caddy.
const REDIRECTS_MAX: usize = 10;
/// An address may have so many bytes.
const ADDRESS_BYTES_MAX: usize = 2 * 1024;
/// An answer may have so many bytes. The right one has about a hundred.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// The extension that shows a challenge's answer (RFC 8737 section 3).
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// Looks whether challenges are met.
#[derive(Debug)]
pub struct Looker {
    client: fetch::Client,
    tls: Arc<ClientConfig>,
    ports: Ports,
    resolver: Resolver,
}

impl Looker {
    /// One that asks this resolver for texts, and looks at these ports.
    ///
    /// # Errors
    /// [`TlsError`] if there is no TLS.
    pub fn new(resolver: Resolver, ports: Ports) -> Result<Self, TlsError> {
        // Whoever answers is not believed for its certificate (RFC 8555 section 8.3, RFC 8737 section 3).
        let careless = own_client_config(Trust::Anybody)?;
        let client = fetch::Client::by(fetch::Proxies::Direct, careless.clone())
            .with_timeout(TIMEOUT)
            .with_answer_max(ANSWER_BYTES_MAX);
        let mut tls = ClientConfig::clone(&careless);
        tls.alpn_protocols = vec![ACME_TLS.to_vec()];
        Ok(Self { client, tls: Arc::new(tls), ports, resolver })
    }

    /// Looks whether the answer to a challenge is there.
    pub(super) async fn look(&self, way: Way, identifier: &Identifier, token: &str, answer: &str) -> Seen {
        let looking = async {
            match way {
                Way::Http => self.look_by_http(identifier, token, answer).await,
                Way::TlsAlpn => self.look_by_tls(identifier, answer).await,
                Way::Dns => self.look_by_dns(identifier, answer).await,
            }
        };
        let late = || Seen::Nothing(Problem::new(Kind::Connection, format!("no answer within {TIMEOUT:?}")));
        tokio::time::timeout(TIMEOUT, looking).await.unwrap_or_else(|_| late())
    }

    async fn look_by_http(&self, identifier: &Identifier, token: &str, answer: &str) -> Seen {
        let unreachable = |why: String| Seen::Nothing(Problem::new(Kind::Connection, why));
        let host = match identifier.value.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
            _ => identifier.value.clone(),
        };
        let port = if self.ports.http == 80 { String::new() } else { format!(":{}", self.ports.http) };
        let mut address = format!("http://{host}{port}{HTTP_PATH}{token}");
        for hop in 0..=REDIRECTS_MAX {
            // Where we are sent may be what the client can't reach: of that it learns no more than this.
            let elsewhere = |why: String| match hop {
                0 => unreachable(why),
                _ => unreachable("what it redirects to does not show the key authorization".into()),
            };
            let response = match self.client.get(&address).await {
                Ok(response) => response,
                Err(error) => return elsewhere(format!("GET {address}: {error}")),
            };
            match redirected(&response, &address) {
                Some(Ok(next)) if !self.may_follow(&next) => {
                    return unreachable("it redirects to another port than those of HTTP and HTTPS".into());
                }
                Some(Ok(next)) => address = next,
                Some(Err(problem)) => return elsewhere(problem),
                None if response.status().as_u16() >= 400 => {
                    return elsewhere(format!("GET {address}: status {}", response.status().as_u16()));
                }
                // What was there instead is nobody's business: a redirect may lead to what is not public.
                None if response.body().trim_ascii() == answer.as_bytes() => return Seen::Right,
                None if hop > 0 => return elsewhere(String::new()),
                None => return wrong(format!("GET {address}: the key authorization does not match")),
            }
        }
        unreachable(format!("more than {REDIRECTS_MAX} redirects"))
    }

    /// Whether a redirect leads to a port of HTTP or HTTPS: others are not the public's.
    fn may_follow(&self, address: &str) -> bool {
        let Ok(uri) = address.parse::<http::Uri>() else { return false };
        let port = uri.port_u16();
        port.is_none_or(|port| [80, 443, self.ports.http, self.ports.https].contains(&port))
    }

    async fn look_by_tls(&self, identifier: &Identifier, answer: &str) -> Seen {
        let unreachable = |why: String| Seen::Nothing(Problem::new(Kind::Connection, why));
        let name = match identifier.value.parse::<IpAddr>() {
            Ok(ip) => reverse_name(ip),
            Err(_) => identifier.value.clone(),
        };
        let Ok(name) = ServerName::try_from(name) else { return wrong("it is no name of a server".into()) };
        let stream = match TcpStream::connect((identifier.value.as_str(), self.ports.https)).await {
            Ok(stream) => stream,
            Err(error) => return unreachable(error.to_string()),
        };
        let stream = match TlsConnector::from(self.tls.clone()).connect(name, stream).await {
            Ok(stream) => stream,
            Err(error) => {
                let refused = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
                return match refused {
                    Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                        wrong("acme-tls/1 is not spoken there".into())
                    }
                    _ => Seen::Nothing(Problem::new(Kind::Tls, error.to_string())),
                };
            }
        };
        let (_, connection) = stream.get_ref();
        if connection.alpn_protocol() != Some(ACME_TLS) {
            return wrong("acme-tls/1 is not spoken there".into());
        }
        let leaf = connection.peer_certificates().and_then(<[_]>::first);
        match leaf.map(|leaf| check_certificate(leaf, identifier, answer)) {
            Some(Ok(())) => Seen::Right,
            Some(Err(problem)) => wrong(problem.to_owned()),
            None => wrong("there is no certificate".into()),
        }
    }

    async fn look_by_dns(&self, identifier: &Identifier, answer: &str) -> Seen {
        let name = format!("_acme-challenge.{}", identifier.value);
        let expected = URL_SAFE_NO_PAD.encode(digest(&SHA256, answer.as_bytes()));
        match self.resolver.texts(&name).await {
            Err(error) => Seen::Nothing(Problem::new(Kind::Dns, error.to_string())),
            Ok(texts) if texts.iter().any(|text| text == expected.as_bytes()) => Seen::Right,
            // Records take their time: as in Caddy, a wrong one may become right.
            Ok(_) => Seen::Nothing(Problem::new(
                Kind::RejectedIdentifier,
                format!("no record TXT of {name} is the right one"),
            )),
        }
    }
}

fn wrong(why: String) -> Seen {
    Seen::Wrong(Problem::new(Kind::RejectedIdentifier, why))
}

/// Where an answer sends us, if it does.
fn redirected(response: &Response<Bytes>, from: &str) -> Option<Result<String, String>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let next = response.headers().get(LOCATION).and_then(|location| location.to_str().ok())?;
    let bad = || Some(Err(format!("{from} redirects to something else")));
    if next.len() > ADDRESS_BYTES_MAX {
        return bad();
    }
    if next.starts_with("http://") || next.starts_with("https://") {
        return Some(Ok(next.to_owned()));
    }
    // Relative to where we are; paths that go up and down are of no use here.
    let Some((scheme, rest)) = from.split_once("://") else { return bad() };
    let host = rest.split('/').next().unwrap_or_default();
    match next.strip_prefix("//") {
        Some(elsewhere) => Some(Ok(format!("{scheme}://{elsewhere}"))),
        None if next.starts_with('/') => Some(Ok(format!("{scheme}://{host}{next}"))),
        None => bad(),
    }
}

/// Whether a certificate is the answer to a challenge (RFC 8737 section 3).
fn check_certificate(
    leaf: &CertificateDer<'_>,
    identifier: &Identifier,
    answer: &str,
) -> Result<(), &'static str> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| "the certificate can't be read")?;
    let names = leaf.subject_alternative_name().ok().flatten().map(|extension| extension.value);
    let is_it = match names.map(|names| names.general_names.as_slice()) {
        Some([GeneralName::DNSName(name)]) => name.eq_ignore_ascii_case(&identifier.value),
        Some([GeneralName::IPAddress(octets)]) => match identifier.value.parse() {
            Ok(IpAddr::V4(ip)) => ip.octets() == *octets,
            Ok(IpAddr::V6(ip)) => ip.octets() == *octets,
            Err(_) => false,
        },
        _ => false,
    };
    if !is_it {
        return Err("the certificate is not for this name alone");
    }
    let found = leaf.extensions().iter().find(|extension| extension.oid.to_id_string() == ACME_IDENTIFIER);
    let extension = found.ok_or("the certificate has no acmeIdentifier extension")?;
    if !extension.critical {
        return Err("the acmeIdentifier extension is not critical");
    }
    // An OCTET STRING of 32 bytes.
    let value =
        extension.value.strip_prefix(&[0x04, 0x20]).ok_or("the acmeIdentifier extension is malformed")?;
    verify_slices_are_equal(value, digest(&SHA256, answer.as_bytes()).as_ref())
        .map_err(|_| "the acmeIdentifier extension has another value")
}
