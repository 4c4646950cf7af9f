//! Issuers of certificates while policies are put together.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Error, Options};
use crate::config::ModuleJson;
use crate::config::tls::{AcmeIssuer, Challenges, DnsChallenge, ISSUER_TAG, InternalIssuer, PortChallenge};

/// ZeroSSL's ACME directory, the second issuer for those who give an email address.
const ZEROSSL_DIRECTORY: &str = "https://acme.zerossl.com/v2/DV90";

/// An issuer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Issuer {
    /// `acme`, which takes its defaults from the global options.
    Acme(Box<AcmeIssuer>),
    /// Any other one.
    Other(ModuleJson),
}

/// An issuer of several policies: those that take it from the global options share it, so that what one site adds to
/// it (such as the interface of its challenges) counts for all, as in Caddy.
pub(super) type SharedIssuer = Rc<RefCell<Issuer>>;

impl Issuer {
    /// Reads an issuer from its JSON.
    pub(super) fn from_json(json: &ModuleJson) -> Self {
        match json.decode::<AcmeIssuer>(ISSUER_TAG) {
            Ok(issuer) if json.name(ISSUER_TAG).is_ok_and(|name| name == AcmeIssuer::NAME) => {
                Self::Acme(Box::new(issuer))
            }
            _ => Self::Other(json.clone()),
        }
    }

    /// Its JSON.
    pub(super) fn to_json(&self) -> ModuleJson {
        match self {
            Self::Acme(issuer) => ModuleJson::new(ISSUER_TAG, AcmeIssuer::NAME, issuer),
            Self::Other(json) => json.clone(),
        }
    }

    /// Our own authority.
    pub(super) fn internal() -> Self {
        Self::Other(ModuleJson::new(ISSUER_TAG, InternalIssuer::NAME, &InternalIssuer::default()))
    }

    pub(super) fn shared(self) -> SharedIssuer {
        Rc::new(RefCell::new(self))
    }
}

/// The issuers for public names where none are named.
pub fn default_acme_issuers(email: &str) -> Vec<AcmeIssuer> {
    let mut issuers = vec![AcmeIssuer::default()];
    if !email.trim().is_empty() {
        issuers.push(AcmeIssuer {
            ca: ZEROSSL_DIRECTORY.into(),
            email: email.to_owned(),
            ..AcmeIssuer::default()
        });
    }
    issuers
}

/// Whether the global options say anything that every ACME issuer takes over.
pub(super) fn has_acme_defaults(options: &Options) -> bool {
    options.acme_ca.is_some()
        || options.acme_ca_root.is_some()
        || options.acme_dns.is_some()
        || options.acme_eab.is_some()
        || options.preferred_chains.is_some()
}

/// Gives an ACME issuer what the global options say and it doesn't.
///
/// # Errors
/// `acme_dns` names no provider, and there is no `dns` either.
pub(super) fn fill_in_defaults(issuer: &mut AcmeIssuer, options: &Options) -> Result<(), Error> {
    if issuer.email.is_empty() {
        issuer.email = options.email.clone().unwrap_or_default();
    }
    if issuer.ca.is_empty() {
        issuer.ca = options.acme_ca.clone().unwrap_or_default();
    }
    if let Some(root) = &options.acme_ca_root
        && !issuer.trusted_roots_pem_files.contains(root)
    {
        issuer.trusted_roots_pem_files.push(root.clone());
    }
    fill_in_dns(issuer, options)?;
    if issuer.external_account.is_none() {
        issuer.external_account.clone_from(&options.acme_eab);
    }
    if issuer.preferred_chains.is_none() {
        issuer.preferred_chains.clone_from(&options.preferred_chains);
    }
    fill_in_ports(issuer, options);
    if let (0, Some(lifetime)) = (issuer.certificate_lifetime.as_nanos(), options.cert_lifetime) {
        issuer.certificate_lifetime = lifetime;
    }
    if let Some(dns) = issuer.challenges.as_mut().and_then(|challenges| challenges.dns.as_mut()) {
        let is_used = options.acme_dns.is_some() || dns.provider.is_some();
        if is_used && dns.resolvers.is_empty() {
            dns.resolvers.clone_from(&options.tls_resolvers);
        }
    }
    Ok(())
}

fn fill_in_dns(issuer: &mut AcmeIssuer, options: &Options) -> Result<(), Error> {
    let Some(provider) = &options.acme_dns else { return Ok(()) };
    let said = issuer.challenges.as_ref().and_then(|challenges| challenges.dns.as_ref());
    if said.is_some_and(|dns| dns.provider.is_some()) {
        return Ok(());
    }
    if provider.is_none() && options.dns.is_none() {
        return Err(Error::new(
            "acme_dns specified without DNS provider config, but no provider specified with 'dns' global option",
        ));
    }
    let challenges = issuer.challenges.get_or_insert_with(Challenges::default);
    let dns = challenges.dns.get_or_insert_with(DnsChallenge::default);
    dns.provider.clone_from(provider);
    Ok(())
}

/// Ports and interface count only where the DNS challenge is not used, since that needs none.
fn fill_in_ports(issuer: &mut AcmeIssuer, options: &Options) {
    if issuer.challenges.as_ref().is_some_and(|challenges| challenges.dns.is_some()) {
        return;
    }
    let set = |challenge: &mut Option<PortChallenge>, port: u16| {
        let challenge = challenge.get_or_insert_with(PortChallenge::default);
        if challenge.alternate_port == 0 {
            challenge.alternate_port = port;
        }
    };
    if let Some(port) = options.http_port {
        set(&mut issuer.challenges.get_or_insert_with(Challenges::default).http, port);
    }
    if let Some(port) = options.https_port {
        set(&mut issuer.challenges.get_or_insert_with(Challenges::default).tls_alpn, port);
    }
    let default_bind = options.default_bind.first().and_then(|bind| bind.addresses.first());
    if let Some(host) = default_bind {
        let challenges = issuer.challenges.get_or_insert_with(Challenges::default);
        if challenges.bind_host.is_empty() {
            challenges.bind_host.clone_from(host);
        }
    }
}
