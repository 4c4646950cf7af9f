//! Further checks of client certificates: modules of `tls.client_auth.verifier` and what they load.

mod leaf;
mod loaders;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&leaf::MODULE, &loaders::MODULE];

/// Where loaders of leaf certificates are found.
const LOADERS: &str = "tls.leaf_cert_loader";
