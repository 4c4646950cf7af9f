//! An authority as an issuer of certificates.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use instant_acme::{CertificateIdentifier, Error};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::account::{Accounts, Known, folder};
use super::chains::ChainPreference;
use super::client::Carrier;
use super::dns01::Dns01;
use super::order::{Attempt, OrderError};
use super::pace;
use super::show::{Way, Where};
use crate::config::Secret;
use crate::config::subject::{is_internal, is_ip, qualifies_for_public_certificate};
use crate::fetch::Client;
use crate::tls::issuance::{IssueError, Issued, Issuer, Issuing, KeyPem, Order, Retry};
use crate::tls::{Certificate, RenewalInfo, SharedStorage, TlsError};

/// Let's Encrypt.
const DEFAULT_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Where Let's Encrypt lets everybody try.
const DEFAULT_TEST_DIRECTORY: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
/// How long an authority may take to look, or to sign, unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// So often an order is begun anew at once if the authority has no patience with our messages' numbers.
const NONCE_ATTEMPTS: usize = 8;
/// So much of what an authority says is told.
pub(super) const PROBLEM_CHARS_MAX: usize = 500;
/// Authorities that certify addresses, and those that don't.
const PUBLIC: &[(&str, bool)] = &[
    ("api.letsencrypt.org", true),
    ("acme.zerossl.com", false),
    ("api.pki.goog", true),
    ("api.buypass.com", false),
    ("acme.ssl.com", false),
];

/// What is said of an authority.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The address of its directory; empty means Let's Encrypt.
    pub directory: String,
    /// The address of the directory where to try again after a failure; empty means none.
    pub test_directory: String,
    /// Whom it can write to; empty means the account used last, or nobody.
    pub email: String,
    /// Which of its profiles to ask for; empty means its default.
    pub profile: String,
    /// The key of an account that it knows already.
    pub account_key: Option<KeyPem>,
    /// The account that it knows us by already.
    pub external_account: Option<ExternalAccount>,
    /// How long certificates shall be valid; zero leaves that to it.
    pub lifetime: Duration,
    /// How long it may take to look, or to sign; zero means five minutes.
    pub timeout: Duration,
    /// The port at which its requests for port 80 reach us; `None` if it shall not be shown anything there.
    pub http_port: Option<u16>,
    /// The port at which its handshakes for port 443 reach us; `None` if it shall not be shown anything there.
    pub tls_alpn_port: Option<u16>,
    /// How texts are put into zones; if it is there, it is the only way.
    pub dns: Option<Arc<Dns01>>,
    /// The address to listen at where nobody listens; empty means all.
    pub bind_host: String,
    /// Whether others that share the storage may answer in our place.
    pub distributed: bool,
    /// Which chain to take if there is a choice.
    pub chains: ChainPreference,
}

/// An account that an authority knows us by already (RFC 8555 section 7.3.4).
#[derive(Clone, Debug)]
pub struct ExternalAccount {
    /// Its id.
    pub key_id: String,
    /// Its key, base64url.
    pub mac_key: Secret,
}

/// Gets certificates from an authority.
#[derive(Debug)]
pub struct AcmeIssuer {
    settings: Settings,
    key: String,
    folder: String,
    storage: SharedStorage,
    client: Client,
    /// Whether the first way failed last, and the second did not.
    second_is_better: AtomicBool,
}

impl AcmeIssuer {
    /// An issuer by these settings, which speaks with its authority through `client`.
    ///
    /// # Errors
    /// [`TlsError::Invalid`] for an address that makes no sense, or would be asked without TLS.
    pub fn new(mut settings: Settings, storage: SharedStorage, client: Client) -> Result<Self, TlsError> {
        if settings.directory.is_empty() {
            settings.directory = DEFAULT_DIRECTORY.to_owned();
        }
        if settings.test_directory.is_empty() && settings.directory == DEFAULT_DIRECTORY {
            settings.test_directory = DEFAULT_TEST_DIRECTORY.to_owned();
        }
        settings.directory = checked(&settings.directory)?;
        if !settings.test_directory.is_empty() {
            settings.test_directory = checked(&settings.test_directory)?;
        }
        if settings.timeout.is_zero() {
            settings.timeout = TIMEOUT;
        }
        if settings.dns.is_none() && settings.http_port.is_none() && settings.tls_alpn_port.is_none() {
            return Err(TlsError::Invalid("all challenges are disabled".into()));
        }
        let key = authority_name(&settings.directory);
        Ok(Self {
            folder: folder(&key),
            key,
            storage,
            client,
            second_is_better: AtomicBool::new(false),
            settings,
        })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where it shows what the authority looks for in this way.
    pub(super) fn shows_at(&self, way: Way) -> Where<'_> {
        let settings = &self.settings;
        Where {
            shared: settings.distributed.then_some((&self.storage, self.folder.as_str())),
            bind_host: &settings.bind_host,
            port: match way {
                Way::Http => settings.http_port,
                Way::TlsAlpn => settings.tls_alpn_port,
                // That is for name servers.
                Way::Dns => None,
            },
        }
    }

    /// Whether the authority would certify a name at all.
    fn precheck(&self, subject: &str) -> Result<(), IssueError> {
        let Some((_, ips)) = PUBLIC.iter().find(|(name, _)| self.settings.directory.contains(name)) else {
            return Ok(());
        };
        if !qualifies_for_public_certificate(subject) {
            return Err(IssueError::new(format!(
                "subject '{subject}' does not qualify for a public certificate"
            )));
        }
        if is_ip(subject) && !ips {
            return Err(IssueError::new(format!(
                "subject '{subject}' cannot have public IP certificate from {}",
                self.settings.directory
            )));
        }
        Ok(())
    }

    async fn issue_now(&self, order: &Order) -> Result<Issued, IssueError> {
        self.precheck(&order.subject)?;
        let (main, test) = (&self.settings.directory, &self.settings.test_directory);
        // After a failure it is found out elsewhere whether the trouble is over: authorities count failures.
        if order.attempt > 0 && !test.is_empty() && test != main {
            let accounts = Accounts::new(self.storage.clone(), &authority_name(test));
            self.order_from(test, &accounts, order).await?;
        }
        let accounts = Accounts::new(self.storage.clone(), &self.key);
        let email = accounts.email(&self.settings).await?;
        pace::wait_for_turn(main, &email).await;
        self.order_from(main, &accounts, order).await
    }

    async fn order_from(
        &self,
        directory: &str,
        accounts: &Accounts,
        order: &Order,
    ) -> Result<Issued, IssueError> {
        let mut forgotten = false;
        let mut attempts = 0;
        loop {
            // What is seen beside the messages is one order's.
            let carrier = Carrier::new(self.client.clone());
            let (error, location) = match accounts.get(directory, &self.settings, &carrier).await {
                Err(error) => (error, None),
                Ok(known) => {
                    let attempt =
                        Attempt { issuer: self, known: &known, carrier: &carrier, directory, wanted: order };
                    match self.try_ways(&attempt).await {
                        Ok(issued) => return Ok(issued),
                        Err(error) => (error, Some(known.location)),
                    }
                }
            };
            attempts += 1;
            match (error, location) {
                (OrderError::NoAccount(_), Some(location))
                    if !forgotten && self.settings.account_key.is_none() =>
                {
                    tracing::warn!(
                        target: "tls.issuance.acme", directory, account = location,
                        "ACME account does not exist on server; attempting to recreate"
                    );
                    accounts.forget(&self.settings, &location).await?;
                    forgotten = true;
                }
                (OrderError::Nonce(_), _) if attempts < NONCE_ATTEMPTS => {}
                (error, _) => return Err(error.into_inner()),
            }
        }
    }

    /// Tries one way to show that the name is ours, and then the other.
    async fn try_ways(&self, attempt: &Attempt<'_>) -> Result<Issued, OrderError> {
        let subject = &attempt.wanted.subject;
        if self.settings.dns.is_some() {
            return attempt.run(Way::Dns).await;
        }
        if subject.starts_with('*') {
            let problem =
                "certificates for wildcards need the DNS challenge: name a provider with 'dns <provider>'";
            return Err(IssueError::new(problem).into());
        }
        let mut ways = Vec::with_capacity(2);
        ways.extend(self.settings.http_port.map(|_| Way::Http));
        ways.extend(self.settings.tls_alpn_port.map(|_| Way::TlsAlpn));
        let last = ways.len() - 1;
        let is_reversed = self.second_is_better.load(Ordering::Relaxed);
        for index in 0..=last {
            let way = if is_reversed { ways[last - index] } else { ways[index] };
            match attempt.run(way).await {
                Err(OrderError::NotShown(error)) if index < last => {
                    let challenge = way.name();
                    tracing::warn!(target: "tls.issuance.acme", subject, challenge, %error, "trying another challenge");
                }
                Ok(issued) => {
                    if last > 0 {
                        self.second_is_better.store(way != ways[0], Ordering::Relaxed);
                    }
                    return Ok(issued);
                }
                Err(error) => return Err(error),
            }
        }
        Err(IssueError::new("no challenge is enabled").into())
    }

    /// What the authority says of a new certificate's renewal, if it says something.
    pub(super) async fn first_renewal_info(&self, known: &Known, chain: &str) -> Option<RenewalInfo> {
        let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).ok()?;
        match ask(known, &leaf).await {
            Ok(info) => Some(info),
            Err(Error::Unsupported(_)) => None,
            // It is asked again later.
            Err(_) => Some(RenewalInfo::default()),
        }
    }
}

impl Issuer for AcmeIssuer {
    fn key(&self) -> &str {
        &self.key
    }

    fn issue<'a>(&'a self, order: &'a Order) -> Issuing<'a, Issued> {
        Box::pin(self.issue_now(order))
    }

    fn renewal_info<'a>(&'a self, certificate: &'a Certificate) -> Option<Issuing<'a, RenewalInfo>> {
        let leaf = certificate.chain().first()?;
        Some(Box::pin(async move {
            let carrier = Carrier::new(self.client.clone());
            let accounts = Accounts::new(self.storage.clone(), &self.key);
            let known = accounts.get(&self.settings.directory, &self.settings, &carrier).await;
            let known = known.map_err(OrderError::into_inner)?;
            ask(&known, leaf).await.map_err(|error| explain("asking when to renew", error, &carrier))
        }))
    }

    fn challenge_folder(&self) -> Option<String> {
        self.settings.distributed.then(|| self.folder.clone())
    }
}

async fn ask(known: &Known, leaf: &CertificateDer<'_>) -> Result<RenewalInfo, Error> {
    let id = CertificateIdentifier::try_from(leaf).map_err(|problem| Error::Other(problem.into()))?;
    let (info, again) = known.account.renewal_info(&id).await?;
    let (start, end) = (info.suggested_window.start, info.suggested_window.end);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let again = i64::try_from((now + again).as_secs()).unwrap_or(i64::MAX);
    let explanation = info.explanation_url.unwrap_or_default();
    Ok(RenewalInfo::new(id.to_string(), start.unix_timestamp(), end.unix_timestamp(), explanation, again))
}

/// An error with what we were doing; if the authority wants us to wait, that is heeded.
pub(super) fn explain(doing: &str, error: Error, carrier: &Carrier) -> IssueError {
    let is_busy = |status: u16| {
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].iter().any(|busy| *busy == status)
    };
    let retry = match &error {
        Error::Api(problem) if problem.status.is_some_and(is_busy) => {
            carrier.seen().retry_after.map_or(Retry::Later, Retry::After)
        }
        _ => Retry::Later,
    };
    // Whoever it is that speaks, it is not to fill the log.
    let problem: String = error.to_string().chars().take(PROBLEM_CHARS_MAX).collect();
    let problem = problem.escape_debug();
    IssueError { problem: format!("{doing}: {problem}"), retry }
}

/// A directory's address, which must be asked with TLS unless it is our own machine's or network's.
fn checked(directory: &str) -> Result<String, TlsError> {
    let full = if directory.contains("://") { directory.to_owned() } else { format!("https://{directory}") };
    let uri: http::Uri = full.parse().map_err(|error| TlsError::Invalid(format!("{full}: {error}")))?;
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(full),
        Some("http") if is_internal(host) => Ok(full),
        _ => Err(TlsError::Invalid(format!("{full}: insecure CA URL (HTTPS required for non-internal CA)"))),
    }
}

/// What an authority is called in the storage, as in Caddy: its host, and its path as one part.
fn authority_name(directory: &str) -> String {
    let Ok(uri) = directory.parse::<http::Uri>() else { return directory.to_owned() };
    let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let path = uri.path().replace(['/', '\\'], "-");
    match path.trim_matches('-') {
        "" => host.to_owned(),
        path => format!("{host}-{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_called_as_in_caddy() {
        assert_eq!(authority_name(DEFAULT_DIRECTORY), "acme-v02.api.letsencrypt.org-directory");
        assert_eq!(authority_name("https://acme.zerossl.com/v2/DV90"), "acme.zerossl.com-v2-DV90");
        assert_eq!(authority_name("https://localhost:14000/dir"), "localhost:14000-dir");
        assert_eq!(authority_name("https://ca.test"), "ca.test");
    }

    #[test]
    fn nobody_is_asked_without_tls() {
        assert_eq!(checked("ca.test/dir").unwrap(), "https://ca.test/dir");
        assert!(checked("http://localhost:14000/dir").is_ok() && checked("http://10.0.0.1/dir").is_ok());
        let error = checked("http://ca.test/dir").unwrap_err().to_string();
        assert!(error.contains("insecure CA URL"), "{error}");
        assert!(checked("ftp://ca.test").is_err() && checked("https://").is_err());
    }
}
