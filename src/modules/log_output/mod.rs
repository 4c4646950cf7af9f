//! Where logs go: what can stand behind `output` in a `log` block.

mod file;
mod net;
mod standard;

use crate::module::Module;

pub(super) use standard::is_standard;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&file::MODULE, &net::MODULE, &standard::MODULE];

/// Caddy's namespace of these modules.
pub(super) const NAMESPACE: &str = "caddy.logging.writers";
