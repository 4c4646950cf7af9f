//! Where certificates and keys are kept: modules of `caddy.storage`.

mod file_system;
mod redis;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&file_system::MODULE, &redis::MODULE];
