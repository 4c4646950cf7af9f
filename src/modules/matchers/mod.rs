//! Request matchers.

mod method;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&method::MODULE];
