//! Forms of log entries: what can stand behind `format` in a `log` block.

mod append;
mod console;
mod filter;
mod journald;
mod json;
mod options;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] =
    &[&append::MODULE, &console::MODULE, &filter::MODULE, &journald::MODULE, &json::MODULE];

/// Caddy's namespace of these modules.
pub(super) const NAMESPACE: &str = "caddy.logging.encoders";
