//! One ACME issuer on top of another.

use crate::config::tls::{AcmeIssuer, Challenges, DnsChallenge, PortChallenge};
use crate::config::{Duration, is_default};

/// `base` with everything that `over` says.
pub(super) fn acme(mut base: AcmeIssuer, over: &AcmeIssuer) -> AcmeIssuer {
    set(&mut base.ca, &over.ca);
    set(&mut base.test_ca, &over.test_ca);
    set(&mut base.email, &over.email);
    set(&mut base.profile, &over.profile);
    set(&mut base.account_key, &over.account_key);
    set(&mut base.external_account, &over.external_account);
    set(&mut base.acme_timeout, &over.acme_timeout);
    for file in &over.trusted_roots_pem_files {
        if !base.trusted_roots_pem_files.contains(file) {
            base.trusted_roots_pem_files.push(file.clone());
        }
    }
    set(&mut base.preferred_chains, &over.preferred_chains);
    set(&mut base.certificate_lifetime, &over.certificate_lifetime);
    set(&mut base.network_proxy, &over.network_proxy);
    layer(&mut base.challenges, &over.challenges, challenges);
    base
}

fn challenges(base: &mut Challenges, over: &Challenges) {
    layer(&mut base.http, &over.http, port);
    layer(&mut base.tls_alpn, &over.tls_alpn, port);
    layer(&mut base.dns, &over.dns, dns);
    set(&mut base.bind_host, &over.bind_host);
    set(&mut base.distributed, &over.distributed);
}

fn port(base: &mut PortChallenge, over: &PortChallenge) {
    set(&mut base.disabled, &over.disabled);
    set(&mut base.alternate_port, &over.alternate_port);
}

fn dns(base: &mut DnsChallenge, over: &DnsChallenge) {
    set(&mut base.provider, &over.provider);
    set::<Duration>(&mut base.ttl, &over.ttl);
    set(&mut base.propagation_delay, &over.propagation_delay);
    set(&mut base.propagation_timeout, &over.propagation_timeout);
    set(&mut base.resolvers, &over.resolvers);
    set(&mut base.override_domain, &over.override_domain);
}

fn set<T: Clone + Default + PartialEq>(base: &mut T, over: &T) {
    if !is_default(over) {
        base.clone_from(over);
    }
}

fn layer<T: Clone>(base: &mut Option<T>, over: &Option<T>, merge: fn(&mut T, &T)) {
    match (base.as_mut(), over) {
        (Some(base), Some(over)) => merge(base, over),
        (None, Some(over)) => *base = Some(over.clone()),
        (_, None) => {}
    }
}
