//! Who changes DNS zones: modules of `dns.providers`.

mod cloudflare;
mod rfc2136;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&cloudflare::MODULE, &rfc2136::MODULE];
