//! `apps.pki`: the authorities that options and sites ask for.

use super::listeners::Pairing;
use super::{AutoHttpsOption, Options};
use crate::config::pki::{DEFAULT_CA, Pki};
use crate::config::tls::{ISSUER_TAG, InternalIssuer};

/// Builds `apps.pki`, if there is anything to say.
pub(super) fn build(pairings: &[Pairing], options: &Options) -> Option<Pki> {
    let mut pki = options.pki.clone().unwrap_or_default();
    let authorities = &mut pki.certificate_authorities;
    for (id, ca) in pairings.iter().flat_map(|pairing| &pairing.sites).flat_map(|site| &site.pile.authorities)
    {
        // What the options say of it counts more.
        authorities.entry(id.clone()).or_insert_with(|| ca.clone());
    }
    if options.skip_install_trust {
        let named_none = authorities.is_empty();
        for issuer in
            pairings.iter().flat_map(|pairing| &pairing.sites).flat_map(|site| &site.pile.tls.issuers)
        {
            if issuer.name(ISSUER_TAG).is_ok_and(|name| name == InternalIssuer::NAME) {
                let id = issuer.0.get("ca").and_then(|id| id.as_str()).unwrap_or(DEFAULT_CA);
                authorities.entry(id.to_owned()).or_default();
            }
        }
        if named_none && !options.auto_https(AutoHttpsOption::Off) {
            authorities.entry(DEFAULT_CA.to_owned()).or_default();
        }
        for ca in authorities.values_mut() {
            ca.install_trust = Some(false);
        }
    }
    (!authorities.is_empty()).then_some(pki)
}
