//! Which addresses are meant, such as those of trusted proxies: modules of `http.ip_sources`. What they do at run
//! time is part of [`crate::http`].

mod ranges;

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&ranges::MODULE];
