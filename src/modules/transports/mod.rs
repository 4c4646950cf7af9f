//! Transports: how requests travel to upstreams (`transport NAME { ... }` of `reverse_proxy`).

pub mod fastcgi;
pub mod http;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&fastcgi::MODULE, &http::MODULE];
