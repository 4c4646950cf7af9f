//! The one cryptography provider, and the names by which a configuration picks from it.
//!
//! It is handed to every rustls configuration explicitly; the process-wide default is never set.

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::TlsError;

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// AWS-LC, with its default suites and groups.
pub fn provider() -> &'static Arc<CryptoProvider> {
    &PROVIDER
}

/// A name that a configuration may use; `None` where the name is known but AWS-LC or rustls doesn't
/// offer the algorithm.
type Known<T> = (&'static str, Option<T>);

/// Suites in the order in which a server with hardware AES prefers them. The names are the ones that
/// a configuration may use, which includes CBC suites that rustls leaves out on purpose.
static SUITES: &[Known<SupportedCipherSuite>] = &[
    ("TLS_AES_128_GCM_SHA256", Some(suite::TLS13_AES_128_GCM_SHA256)),
    ("TLS_AES_256_GCM_SHA384", Some(suite::TLS13_AES_256_GCM_SHA384)),
    ("TLS_CHACHA20_POLY1305_SHA256", Some(suite::TLS13_CHACHA20_POLY1305_SHA256)),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Some(suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Some(suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Some(suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Some(suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Some(suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", None),
];

/// Groups in the order in which a server prefers them.
static GROUPS: &[Known<&dyn SupportedKxGroup>] = &[
    ("x25519mlkem768", Some(kx_group::X25519MLKEM768)),
    ("x25519", Some(kx_group::X25519)),
    ("secp256r1", Some(kx_group::SECP256R1)),
    ("secp384r1", Some(kx_group::SECP384R1)),
    ("secp521r1", None),
];

/// Groups that are offered when a configuration names none.
const DEFAULT_GROUPS: usize = 3;

static VERSIONS: &[(&str, &SupportedProtocolVersion)] = &[("tls1.2", &TLS12), ("tls1.3", &TLS13)];

/// Whether a configuration may name this cipher suite.
pub fn is_cipher_suite(name: &str) -> bool {
    SUITES.iter().any(|(known, _)| *known == name)
}

/// Whether a configuration may name this key exchange group.
pub fn is_curve(name: &str) -> bool {
    GROUPS.iter().any(|(known, _)| *known == name)
}

/// Whether a configuration may name this protocol version.
pub fn is_protocol_version(name: &str) -> bool {
    VERSIONS.iter().any(|(known, _)| *known == name)
}

/// The versions from `min` to `max`, each empty for no bound.
///
/// # Errors
/// [`TlsError::Invalid`] for an unknown name, or when nothing lies between them.
pub(super) fn versions(min: &str, max: &str) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let position = |name: &str, default| match name {
        "" => Ok(default),
        _ => VERSIONS
            .iter()
            .position(|(known, _)| *known == name)
            .ok_or_else(|| TlsError::Invalid(format!("unsupported protocol version: {name}"))),
    };
    let (first, last) = (position(min, 0)?, position(max, VERSIONS.len() - 1)?);
    if first > last {
        return Err(TlsError::Invalid(format!(
            "protocol min ({min}) cannot be greater than protocol max ({max})"
        )));
    }
    Ok(VERSIONS[first..=last].iter().map(|(_, version)| *version).collect())
}

/// The provider narrowed to these suites and groups, in the order that a server with hardware AES
/// prefers, whatever the order written: none means the default ones. TLS 1.3 suites always stay, as a
/// configuration limits TLS 1.2 alone.
///
/// # Errors
/// [`TlsError::Invalid`] for an unknown name, or if none of the groups is on offer.
pub(super) fn narrowed(suites: &[String], groups: &[String]) -> Result<CryptoProvider, TlsError> {
    for name in suites {
        match SUITES.iter().find(|(known, _)| known == name) {
            None => return Err(TlsError::Invalid(format!("unsupported cipher suite: {name}"))),
            Some((_, None)) => {
                tracing::warn!(cipher_suite = name, "cipher suite is not on offer; leaving it out")
            }
            Some(_) => {}
        }
    }
    for name in groups {
        match GROUPS.iter().find(|(known, _)| known == name) {
            None => return Err(TlsError::Invalid(format!("unsupported curve: {name}"))),
            Some((_, None)) => tracing::warn!(curve = name, "curve is not on offer; leaving it out"),
            Some(_) => {}
        }
    }
    let wanted_suite = |name: &str, suite: &SupportedCipherSuite| {
        suites.is_empty() || suite.tls13().is_some() || suites.iter().any(|wanted| wanted == name)
    };
    let cipher_suites =
        SUITES.iter().filter_map(|(name, suite)| suite.filter(|suite| wanted_suite(name, suite))).collect();
    let kx_groups: Vec<_> = GROUPS
        .iter()
        .enumerate()
        .filter(|(index, (name, _))| match groups {
            [] => *index < DEFAULT_GROUPS,
            groups => groups.iter().any(|wanted| wanted == name),
        })
        .filter_map(|(_, (_, group))| *group)
        .collect();
    if kx_groups.is_empty() {
        return Err(TlsError::Invalid(format!("none of the curves is on offer: {}", groups.join(", "))));
    }
    Ok(CryptoProvider { cipher_suites, kx_groups, ..provider().as_ref().clone() })
}

/// `provider` with ChaCha20 before AES, for clients without hardware AES.
pub(super) fn chacha_first(provider: &CryptoProvider) -> CryptoProvider {
    let mut provider = provider.clone();
    provider.cipher_suites.sort_by_key(|suite| !is_chacha(suite.suite()));
    provider
}

/// Whether a client that lists these suites prefers ChaCha20: it stands before AES-GCM.
pub(super) fn prefers_chacha(suites: &[rustls::CipherSuite]) -> bool {
    suites
        .iter()
        .find_map(|suite| match suite {
            suite if is_chacha(*suite) => Some(true),
            suite if is_aes_gcm(*suite) => Some(false),
            _ => None,
        })
        .unwrap_or(false)
}

fn is_chacha(suite: rustls::CipherSuite) -> bool {
    use rustls::CipherSuite as S;
    matches!(
        suite,
        S::TLS13_CHACHA20_POLY1305_SHA256
            | S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

fn is_aes_gcm(suite: rustls::CipherSuite) -> bool {
    use rustls::CipherSuite as S;
    matches!(
        suite,
        S::TLS13_AES_128_GCM_SHA256
            | S::TLS13_AES_256_GCM_SHA384
            | S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            | S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            | S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
    )
}

#[cfg(test)]
mod tests {
    use rustls::CipherSuite;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn narrowing_keeps_tls13_and_the_preferred_order() {
        let provider = narrowed(
            &names(&["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]),
            &names(&["secp384r1", "x25519"]),
        )
        .unwrap();
        let suites: Vec<_> = provider.cipher_suites.iter().map(SupportedCipherSuite::suite).collect();
        assert_eq!(
            suites,
            [
                CipherSuite::TLS13_AES_128_GCM_SHA256,
                CipherSuite::TLS13_AES_256_GCM_SHA384,
                CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            ]
        );
        let groups: Vec<_> = provider.kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups, [rustls::NamedGroup::X25519, rustls::NamedGroup::secp384r1]);
    }

    #[test]
    fn nothing_said_means_nine_suites_and_three_groups() {
        let provider = narrowed(&[], &[]).unwrap();
        assert_eq!((provider.cipher_suites.len(), provider.kx_groups.len()), (9, 3));
        assert!(is_chacha(chacha_first(&provider).cipher_suites[0].suite()));
    }

    #[test]
    fn unknown_names_and_an_empty_choice_are_errors() {
        let message = |suites: &[&str], curves: &[&str]| {
            narrowed(&names(suites), &names(curves)).unwrap_err().to_string()
        };
        assert_eq!(message(&["RC4"], &[]), "unsupported cipher suite: RC4");
        assert_eq!(message(&[], &["p256"]), "unsupported curve: p256");
        assert_eq!(message(&[], &["secp521r1"]), "none of the curves is on offer: secp521r1");
        assert!(is_curve("secp521r1") && is_cipher_suite("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"));
    }

    #[test]
    fn versions_between_bounds() {
        let count = |min, max| versions(min, max).map(|versions| versions.len());
        assert_eq!(count("", "").unwrap(), 2);
        assert_eq!(count("tls1.3", "").unwrap(), 1);
        assert_eq!(count("", "tls1.2").unwrap(), 1);
        assert!(count("tls1.3", "tls1.2").is_err());
        assert!(count("tls1.1", "").is_err());
    }

    #[test]
    fn the_clients_first_aead_tells_its_preference() {
        use CipherSuite as S;
        assert!(!prefers_chacha(&[]));
        assert!(!prefers_chacha(&[S::TLS13_AES_256_GCM_SHA384, S::TLS13_CHACHA20_POLY1305_SHA256]));
        assert!(prefers_chacha(&[
            S::TLS_RSA_WITH_AES_128_CBC_SHA,
            S::TLS13_CHACHA20_POLY1305_SHA256,
            S::TLS13_AES_128_GCM_SHA256
        ]));
    }
}
