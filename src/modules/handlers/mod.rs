//! Handlers and the directives that make them, in Caddy's directive order: the position is the order.

pub(super) mod bind;
mod handle;
mod handle_errors;
mod invoke;
mod respond;
mod reverse_proxy;
mod route;
mod subroute;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[
    &bind::MODULE,
    &handle_errors::MODULE,
    // From here on the order is that of handlers.
    &invoke::MODULE,
    &handle::MODULE,
    &route::MODULE,
    &respond::MODULE,
    // Without directives.
    &subroute::MODULE,
];
