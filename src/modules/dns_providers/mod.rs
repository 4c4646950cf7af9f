//! Who changes DNS zones: modules of `dns.providers`.

mod cloudflare;
mod rfc2136;

use crate::acme::dns01::DnsProviders;
use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&cloudflare::MODULE, &rfc2136::MODULE];

/// The providers by their names in JSON.
pub fn types() -> DnsProviders {
    TABLE.iter().filter_map(|module| module.dns_provider.as_ref()).map(|row| (row.id, row)).collect()
}
