//! How the protocol's messages travel, and what stands beside them.

use std::convert::Infallible;
use std::pin::Pin;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{LINK, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt as _;
use httpdate::HttpDate;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use crate::fetch::{self, AGENT};

/// The field in which an authority gives what the next message must contain (RFC 8555 section 6.5).
const REPLAY_NONCE: &str = "replay-nonce";

/// An authority that wants us to wait longer is taken to mean this.
const WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Carries messages, and notes what the protocol's crate does not tell.
#[derive(Clone, Debug)]
pub(super) struct Carrier {
    client: fetch::Client,
    seen: Arc<Mutex<Seen>>,
}

/// What has been seen beside the messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The addresses of other chains of the certificate that came last (RFC 8555 section 7.4.2).
    pub(super) alternates: Vec<String>,
    /// How long the authority wants us to wait, if it said so at last.
    pub(super) retry_after: Option<Duration>,
    /// What the next message must contain.
    pub(super) nonce: Option<String>,
}

impl Carrier {
    pub(super) fn new(client: fetch::Client) -> Self {
        Self { client, seen: Arc::default() }
    }

    pub(super) fn client(&self) -> &fetch::Client {
        &self.client
    }

    pub(super) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, headers: &HeaderMap) {
        let mut seen = self.lock();
        seen.alternates = headers.get_all(LINK).iter().filter_map(alternate).collect();
        seen.retry_after = headers.get(RETRY_AFTER).and_then(wait);
        seen.nonce = headers.get(REPLAY_NONCE).and_then(|nonce| nonce.to_str().ok()).map(str::to_owned);
    }
}

impl HttpClient for Carrier {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let carrier = self.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            parts.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
            let body = body.collect().await.unwrap_or_else(|never: Infallible| match never {}).to_bytes();
            let sent = carrier.client.send(Request::from_parts(parts, body)).await;
            let mut answer = sent.map_err(|error| Error::Other(Box::new(error)))?;
            bound_wait(answer.headers_mut());
            carrier.note(answer.headers());
            Ok(BytesResponse::from(answer.map(http_body_util::Full::new)))
        })
    }
}

/// No authority makes us wait for ever: a time that no clock can tell would be worse than a long one.
fn bound_wait(headers: &mut HeaderMap) {
    let Some(said) = headers.get(RETRY_AFTER).and_then(wait) else { return };
    if said > WAIT_MAX {
        headers.insert(RETRY_AFTER, HeaderValue::from(WAIT_MAX.as_secs()));
    }
}

/// The address of another chain, if the field tells one.
fn alternate(field: &HeaderValue) -> Option<String> {
    let (address, parameters) = field.to_str().ok()?.strip_prefix('<')?.split_once('>')?;
    let is_alternate = |parameter: &str| matches!(parameter.trim(), "rel=\"alternate\"" | "rel=alternate");
    parameters.split(';').any(is_alternate).then(|| address.to_owned())
}

/// How long to wait, said in seconds or by a date.
fn wait(field: &HeaderValue) -> Option<Duration> {
    let text = field.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = SystemTime::from(HttpDate::from_str(text).ok()?);
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_other_chains() {
        let alternate = |text: &str| alternate(&HeaderValue::from_str(text).unwrap());
        let other = "https://ca.test/cert/1/1";
        assert_eq!(alternate(&format!("<{other}>;rel=\"alternate\"")).as_deref(), Some(other));
        assert_eq!(alternate("<https://ca.test/dir>;rel=\"index\""), None);
        assert_eq!(alternate("nonsense"), None);
    }

    #[test]
    fn waits_in_both_forms() {
        let wait = |text: &str| wait(&HeaderValue::from_str(text).unwrap());
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!((95..=100).contains(&wait(&soon).unwrap().as_secs()));
        assert_eq!(wait("soon"), None);
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from(u64::MAX));
        bound_wait(&mut headers);
        assert_eq!(headers[RETRY_AFTER], "604800");
    }
}
