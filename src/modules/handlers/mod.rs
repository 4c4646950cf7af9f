//! Handlers and the directives that make them, in Caddy's directive order: the position is the order.

pub(super) mod bind;
mod forward_auth;
mod handle;
mod handle_errors;
mod invoke;
mod log;
mod log_append;
mod log_name;
mod log_skip;
mod respond;
mod reverse_proxy;
mod route;
mod subroute;
mod tls;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[
    &bind::MODULE,
    &handle_errors::MODULE,
    &tls::MODULE,
    &log::MODULE,
    // From here on the order is that of handlers.
    &log_append::MODULE,
    &log_skip::MODULE,
    &log_name::MODULE,
    &forward_auth::MODULE,
    &invoke::MODULE,
    &handle::MODULE,
    &route::MODULE,
    &respond::MODULE,
    &reverse_proxy::MODULE,
    // Without directives.
    &reverse_proxy::POLICIES,
    &reverse_proxy::SOURCES,
    &subroute::MODULE,
];
