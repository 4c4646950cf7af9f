//! One file for each thing that a user can write. Each folder's `mod.rs` is its table.

pub mod handlers;
pub mod matchers;
pub mod options;
pub mod transports;

use crate::module::Registry;

/// The registry of everything in this folder.
pub fn registry() -> Registry {
    Registry::new(&[handlers::TABLE, matchers::TABLE, options::TABLE, transports::TABLE])
}
