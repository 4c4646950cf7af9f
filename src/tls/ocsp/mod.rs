//! What authorities say of their certificates, shown to clients in handshakes (OCSP stapling, RFC 6960 and RFC 6066
//! section 8), as Caddy does it: answers are kept in the storage under Caddy's names, and asked for again half-way to
//! their end. Nothing is served or not served for want of one.

mod der;
mod question;
mod response;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::Semaphore;

use super::authority::certificate_pem;
use super::client::{Trust, own_client_config};
use super::storage::{SharedStorage, Storage, blocking, safe};
use super::{Certificate, TlsError};
use crate::fetch::{Client, FetchError};
pub(super) use question::names_responder;
use question::{Places, Question, parsed};
pub(super) use response::{Status, Unusable};

/// Others have the certificate's key (RFC 5280 section 5.3.1).
pub(super) const KEY_COMPROMISE: u8 = 1;
/// How often staples are looked at, unless said otherwise, as in Caddy.
pub(super) const INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Where they are kept, as in Caddy.
pub(super) const FOLDER: &str = "ocsp";
/// An answer may have this many bytes. It has to go into each handshake, and clients bound those.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// A responder must answer within this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// What has just been got is held back for its staple so long at most.
const FIRST_TIMEOUT: Duration = Duration::from_secs(5);
/// So many responders are asked at once.
const ASKED_MAX: usize = 16;
/// A responder that has not answered so often is left alone until the next round.
const FAILURES_MAX: u32 = 3;
/// Certificates that live for less than this are not worth a word about a staple that they lack.
const SHORT_LIFE: i64 = 7 * 24 * 60 * 60;

/// What a responder says of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: Status,
    /// Seconds since 1970, as all times.
    this_update: i64,
    /// When there will be a newer answer.
    next_update: Option<i64>,
    /// The same, or when whoever has signed it ends, if that is sooner.
    ends: Option<i64>,
}

impl Answer {
    /// Whether there is no need yet to ask again.
    pub(super) fn is_fresh(&self, now: i64) -> bool {
        let half_way = |ends: i64| self.this_update + (ends - self.this_update) / 2;
        self.next_update.is_some() && self.ends.is_some_and(|ends| now < half_way(ends))
    }

    /// When it says nothing any more, in seconds since 1970.
    pub(super) fn ends(&self) -> Option<i64> {
        self.ends
    }

    /// Whether it says nothing of now any more.
    pub(super) fn has_ended(&self, now: i64) -> bool {
        self.ends.is_some_and(|ends| ends < now)
    }
}

/// Why a certificate has no staple.
#[derive(Debug, thiserror::Error)]
pub(super) enum OcspError {
    #[error("the certificate's responder {0} is not to be asked")]
    Overridden(String),
    #[error("the chain has no issuer, and the certificate does not say where to get it")]
    NoIssuer,
    #[error("what is taken for the issuer has not issued the certificate")]
    NotItsIssuer,
    #[error("unreadable certificate: {0}")]
    Certificate(String),
    #[error("asking {url}: {error}")]
    Fetch { url: String, error: FetchError },
    #[error("asking {url}: status {status}")]
    Declined { url: String, status: StatusCode },
    #[error("{0} has not answered before")]
    Silent(String),
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error("the answer is about another certificate")]
    AboutAnother,
    #[error("the answer's signature is not the issuer's")]
    Signature,
    #[error("the answer is signed by somebody who may not do so")]
    Delegate,
    #[error("the answer has expired, or is of the future")]
    NotOfNow,
    #[error("the answer is valid for longer than the certificate")]
    BeyondCertificate,
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// How some certificates get their staples.
#[derive(Debug)]
pub(super) struct Stapling {
    storage: SharedStorage,
    disabled: bool,
    /// Whom to ask in place of a responder; an empty text for nobody.
    overrides: BTreeMap<String, String>,
}

/// Which responders have not answered in one round, and how often.
#[derive(Debug, Default)]
struct Silence(Mutex<HashMap<String, u32>>);

/// The time in seconds since 1970.
pub(super) fn now() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}

/// Looks after the staples of all these certificates.
pub(super) async fn look_after(all: Vec<(Arc<Certificate>, Arc<Stapling>)>) {
    let silence = Silence::default();
    let silence = &silence;
    let each = |(certificate, stapling): (Arc<Certificate>, Arc<Stapling>)| async move {
        stapling.renew(&certificate, silence).await;
    };
    futures_util::stream::iter(all).for_each_concurrent(ASKED_MAX, each).await;
}

impl Stapling {
    pub(super) fn new(storage: SharedStorage, disabled: bool, overrides: BTreeMap<String, String>) -> Self {
        Self { storage, disabled, overrides }
    }

    /// Whether a certificate can have a staple at all.
    fn is_for(&self, certificate: &Certificate) -> bool {
        !self.disabled && certificate.names_responder()
    }

    /// Staples what is stored of a certificate whose chain has its issuer. It reads the storage.
    pub(super) fn staple_stored(&self, certificate: &Certificate) {
        if let [leaf, issuer, ..] = certificate.chain()
            && self.is_for(certificate)
            && let Ok(question) = Question::new(leaf, issuer)
            && let Some((answer, staple)) = stored(&*self.storage, &key(certificate), &question)
        {
            certificate.note(answer, staple);
        }
    }

    /// Staples a certificate that has just come to hand, if that takes no long time.
    pub(super) async fn staple_first(&self, certificate: &Certificate) {
        let silence = Silence::default();
        let renewing = self.renew(certificate, &silence);
        if tokio::time::timeout(FIRST_TIMEOUT, renewing).await.is_err() {
            tracing::warn!(target: "tls.ocsp", name = certificate.first_name(), "no staple in time; tried again later");
        }
    }

    /// Staples a certificate in the background. With too many at once it is left to the next round.
    pub(super) fn staple_soon(self: &Arc<Self>, certificate: &Arc<Certificate>) {
        static TURNS: Semaphore = Semaphore::const_new(ASKED_MAX);
        let Ok(turn) = TURNS.try_acquire() else { return };
        let (stapling, certificate) = (self.clone(), certificate.clone());
        tokio::spawn(async move {
            stapling.staple_first(&certificate).await;
            drop(turn);
        });
    }

    /// Sees to it that a certificate has a staple that is fresh.
    async fn renew(&self, certificate: &Certificate, silence: &Silence) {
        let now = now();
        let old = certificate.answer();
        if !self.is_for(certificate)
            || certificate.is_revoked()
            || certificate.has_expired(now)
            || old.as_ref().is_some_and(|old| old.is_fresh(now))
        {
            return;
        }
        let name = certificate.first_name();
        match self.ask(certificate, silence).await {
            Ok((answer, staple)) => {
                let status = answer.status;
                let (from, to) = (old.and_then(|old| old.next_update), answer.next_update);
                match status {
                    Status::Revoked { reason } => {
                        tracing::warn!(target: "tls.ocsp", name, reason, "the certificate is REVOKED");
                    }
                    Status::Unknown => tracing::warn!(target: "tls.ocsp", name, "unknown to its responder"),
                    Status::Good => {
                        tracing::info!(target: "tls.ocsp", name, ?status, from, to, "advancing OCSP staple");
                    }
                }
                certificate.note(answer, staple);
            }
            Err(error) => {
                if certificate.lives_for() < SHORT_LIFE || matches!(error, OcspError::Overridden(_)) {
                    tracing::debug!(target: "tls.ocsp", name, %error, "no OCSP stapling");
                } else {
                    tracing::warn!(target: "tls.ocsp", name, %error, "no OCSP stapling");
                }
            }
        }
    }

    /// What the storage or a responder says of a certificate.
    async fn ask(
        &self,
        certificate: &Certificate,
        silence: &Silence,
    ) -> Result<(Answer, Vec<u8>), OcspError> {
        let leaf = certificate.chain().first().ok_or(OcspError::NoIssuer)?;
        let places = Places::of(&parsed(leaf)?);
        let named = places.responder.unwrap_or_default();
        let url = match self.overrides.get(&named) {
            Some(other) if other.is_empty() => return Err(OcspError::Overridden(named)),
            Some(other) => other,
            None => &named,
        };
        let fetched;
        let issuer = match certificate.chain() {
            [_, issuer, ..] => issuer,
            _ => {
                let place = places.issuer.ok_or(OcspError::NoIssuer)?;
                fetched = CertificateDer::from(fetch(Method::GET, &place, Bytes::new(), silence).await?);
                &fetched
            }
        };
        let question = Question::new(leaf, issuer)?;
        let (storage, key) = (self.storage.clone(), key(certificate));
        let at_hand = {
            let (storage, key) = (storage.clone(), key.clone());
            blocking(move || storage.load_if_there(&key)).await
        };
        // Another instance may have asked.
        if let Ok(Some(bytes)) = at_hand
            && let Ok(answer) = question.believe(&bytes, now())
            && answer.status == Status::Good
            && answer.is_fresh(now())
        {
            return Ok((answer, bytes));
        }
        let bytes = fetch(Method::POST, url, question.request().into(), silence).await?;
        let answer = question.believe(&bytes, now())?;
        if answer.status != Status::Unknown {
            let kept = (answer.status == Status::Good).then(|| bytes.clone());
            let storing = blocking(move || match kept {
                Some(kept) => storage.store(&key, &kept),
                // What was good is so no more, also after a restart.
                None => storage.delete(&key),
            });
            if let Err(error) = storing.await {
                tracing::warn!(target: "tls.ocsp", name = certificate.first_name(), %error, "unable to store the OCSP staple");
            }
        }
        Ok((answer, bytes))
    }
}

impl Silence {
    fn is_of(&self, url: &str) -> bool {
        let silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent.get(url).is_some_and(|failures| *failures >= FAILURES_MAX)
    }

    fn note(&self, url: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(url.to_owned()).or_default() += 1;
    }
}

/// Where Caddy keeps what it knows of a certificate.
fn key(certificate: &Certificate) -> String {
    let bundle = certificate.bundle.unwrap_or_else(|| {
        fast_hash(certificate_pem(&certificate.chain().iter().collect::<Vec<_>>()).as_bytes())
    });
    format!("{FOLDER}/{}-{bundle:x}", safe(certificate.first_name()))
}

/// The hash by which Caddy names staples (FNV-1a). Nothing hangs on its strength.
pub(super) fn fast_hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// What is stored, if it is still to be believed. What can't be read goes, so that nobody stumbles over it again.
fn stored(storage: &dyn Storage, key: &str, question: &Question<'_>) -> Option<(Answer, Vec<u8>)> {
    let bytes = match storage.load_if_there(key) {
        Ok(bytes) => bytes?,
        Err(error) => {
            tracing::warn!(target: "tls.ocsp", key, %error, "the stored OCSP staple can't be read");
            return None;
        }
    };
    match question.believe(&bytes, now()) {
        Ok(answer) if answer.status == Status::Good => Some((answer, bytes)),
        Ok(_) => None,
        Err(error) => {
            if matches!(error, OcspError::Unusable(_))
                && let Err(error) = storage.delete(key)
            {
                tracing::warn!(target: "tls.ocsp", key, %error, "unable to delete an invalid OCSP staple");
            }
            None
        }
    }
}

/// When a stored answer ends, in seconds since 1970, if it says so.
///
/// # Errors
/// It is none.
pub(super) fn end_of_stored(bytes: &[u8]) -> Result<Option<i64>, Unusable> {
    let response = response::Response::read(bytes)?;
    Ok(response.singles.iter().filter_map(|single| single.next_update).max())
}

/// What is at an address.
async fn fetch(method: Method, url: &str, body: Bytes, silence: &Silence) -> Result<Vec<u8>, OcspError> {
    if silence.is_of(url) {
        return Err(OcspError::Silent(url.to_owned()));
    }
    let failed = |error| OcspError::Fetch { url: url.to_owned(), error };
    let uri: Uri = url.parse().map_err(|error| failed(FetchError::Address(url.to_owned(), error)))?;
    let address = url.to_owned();
    // What the system trusts is in files.
    let client = blocking(move || Client::to(&address, || own_client_config(Trust::System))).await?;
    let client = client.with_timeout(ANSWER_TIMEOUT).with_answer_max(ANSWER_BYTES_MAX);
    let mut request = Request::new(body);
    if method == Method::POST {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/ocsp-request"));
    }
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let answer = client.send(request).await.map_err(|error| {
        if matches!(error, FetchError::Timeout(_) | FetchError::Exchange(_)) {
            silence.note(url);
        }
        failed(error)
    })?;
    match answer.status() {
        StatusCode::OK => Ok(answer.into_body().to_vec()),
        status => Err(OcspError::Declined { url: url.to_owned(), status }),
    }
}
