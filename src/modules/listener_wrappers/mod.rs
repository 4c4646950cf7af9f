//! What stands between a listener and its server: modules of `caddy.listeners`. They can be written so far, and not
//! run; `tls` alone, the place where TLS stands among the others, is there for all to see.

mod http_redirect;
mod proxy_protocol;
mod tls;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&http_redirect::MODULE, &proxy_protocol::MODULE, &tls::MODULE];

/// Caddy's namespace.
const NAMESPACE: &str = "caddy.listeners";
