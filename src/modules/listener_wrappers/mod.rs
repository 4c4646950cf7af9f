//! What stands between a listener and its server: modules of `caddy.listeners`, as they are written. The engine runs
//! them, in front of TLS or behind it, as they stand before or behind `tls`.

mod http_redirect;
mod proxy_protocol;
mod tls;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&http_redirect::MODULE, &proxy_protocol::MODULE, &tls::MODULE];

/// Caddy's namespace.
const NAMESPACE: &str = "caddy.listeners";
