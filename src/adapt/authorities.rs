//! `apps.pki`: the authorities that options and sites ask for.

use super::listeners::Pairing;
use super::{AutoHttpsOption, Options};
use crate::config::pki::{Ca, DEFAULT_CA, Pki};

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
        if authorities.is_empty() && !options.auto_https(AutoHttpsOption::Off) {
            authorities.insert(DEFAULT_CA.into(), Ca::default());
        }
        for ca in authorities.values_mut() {
            ca.install_trust = Some(false);
        }
    }
    (!authorities.is_empty()).then_some(pki)
}
