//! How answers are compressed: modules of `http.encoders`.

mod gzip;
mod zstd;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&gzip::MODULE, &zstd::MODULE];

/// Caddy's namespace.
pub(super) const NAMESPACE: &str = "http.encoders";
