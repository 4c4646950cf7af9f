//! Request matchers.

mod expression;
pub(super) mod file;
mod method;
mod url_pattern;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] =
    &[&expression::MODULE, &file::MODULE, &method::MODULE, &url_pattern::MODULE];
