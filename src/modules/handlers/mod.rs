//! Handlers and the directives that make them, in Caddy's directive order: the position is the order.

mod respond;
mod reverse_proxy;
mod subroute;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&respond::MODULE, &subroute::MODULE];
