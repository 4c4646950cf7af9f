//! What we show authorities so that they believe that a name is ours (RFC 8555 section 8).
//!
//! It is the process's and not a configuration's: an authority may look at any of our ports, and a
//! reload must not take away what it is about to look at.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, SanType};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::provider::provider;
use super::storage::{SharedStorage, safe};
use super::{Certificate, TlsError};

/// The protocol by which an authority says that it wants to see the certificate of a challenge
/// (RFC 8737 section 6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";
/// The path under which authorities look for the answer of a challenge (RFC 8555 section 8.3).
pub const HTTP_PATH: &str = "/.well-known/acme-challenge/";
/// The path under which ZeroSSL looks for a file.
const FILE_PATH: &str = "/.well-known/pki-validation/";
/// The kind of a [`Challenge`] that is such a file: its address is the `url`, and the `token` all of it. Caddy writes
/// none.
pub const FILE: &str = "";
/// The kind of a [`Challenge`] of ACME whose answer is got by HTTP.
const HTTP: &str = "http-01";
/// The kind of one whose answer is a handshake.
pub(super) const TLS_ALPN: &str = "tls-alpn-01";

/// A challenge that is open, in the form in which Caddy leaves it in the storage for other instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Challenge {
    /// `http-01`, `tls-alpn-01` or [`FILE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The authority's address of it.
    pub url: String,
    /// How far it has come.
    pub status: String,
    /// What the authority calls it.
    pub token: String,
    /// The answer.
    pub key_authorization: String,
    /// What is to be shown to be ours.
    pub identifier: Identifier,
}

/// What is to be shown to be ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identifier {
    /// `dns` or `ip`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name or the address.
    pub value: String,
}

#[derive(Debug)]
struct Open {
    challenge: Challenge,
    /// How a handshake is answered; for `tls-alpn-01` alone.
    config: Option<Arc<ServerConfig>>,
}

static OPEN: Mutex<Option<HashMap<String, Vec<Arc<Open>>>>> = Mutex::new(None);
/// How many there are, so that requests need no lock as long as there are none.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Shows the answer of a challenge until it is dropped.
#[derive(Debug)]
pub struct Shown(Arc<Open>);

/// Shows the answer of a challenge to whoever asks.
///
/// # Errors
/// [`TlsError`] if no certificate can be made of it.
pub fn show(challenge: Challenge) -> Result<Shown, TlsError> {
    let config = match challenge.kind.as_str() {
        TLS_ALPN => Some(server_config(&challenge)?),
        _ => None,
    };
    let open = Arc::new(Open { challenge, config });
    let name = open.challenge.identifier.value.to_ascii_lowercase();
    lock().get_or_insert_default().entry(name).or_default().push(open.clone());
    COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(Shown(open))
}

impl Drop for Shown {
    fn drop(&mut self) {
        let name = self.0.challenge.identifier.value.to_ascii_lowercase();
        if let Some(all) = &mut *lock()
            && let Some(open) = all.get_mut(&name)
        {
            open.retain(|other| !Arc::ptr_eq(other, &self.0));
            if open.is_empty() {
                all.remove(&name);
            }
        }
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether authorities ask for answers at such a path.
pub fn is_http_path(path: &str) -> bool {
    path.starts_with(HTTP_PATH) || path.starts_with(FILE_PATH)
}

/// The answer to a request of `GET` with this path for this host (without port), if a challenge of
/// ours is open for it.
pub fn http_answer(host: &str, path: &str) -> Option<String> {
    open_for(host).iter().find_map(|open| open.challenge.http_answer(path).map(str::to_owned))
}

impl Challenge {
    /// The answer to a request of `GET` with this path, if it is this challenge's.
    pub(super) fn http_answer(&self, path: &str) -> Option<&str> {
        match self.kind.as_str() {
            HTTP => (path.strip_prefix(HTTP_PATH)? == self.token).then_some(&self.key_authorization),
            FILE => {
                let (_, rest) = self.url.split_once("://")?;
                let is_it = path.starts_with(FILE_PATH) && rest.find('/').map(|at| &rest[at..]) == Some(path);
                is_it.then_some(&self.token)
            }
            _ => None,
        }
    }
}

/// Whether an authority asks for the certificate of a challenge (RFC 8737 section 3).
pub fn is_asked_for(hello: &ClientHello<'_>) -> bool {
    let Some(mut protocols) = hello.alpn() else { return false };
    protocols.next() == Some(ACME_TLS) && protocols.next().is_none()
}

/// How to answer a handshake in which an authority asks by this name for the certificate of a challenge.
pub fn tls_answer(name: &str) -> Option<Arc<ServerConfig>> {
    open_for(&identified(name)).iter().find_map(|open| open.config.clone())
}

/// What a handshake's name is about: of the name of an address in DNS, the address (RFC 8738 section 6).
pub(super) fn identified(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let address = name.strip_suffix(".in-addr.arpa").map(|reverse| {
        let octets: Vec<&str> = reverse.split('.').rev().collect();
        octets.join(".").parse::<IpAddr>().ok()
    });
    let address = address.or_else(|| {
        name.strip_suffix(".ip6.arpa").map(|reverse| {
            let nibbles: String = reverse.split('.').rev().collect();
            // Each of them is one digit.
            let is_whole = reverse.len() == 63 && nibbles.len() == 32;
            let bits = u128::from_str_radix(&nibbles, 16).ok().filter(|_| is_whole);
            bits.map(|bits| IpAddr::from(bits.to_be_bytes()))
        })
    });
    address.flatten().map_or(name, |ip| ip.to_string())
}

/// The name under which an address is asked for in a handshake, which [`tls_answer`] understands.
pub fn reverse_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

fn open_for(name: &str) -> Vec<Arc<Open>> {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return Vec::new();
    }
    let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
    lock().as_ref().and_then(|all| all.get(&name)).cloned().unwrap_or_default()
}

fn lock() -> MutexGuard<'static, Option<HashMap<String, Vec<Arc<Open>>>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many looks into storages go on at once, in all of the process.
const LOOKS_MAX: usize = 8;
static LOOKS: Semaphore = Semaphore::const_new(LOOKS_MAX);
/// Nobody waits longer for one.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);

/// Where instances that share a storage find each other's challenges.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedChallenges {
    /// Storages, and folders in them, each once.
    places: Vec<(SharedStorage, String)>,
}

/// The key of a challenge in the folder of its authority.
pub fn storage_key(folder: &str, identifier: &str) -> String {
    format!("{folder}/challenge_tokens/{}.json", safe(identifier))
}

impl SharedChallenges {
    pub(super) fn add(&mut self, storage: &SharedStorage, folder: String) {
        let is_known =
            |(other, known): &(SharedStorage, String)| *known == folder && Arc::ptr_eq(other, storage);
        if !self.places.iter().any(is_known) {
            self.places.push((storage.clone(), folder));
        }
    }

    /// The challenge that another instance has opened for a name, and that `is_meant`. Strangers can make us look, so
    /// few looks at a time are taken, none of which lasts; who comes when all are taken is told nothing.
    pub(super) async fn find(
        self: Arc<Self>,
        name: &str,
        is_meant: impl Fn(&Challenge) -> bool + Send + 'static,
    ) -> Option<Challenge> {
        if self.places.is_empty() {
            return None;
        }
        let turn = LOOKS.try_acquire().ok()?;
        let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
        let looking = tokio::task::spawn_blocking(move || {
            let found = self.look(&name, is_meant);
            // Until the thread is free again.
            drop(turn);
            found
        });
        tokio::time::timeout(LOOK_TIME_MAX, looking).await.ok()?.ok()?
    }

    fn look(&self, name: &str, is_meant: impl Fn(&Challenge) -> bool) -> Option<Challenge> {
        self.places.iter().find_map(|(storage, folder)| {
            let text = storage.load_if_there(&storage_key(folder, name)).ok().flatten()?;
            let found: Option<Challenge> = serde_json::from_slice(&text).ok();
            found.filter(|found| found.identifier.value.eq_ignore_ascii_case(name) && is_meant(found))
        })
    }
}

/// How to show the certificate of a challenge (RFC 8737 section 3).
pub(super) fn server_config(challenge: &Challenge) -> Result<Arc<ServerConfig>, TlsError> {
    let name = &challenge.identifier.value;
    let digest = digest::digest(&digest::SHA256, challenge.key_authorization.as_bytes());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![match name.parse::<IpAddr>() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) => SanType::DnsName(name.as_str().try_into()?),
    }];
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let der = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    // rustls reads no certificate with this extension, which it need not know; the two belong together.
    let key = provider().key_provider.load_private_key(der)?;
    let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
    let mut config = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Fixed(Arc::new(certified))));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// One certificate, whoever asks.
#[derive(Debug)]
pub(super) struct Fixed(Arc<CertifiedKey>);

impl Fixed {
    pub(super) fn new(certificate: &Certificate) -> Self {
        Self(certificate.for_handshakes())
    }
}

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::FileStorage;
    use super::*;

    fn challenge(kind: &str, name: &str, token: &str) -> Challenge {
        Challenge {
            kind: kind.into(),
            token: token.into(),
            key_authorization: format!("{token}.thumb"),
            identifier: Identifier { kind: "dns".into(), value: name.into() },
            ..Challenge::default()
        }
    }

    #[test]
    fn shown_while_it_is_held() {
        let first = show(challenge("http-01", "A.shown.test", "t1")).unwrap();
        let second = show(challenge("http-01", "a.shown.test", "t2")).unwrap();
        let path = |token: &str| format!("{HTTP_PATH}{token}");
        assert_eq!(http_answer("a.Shown.test", &path("t1")).as_deref(), Some("t1.thumb"));
        assert_eq!(http_answer("a.shown.test", &path("t2")).as_deref(), Some("t2.thumb"));
        assert_eq!(http_answer("b.shown.test", &path("t1")), None);
        assert_eq!(http_answer("a.shown.test", &path("t3")), None);
        drop(first);
        assert_eq!(http_answer("a.shown.test", &path("t1")), None);
        assert!(http_answer("a.shown.test", &path("t2")).is_some());
        drop(second);
        assert_eq!(http_answer("a.shown.test", &path("t2")), None);
    }

    #[test]
    fn a_file_is_found_at_its_own_path_alone() {
        let file = Challenge {
            url: "http://a.file.test/.well-known/pki-validation/ABC.txt".into(),
            token: "line 1\nline 2".into(),
            identifier: Identifier { kind: String::new(), value: "a.file.test".into() },
            ..Challenge::default()
        };
        // As Caddy writes it.
        let json = r#"{"type":"","url":"http://a.file.test/.well-known/pki-validation/ABC.txt","status":"","token":"line 1\nline 2","identifier":{"type":"","value":"a.file.test"}}"#;
        assert_eq!(serde_json::from_str::<Challenge>(json).unwrap(), file);
        let path = format!("{FILE_PATH}ABC.txt");
        assert!(is_http_path(&path) && is_http_path(&format!("{HTTP_PATH}t")) && !is_http_path("/x"));
        let _shown = show(file.clone()).unwrap();
        assert_eq!(http_answer("A.file.test", &path).as_deref(), Some("line 1\nline 2"));
        assert_eq!(http_answer("b.file.test", &path), None);
        for other in [format!("{FILE_PATH}ABD.txt"), format!("{HTTP_PATH}ABC.txt"), format!("{path}/x")] {
            assert_eq!(http_answer("a.file.test", &other), None, "{other}");
        }
        // Whatever an authority says, it is no other page of the site.
        let elsewhere = Challenge { url: "http://a.file.test/index.html".into(), ..file };
        assert_eq!(elsewhere.http_answer("/index.html"), None);
    }

    #[test]
    fn a_handshake_for_the_challenge_alone() {
        let _http = show(challenge("http-01", "a.alpn.test", "t1")).unwrap();
        assert!(tls_answer("a.alpn.test").is_none());
        let _tls = show(challenge("tls-alpn-01", "a.alpn.test", "t1")).unwrap();
        assert_eq!(tls_answer("A.alpn.test").unwrap().alpn_protocols, [ACME_TLS]);
        assert!(tls_answer("b.alpn.test").is_none());
        for ip in ["192.0.2.7", "2001:db8::7"] {
            let _ip = show(challenge("tls-alpn-01", ip, "t1")).unwrap();
            assert!(tls_answer(&reverse_name(ip.parse().unwrap())).is_some(), "{ip}");
        }
        let odd = ["7.2.0.192.in-addr.arpa.x", "2.0.192.in-addr.arpa", "x.ip6.arpa", "a.test", "ip6.arpa"];
        for name in odd {
            assert_eq!(identified(name), name);
        }
    }

    #[test]
    fn challenges_of_other_instances() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::shared(folder.path());
        let theirs = challenge("http-01", "*.a.test", "t1");
        let text = serde_json::to_vec(&theirs).unwrap();
        storage.store("acme/ca-dir/challenge_tokens/wildcard_.a.test.json", &text).unwrap();
        let mut shared = SharedChallenges::default();
        shared.add(&storage, "acme/other".into());
        shared.add(&storage, "acme/ca-dir".into());
        shared.add(&storage, "acme/ca-dir".into());
        assert_eq!(shared.places.len(), 2);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shared = Arc::new(shared);
        let find = |kind: &'static str, name| {
            runtime.block_on(shared.clone().find(name, move |found| found.kind == kind))
        };
        assert_eq!(find("http-01", "*.a.test"), Some(theirs));
        assert_eq!(find("tls-alpn-01", "*.a.test"), None);
        assert_eq!(find("http-01", "b.test"), None);
    }
}
