//! ZeroSSL by its own interface, which is not ACME: a certificate is ordered with its request, shown to be
//! ours by a file or by a name in its zone, waited for, and fetched.

mod api;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::api::{Api, Ordered, Proving};
use super::dns01::Dns01;
use super::order::signing_request;
use super::show::{OnShow, Way, Where, show};
use crate::config::Secret;
use crate::fetch::Client;
use crate::tls::challenges::{self, Challenge, Identifier};
use crate::tls::issuance::{IssueError, Issued, Issuer, Issuing, Order};
use crate::tls::{SharedStorage, TlsError};

/// Its name in the storage, as in Caddy, of what is shown too.
const KEY: &str = "zerossl";
/// An exchange takes no longer.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is asked whether a certificate is there.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// A certificate that is not there by then is given up.
const ISSUE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// The status of a certificate that is there.
const ISSUED: &str = "issued";
/// The status of one whose names are being looked at.
const PENDING: &str = "pending_validation";

/// What is said of ZeroSSL.
#[derive(Debug)]
pub struct ZeroSslSettings {
    /// The account's key.
    pub api_key: Secret,
    /// How long certificates shall be valid, in days; zero leaves that to ZeroSSL.
    pub validity_days: u32,
    /// The address to listen at where nobody listens; empty means all.
    pub listen_host: String,
    /// The port at which its requests for port 80 reach us.
    pub http_port: u16,
    /// How names are put into zones; if it is there, it is the only way.
    pub dns: Option<Arc<Dns01>>,
}

/// Gets certificates from ZeroSSL.
#[derive(Debug)]
pub struct ZeroSslIssuer {
    settings: ZeroSslSettings,
    storage: SharedStorage,
    api: Api,
    poll_interval: Duration,
}

impl ZeroSslIssuer {
    /// An issuer by these settings, which speaks with ZeroSSL through `client`.
    ///
    /// # Errors
    /// [`TlsError::Invalid`] without a key, or with one that can't be sent.
    pub fn new(settings: ZeroSslSettings, storage: SharedStorage, client: Client) -> Result<Self, TlsError> {
        if settings.api_key.is_empty() {
            return Err(TlsError::Invalid("the API key is empty".into()));
        }
        let api = Api::new(client.with_timeout(EXCHANGE_TIMEOUT), &settings.api_key);
        let api = api.ok_or_else(|| TlsError::Invalid("the API key can't be sent as it is".into()))?;
        Ok(Self { settings, storage, api, poll_interval: POLL_INTERVAL })
    }

    async fn issue_now(&self, order: &Order) -> Result<Issued, IssueError> {
        let subject = &order.subject;
        if subject.starts_with('*') && self.settings.dns.is_none() {
            let problem =
                "certificates for wildcards need validation by CNAME: name a provider with 'dns <provider>'";
            return Err(IssueError::new(problem));
        }
        // It wants the name as common name, and not a second time.
        let request = signing_request(order, true).and_then(|request| request.pem());
        let request = request.map_err(IssueError::new)?;
        let made = self.api.create(subject, &request, self.settings.validity_days).await?;
        let certificate = &made.id;
        tracing::info!(target: "tls.issuance.zerossl", subject, certificate, "created certificate");
        let issued = match self.have_issued(subject, &made).await {
            Ok(issued) => issued,
            Err(error) => {
                self.give_up(subject, certificate).await;
                return Err(error);
            }
        };
        let chain_pem = self.api.download(certificate).await?;
        Ok(Issued { chain_pem, data: issued.all })
    }

    /// Shows that the name is ours, and waits for the certificate.
    async fn have_issued(&self, subject: &str, made: &Ordered) -> Result<Ordered, IssueError> {
        let Some(dns) = &self.settings.dns else {
            let _shown = self.show_file(subject, made).await?;
            return self.wait_for(&made.id, Proving::File).await;
        };
        let (name, target) = made.proof(subject)?.alias()?;
        // To the root, since some providers would take it for a name of the zone.
        let target = format!("{}.", target.trim_end_matches('.'));
        let record = dns.present_alias(name, &target).await.map_err(IssueError::new)?;
        if let Err(error) = dns.wait(&record).await {
            // It may see it nevertheless.
            tracing::warn!(target: "tls.issuance.zerossl", subject, %error, "failed CNAME record propagation check");
        }
        let issued = self.wait_for(&made.id, Proving::Alias).await;
        if let Err(error) = dns.clean_up(record).await {
            tracing::warn!(target: "tls.issuance.zerossl", subject, %error, "a record stays");
        }
        issued
    }

    async fn show_file(&self, subject: &str, made: &Ordered) -> Result<OnShow, IssueError> {
        let (url, content) = made.proof(subject)?.file()?;
        let file = Challenge {
            kind: challenges::FILE.to_owned(),
            url: url.to_owned(),
            token: content,
            identifier: Identifier { kind: String::new(), value: subject.to_owned() },
            ..Challenge::default()
        };
        let at = Where {
            shared: Some((&self.storage, KEY)),
            bind_host: &self.settings.listen_host,
            port: Some(self.settings.http_port),
        };
        show(Way::Http, file, &at).await
    }

    /// Says that it may look, and waits until it has issued.
    async fn wait_for(&self, id: &str, way: Proving) -> Result<Ordered, IssueError> {
        let mut state = self.api.verify(id, way).await?;
        let deadline = Instant::now() + ISSUE_TIMEOUT;
        loop {
            match state.status() {
                ISSUED => return Ok(state),
                PENDING if Instant::now() < deadline => {}
                PENDING => return Err(IssueError::new(format!("not issued within {ISSUE_TIMEOUT:?}"))),
                status => {
                    let status = status.escape_debug();
                    return Err(IssueError::new(format!("unexpected certificate status: {status}")));
                }
            }
            tokio::time::sleep(self.poll_interval).await;
            state = self.api.look(id).await?;
        }
    }

    async fn give_up(&self, subject: &str, certificate: &str) {
        match self.api.cancel(certificate).await {
            Ok(()) => {
                tracing::info!(target: "tls.issuance.zerossl", subject, certificate, "canceled certificate");
            }
            Err(error) => {
                tracing::error!(target: "tls.issuance.zerossl", subject, certificate, %error, "unable to cancel certificate");
            }
        }
    }
}

impl Issuer for ZeroSslIssuer {
    fn key(&self) -> &str {
        KEY
    }

    fn issue<'a>(&'a self, order: &'a Order) -> Issuing<'a, Issued> {
        Box::pin(self.issue_now(order))
    }

    fn challenge_folder(&self) -> Option<String> {
        Some(KEY.to_owned())
    }
}
