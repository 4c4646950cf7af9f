//! Orders, and the certificates that come of them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::accounts::{Account, Issued, Revoked};
use super::identifier::Identifier;
use super::jws::Message;
use super::links::Links;
use super::orders::{Order, Wish};
use super::post::{Sender, payload};
use super::problem::{Kind, Problem};
use super::{Server, json_answer, now, set};
use crate::tls::{RequestOrder, SigningRequest, TlsError};

/// An order has at most so many identifiers.
const IDENTIFIERS_MAX: usize = 100;
/// Certificates begin so many seconds before now, for clocks that are late, as in Caddy.
const BACKDATE: i64 = 60;
/// The shortest and the longest life of a certificate in seconds, as in Caddy.
const LIFETIME_MIN: i64 = 5 * 60;
const LIFETIME_MAX: i64 = 365 * 24 * 60 * 60;

/// What a client orders (RFC 8555 section 7.4).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    #[serde(default)]
    identifiers: Vec<Identifier>,
    /// RFC 3339.
    not_before: Option<String>,
    not_after: Option<String>,
}

/// What an order's certificate is to be like.
#[derive(Deserialize)]
struct Finalize {
    /// A request (RFC 2986), base64url.
    csr: String,
}

/// Which certificate is not to be trusted any more (RFC 8555 section 7.6).
#[derive(Deserialize)]
struct Revoke {
    /// DER, base64url.
    certificate: String,
    reason: Option<i64>,
}

impl Server {
    pub(super) fn new_order(
        &self,
        sender: &Sender,
        owner: IpAddr,
        message: &Message,
        links: &Links,
    ) -> Result<Response<Bytes>, Problem> {
        let wish: NewOrder = payload(message)?;
        if wish.identifiers.is_empty() {
            return Err(Problem::malformed("identifiers list cannot be empty"));
        }
        if wish.identifiers.len() > IDENTIFIERS_MAX {
            return Err(Problem::malformed(format!("an order has at most {IDENTIFIERS_MAX} identifiers")));
        }
        let mut identifiers: Vec<Identifier> = Vec::with_capacity(wish.identifiers.len());
        for identifier in wish.identifiers {
            let identifier = identifier.checked()?;
            self.settings.policy.check(&identifier)?;
            if !identifiers.contains(&identifier) {
                identifiers.push(identifier);
            }
        }
        let now = now();
        let lifetime = i64::try_from(self.settings.lifetime.as_secs()).unwrap_or(i64::MAX);
        let (not_before, not_after) = (date(wish.not_before)?, date(wish.not_after)?);
        let (not_before, not_after) = validity(not_before, not_after, lifetime, now)?;
        let wish = Wish { account: sender.id.clone(), owner, identifiers, not_before, not_after };
        let order = self.state.orders().add(wish, &self.settings.ways, now)?;
        Ok(order_answer(StatusCode::CREATED, &order, links))
    }

    pub(super) fn order(&self, id: &str, sender: &Sender, links: &Links) -> Result<Response<Bytes>, Problem> {
        let order = self.state.orders().order(id, &sender.id, now())?.clone();
        Ok(order_answer(StatusCode::OK, &order, links))
    }

    pub(super) fn finalize(
        &self,
        id: &str,
        sender: &Sender,
        message: &Message,
        links: &Links,
    ) -> Result<Response<Bytes>, Problem> {
        let wish: Finalize = payload(message)?;
        // Some send it padded, which Caddy forgives.
        let csr = URL_SAFE_NO_PAD.decode(wish.csr.trim_end_matches('='));
        let csr = csr.map_err(|_| Problem::malformed("the csr is no base64url"))?;
        let request =
            SigningRequest::read(&csr).map_err(|error| Problem::new(Kind::BadCsr, error.to_string()))?;
        let begun = self.state.orders().begin(id, &sender.id, now())?;
        if let Some(order) = begun {
            let issued = self.issue(&order, &request, &sender.id);
            self.state.orders().end(id, issued.as_ref().ok().cloned());
            issued?;
        }
        self.order(id, sender, links)
    }

    /// Issues the certificate of an order; its serial number.
    fn issue(&self, order: &Order, request: &SigningRequest, account: &str) -> Result<String, Problem> {
        let ordered: BTreeSet<&str> =
            order.identifiers.iter().map(|identifier| identifier.value.as_str()).collect();
        let wanted: BTreeSet<&str> = request.names().iter().map(String::as_str).collect();
        if ordered != wanted {
            return Err(Problem::new(Kind::BadCsr, "its names are not those of the order"));
        }
        // The policy may have been changed since.
        order.identifiers.iter().try_for_each(|identifier| self.settings.policy.check(identifier))?;
        let sign_with_root = self.settings.sign_with_root;
        let wish = RequestOrder {
            request,
            not_before: order.not_before,
            not_after: order.not_after,
            sign_with_root,
        };
        let failed = |error: TlsError| Problem::internal("signing a certificate", &error);
        let signed = self.authority.sign(&wish).map_err(failed)?;
        let (serial, not_after) = (signed.serial, signed.not_after);
        let issued =
            Issued { account: account.to_owned(), chain: signed.chain_pem, not_after, revoked: None };
        self.records.store_certificate(&serial, &issued)?;
        let names = wanted.into_iter().collect::<Vec<_>>().join(", ");
        tracing::info!(
            target: "http.handlers.acme_server", ca = self.authority.id(), names, serial, account,
            "certificate issued"
        );
        Ok(serial)
    }

    pub(super) fn certificate(&self, serial: &str, sender: &Sender) -> Result<Response<Bytes>, Problem> {
        let issued = self.records.certificate(serial)?;
        let issued = issued.ok_or_else(|| Problem::malformed("there is no such certificate"))?;
        if issued.account != sender.id {
            return Err(Problem::new(Kind::Unauthorized, ""));
        }
        let mut response = Response::new(Bytes::from(issued.chain));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/pem-certificate-chain"));
        Ok(response)
    }

    /// Revokes a certificate, for its account or whoever has its key.
    pub(super) fn revoke(&self, message: &Message) -> Result<Response<Bytes>, Problem> {
        let sender = match &message.header.kid {
            Some(_) => Some(self.sender(message)?),
            None => None,
        };
        let key = match sender {
            Some(_) => None,
            None => Some(Self::key(message)?),
        };
        let wish: Revoke = payload(message)?;
        let der = URL_SAFE_NO_PAD.decode(&wish.certificate);
        let der = der.map_err(|_| Problem::malformed("the certificate is no base64url"))?;
        let (_, certificate) = X509Certificate::from_der(&der)
            .map_err(|_| Problem::malformed("the certificate can't be read"))?;
        let serial = certificate.raw_serial_as_string().replace(':', "");
        let _turn = self.state.records.take();
        let mut issued = self
            .records
            .certificate(&serial)?
            .filter(|issued| is_leaf(&issued.chain, &der))
            .ok_or_else(|| Problem::malformed("there is no such certificate"))?;
        let may = match (&sender, key) {
            (Some(sender), _) => sender.id == issued.account,
            (None, Some(key)) => {
                let account = self.records.account(&Account::id_of(key))?;
                account.is_none_or(|account| account.is_valid()) && key.is(certificate.public_key())
            }
            (None, None) => false,
        };
        if !may {
            let problem = Problem::new(Kind::Unauthorized, "the certificate is not this client's");
            return Err(problem.with_status(StatusCode::FORBIDDEN));
        }
        if issued.revoked.is_some() {
            return Err(Problem::new(Kind::AlreadyRevoked, ""));
        }
        // RFC 5280 section 5.3.1; 7 is not used.
        let reason = u8::try_from(wish.reason.unwrap_or(0)).ok().filter(|code| *code <= 10 && *code != 7);
        let reason = reason.ok_or_else(|| Problem::new(Kind::BadRevocationReason, ""))?;
        issued.revoked = Some(Revoked { at: now(), reason });
        self.records.store_certificate(&serial, &issued)?;
        tracing::info!(
            target: "http.handlers.acme_server", ca = self.authority.id(), serial, reason,
            "certificate revoked"
        );
        Ok(Response::new(Bytes::new()))
    }
}

/// Whether a chain begins with this certificate.
fn is_leaf(chain: &str, der: &[u8]) -> bool {
    CertificateDer::from_pem_slice(chain.as_bytes()).is_ok_and(|leaf| leaf.as_ref() == der)
}

fn order_answer(status: StatusCode, order: &Order, links: &Links) -> Response<Bytes> {
    let mut response = json_answer(status, &order.document(links));
    set(response.headers_mut(), LOCATION, &links.order(&order.id));
    response
}

fn date(said: Option<String>) -> Result<Option<Timestamp>, Problem> {
    let read = |text: String| text.parse().map_err(|_| Problem::malformed(format!("{text:?} is no date")));
    said.map(read).transpose()
}

/// From when to when a certificate is valid, in seconds since 1970.
fn validity(
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    lifetime: i64,
    now: i64,
) -> Result<(i64, i64), Problem> {
    let begin = not_before.map_or(now, Timestamp::as_second);
    let end = not_after.map_or(begin.saturating_add(lifetime), Timestamp::as_second);
    if end <= now || !(LIFETIME_MIN..=LIFETIME_MAX).contains(&end.saturating_sub(begin)) {
        return Err(Problem::malformed("a certificate lives between five minutes and a year from now"));
    }
    let begin = if not_before.is_some() { begin } else { begin - BACKDATE };
    Ok((begin, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_live_as_long_as_is_ordered_within_limits() {
        let at = |seconds| Some(Timestamp::from_second(seconds).unwrap());
        let now = 1_000_000;
        let ok = |before, after| validity(before, after, 43_200, now).ok();
        assert_eq!(ok(None, None), Some((now - 60, now + 43_200)));
        assert_eq!(ok(None, at(now + 600)), Some((now - 60, now + 600)));
        assert_eq!(ok(at(now + 100), None), Some((now + 100, now + 43_300)));
        assert_eq!(ok(at(now - 1000), at(now)), None);
        assert_eq!(ok(None, at(now + 299)), None);
        assert_eq!(ok(None, at(now + LIFETIME_MAX + 1)), None);
        assert_eq!(ok(at(now + 1000), at(now + 900)), None);
    }
}
