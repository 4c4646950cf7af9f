//! One order, from the wish to the certificate.

use std::net::IpAddr;
use std::time::Duration;

use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, OrderStatus,
    Problem, RetryPolicy,
};
use jiff::Timestamp;
use rcgen::{
    CertificateParams, CertificateSigningRequest, CustomExtension, DistinguishedName, DnType, KeyPair,
    SanType,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use super::account::Known;
use super::chains;
use super::client::Carrier;
use super::dns01::{Dns01, DnsError, Presented};
use super::issuer::{AcmeIssuer, PROBLEM_CHARS_MAX, explain};
use super::message;
use super::show::{self, Way, show};
use crate::tls::issuance::{IssueError, Issued, Order};
use crate::tls::{TlsError, challenges};

/// How soon to ask again whether the authority is done, and how much longer each time.
const POLL: RetryPolicy = RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5);
/// In this attempt the authority is not told what the new certificate follows, in case that is why it refuses.
const ATTEMPT_WITHOUT_REPLACES: u32 = 2;

/// The extension by which a certificate has clients insist on extensions of TLS (RFC 7633).
const TLS_FEATURE: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 24];
/// A common name is no longer (RFC 5280 appendix A).
const COMMON_NAME_MAX: usize = 64;
/// A list of one: `status_request`, by which a server shows a staple.
const STATUS_REQUEST: &[u8] = &[0x30, 3, 2, 1, 5];

/// Why an order came to nothing.
pub(super) enum OrderError {
    /// The authority does not know the account.
    NoAccount(IssueError),
    /// A message of ours was too late, time and again.
    Nonce(IssueError),
    /// It looked, and did not find what it looked for.
    NotShown(IssueError),
    Other(IssueError),
}

impl OrderError {
    pub(super) fn new(doing: &str, error: Error, carrier: &Carrier) -> Self {
        let kind = match &error {
            Error::Api(Problem { r#type: Some(kind), .. }) => kind.rsplit(':').next().map(str::to_owned),
            _ => None,
        };
        let told = explain(doing, error, carrier);
        match kind.as_deref() {
            Some("accountDoesNotExist") => Self::NoAccount(told),
            Some("badNonce") => Self::Nonce(told),
            Some("unauthorized" | "connection" | "dns" | "incorrectResponse" | "tls" | "caa") => {
                Self::NotShown(told)
            }
            _ => Self::Other(told),
        }
    }

    pub(super) fn into_inner(self) -> IssueError {
        match self {
            Self::NoAccount(error) | Self::Nonce(error) | Self::NotShown(error) | Self::Other(error) => error,
        }
    }
}

impl From<TlsError> for OrderError {
    fn from(error: TlsError) -> Self {
        Self::Other(error.into())
    }
}

impl From<IssueError> for OrderError {
    fn from(error: IssueError) -> Self {
        Self::Other(error)
    }
}

fn not_shown(error: DnsError) -> OrderError {
    OrderError::NotShown(IssueError::new(error))
}

/// What is shown to the authority for one order. It has one name, and so at most one record.
#[derive(Default)]
struct OnShow {
    answers: Vec<show::OnShow>,
    record: Option<Presented>,
}

/// What belongs to one order.
pub(super) struct Attempt<'a> {
    pub(super) issuer: &'a AcmeIssuer,
    pub(super) known: &'a Known,
    pub(super) carrier: &'a Carrier,
    pub(super) directory: &'a str,
    pub(super) wanted: &'a Order,
}

impl Attempt<'_> {
    /// Orders a certificate, showing in this way that its name is ours; by DNS if the issuer does so.
    pub(super) async fn run(&self, way: Way) -> Result<Issued, OrderError> {
        let failed = |doing: &'static str| move |error| OrderError::new(doing, error, self.carrier);
        let mut order = self.begin().await?;
        let mut on_show = OnShow::default();
        let shown = match self.show_all(&mut order, way, &mut on_show).await {
            Ok(()) => self.wait_until_ready(&mut order).await,
            Err(error) => Err(error),
        };
        // The authority has seen it, or won't.
        self.put_away(on_show).await;
        if let Err(error) = shown {
            self.give_up(&mut order).await;
            return Err(error);
        }
        let csr = signing_request(self.wanted, false).map_err(IssueError::new)?;
        order.finalize_csr(csr.der()).await.map_err(failed("finalizing the order"))?;
        let poll = self.poll();
        let chain = order.poll_certificate(&poll).await.map_err(failed("waiting for the certificate"))?;
        let settings = self.issuer.settings();
        let chain = if settings.chains.is_some() {
            let mut all = vec![chain];
            all.extend(chains::others(self.known, self.carrier).await);
            settings.chains.choose(all)
        } else {
            chain
        };
        let url = order.state().certificate.clone().unwrap_or_default();
        let mut data = json!({"url": url, "ca": self.directory, "account": self.known.location});
        if let Some(info) = self.issuer.first_renewal_info(self.known, &chain).await {
            data["renewal_info"] = json!(info);
        }
        Ok(Issued { chain_pem: chain, data })
    }

    fn poll(&self) -> RetryPolicy {
        POLL.timeout(self.issuer.settings().timeout)
    }

    async fn begin(&self) -> Result<instant_acme::Order, OrderError> {
        let identifiers = [identifier(&self.wanted.subject)];
        let settings = self.issuer.settings();
        let plain = || match settings.profile.as_str() {
            "" => NewOrder::new(&identifiers),
            profile => NewOrder::new(&identifiers).profile(profile),
        };
        let replaced = self.wanted.replaces.as_ref().filter(|_| {
            self.wanted.attempt != ATTEMPT_WITHOUT_REPLACES && settings.directory == self.directory
        });
        let replaced = replaced.and_then(|old| old.chain().first()?.try_into().ok());
        let account = &self.known.account;
        let failed = |error| OrderError::new("making an order", error, self.carrier);
        if !settings.lifetime.is_zero() {
            return self.begin_with_lifetime(replaced).await.map_err(failed);
        }
        if let Some(replaced) = replaced {
            match account.new_order(&plain().replaces(replaced)).await {
                Ok(order) => return Ok(order),
                // Not every authority knows of such things, or of that certificate.
                Err(Error::Unsupported(_) | Error::Other(_)) => {}
                Err(Error::Api(problem))
                    if problem.status.is_some_and(|status| matches!(status, 404 | 409)) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        account.new_order(&plain()).await.map_err(failed)
    }

    /// Makes an order that says how long the certificate shall be valid, which the protocol's crate does not.
    async fn begin_with_lifetime(
        &self,
        replaced: Option<CertificateIdentifier<'_>>,
    ) -> Result<instant_acme::Order, Error> {
        let settings = self.issuer.settings();
        let ends = i64::try_from(settings.lifetime.as_secs()).unwrap_or(i64::MAX);
        let ends = Timestamp::from_second(Timestamp::now().as_second().saturating_add(ends))
            .map_err(|error| Error::Other(format!("lifetime: {error}").into()))?;
        let mut content = json!({"identifiers": [named(&self.wanted.subject)], "notAfter": ends.to_string()});
        if !settings.profile.is_empty() {
            content["profile"] = json!(settings.profile);
        }
        let plain = content.clone();
        let is_replacing = replaced.is_some();
        if let Some(replaced) = replaced {
            content["replaces"] = json!(replaced);
        }
        let made = match message::new_order(self.known, self.carrier, self.directory, content).await {
            // It does not know that certificate.
            Err(Error::Api(problem))
                if is_replacing && problem.status.is_some_and(|status| matches!(status, 404 | 409)) =>
            {
                message::new_order(self.known, self.carrier, self.directory, plain).await?
            }
            made => made?,
        };
        self.known.account.order(made).await
    }

    /// Shows everything that the authority wants to see, and tells it to look.
    async fn show_all(
        &self,
        order: &mut instant_acme::Order,
        way: Way,
        on_show: &mut OnShow,
    ) -> Result<(), OrderError> {
        let failed = |doing: &'static str| move |error| OrderError::new(doing, error, self.carrier);
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(failed("reading an authorization"))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let kind = match way {
                Way::Http => ChallengeType::Http01,
                Way::TlsAlpn => ChallengeType::TlsAlpn01,
                Way::Dns => ChallengeType::Dns01,
            };
            let offered: Vec<String> =
                authorization.challenges.iter().map(|challenge| format!("{:?}", challenge.r#type)).collect();
            let Some(mut challenge) = authorization.challenge(kind) else {
                let problem =
                    format!("the authority does not offer {}, but {}", way.name(), offered.join(", "));
                return Err(OrderError::NotShown(IssueError::new(problem)));
            };
            let answer = challenge.key_authorization();
            if let Some(dns) = self.dns(way) {
                let record = dns.present(&self.wanted.subject, &answer.dns_value()).await;
                let record = on_show.record.insert(record.map_err(not_shown)?);
                dns.wait(record).await.map_err(not_shown)?;
                challenge.set_ready().await.map_err(failed("telling the authority to look"))?;
                continue;
            }
            let shown = challenges::Challenge {
                kind: way.name().to_owned(),
                url: challenge.url.clone(),
                status: "pending".to_owned(),
                token: challenge.token.clone(),
                key_authorization: answer.as_str().to_owned(),
                identifier: named(&self.wanted.subject),
            };
            on_show.answers.push(show(way, shown, &self.issuer.shows_at(way)).await?);
            challenge.set_ready().await.map_err(failed("telling the authority to look"))?;
        }
        Ok(())
    }

    fn dns(&self, way: Way) -> Option<&Dns01> {
        self.issuer.settings().dns.as_deref().filter(|_| way == Way::Dns)
    }

    /// Takes away what was shown. What stays in a zone does no harm, but is untidy.
    async fn put_away(&self, on_show: OnShow) {
        let (Some(record), Some(dns)) = (on_show.record, self.dns(Way::Dns)) else { return };
        if let Err(error) = dns.clean_up(record).await {
            tracing::warn!(target: "tls.issuance.acme", name = self.wanted.subject, %error, "a record stays");
        }
    }

    async fn wait_until_ready(&self, order: &mut instant_acme::Order) -> Result<(), OrderError> {
        let polled = order.poll_ready(&self.poll()).await;
        match polled {
            Ok(OrderStatus::Ready | OrderStatus::Valid) => Ok(()),
            Ok(_) => Err(OrderError::NotShown(IssueError::new(self.why_invalid(order).await))),
            Err(error) => Err(OrderError::new("waiting for the authority to look", error, self.carrier)),
        }
    }

    /// What the authority says it found in place of what it looked for.
    async fn why_invalid(&self, order: &mut instant_acme::Order) -> String {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else { continue };
            if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
                return problem.to_string().chars().take(PROBLEM_CHARS_MAX).collect();
            }
        }
        "the authority refuses, and does not say why".to_owned()
    }

    /// Tells the authority that nothing will come of an order: open ones count.
    async fn give_up(&self, order: &mut instant_acme::Order) {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if authorization.status == AuthorizationStatus::Pending {
                // It forgets by itself too, only later.
                _ = authorization.deactivate().await;
            }
        }
    }
}

/// How the protocol's crate names what is to be ours.
fn identifier(subject: &str) -> Identifier {
    match subject.parse::<IpAddr>() {
        Ok(ip) => Identifier::Ip(ip),
        Err(_) => Identifier::Dns(subject.to_owned()),
    }
}

fn named(subject: &str) -> challenges::Identifier {
    let kind = if subject.parse::<IpAddr>().is_ok() { "ip" } else { "dns" };
    challenges::Identifier { kind: kind.to_owned(), value: subject.to_owned() }
}

/// The request that an authority signs (RFC 2986): the name, and the key that it is for. The name stands there as a
/// subject's alternative name, or as its common name if it is not too long for one.
pub(super) fn signing_request(
    wanted: &Order,
    as_common_name: bool,
) -> Result<CertificateSigningRequest, rcgen::Error> {
    let der = PrivateKeyDer::from_pem_slice(wanted.key.as_str().as_bytes());
    let key = KeyPair::try_from(&der.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if as_common_name && wanted.subject.len() <= COMMON_NAME_MAX {
        params.distinguished_name.push(DnType::CommonName, wanted.subject.as_str());
    } else {
        params.subject_alt_names = vec![match wanted.subject.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(wanted.subject.as_str().try_into()?),
        }];
    }
    if wanted.must_staple {
        let extension = CustomExtension::from_oid_content(TLS_FEATURE, STATUS_REQUEST.to_vec());
        params.custom_extensions.push(extension);
    }
    params.serialize_request(&key)
}

#[cfg(test)]
mod tests {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::{FromDer as _, ParsedExtension};

    use super::*;
    use crate::tls::issuance::KeyPem;

    #[test]
    fn a_staple_is_insisted_on_if_that_is_wanted() {
        let key = KeyPem::new(KeyPair::generate().unwrap().serialize_pem());
        let features = |must_staple| {
            let wanted =
                Order { subject: "a.test".into(), key: key.clone(), attempt: 0, replaces: None, must_staple };
            let request = signing_request(&wanted, false).unwrap();
            let der = request.der();
            let (_, request) = X509CertificationRequest::from_der(der).unwrap();
            let extensions = request.requested_extensions().unwrap();
            let feature = |extension: &ParsedExtension<'_>| match extension {
                ParsedExtension::UnsupportedExtension { oid } => oid.to_id_string(),
                _ => String::new(),
            };
            let found: Vec<_> = extensions.map(feature).filter(|oid| !oid.is_empty()).collect();
            (found, memchr::memmem::find(der, STATUS_REQUEST).is_some())
        };
        assert_eq!(features(true), (vec!["1.3.6.1.5.5.7.1.24".to_owned()], true));
        assert_eq!(features(false).0, Vec::<String>::new());
    }
}
