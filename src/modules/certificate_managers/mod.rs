//! Who has certificates ready at handshakes: modules of `tls.get_certificate`.

mod http;
mod tailscale;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&http::MODULE, &tailscale::MODULE];

/// Caddy's namespace.
pub(super) const NAMESPACE: &str = "tls.get_certificate";
