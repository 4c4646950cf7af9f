//! Who says whether a certificate may be got at a handshake: modules of `tls.permission`.

mod http;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&http::MODULE];
