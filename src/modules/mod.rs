//! One file for each thing that a user can write. Each folder's `mod.rs` is its table.

pub mod ca_pools;
pub mod certificate_managers;
pub mod client_auth;
pub mod dns_providers;
pub mod encoders;
pub mod handlers;
pub mod ip_sources;
pub mod issuers;
pub mod listener_wrappers;
pub mod log_encoder;
pub mod log_filter;
pub mod log_output;
pub mod matchers;
pub mod options;
pub mod permissions;
pub mod storage;
pub mod transports;

#[cfg(test)]
mod testing;

use crate::module::Registry;

/// The registry of everything in this folder.
pub fn registry() -> Registry {
    Registry::new(&[
        ca_pools::TABLE,
        certificate_managers::TABLE,
        client_auth::TABLE,
        dns_providers::TABLE,
        encoders::TABLE,
        handlers::TABLE,
        ip_sources::TABLE,
        issuers::TABLE,
        listener_wrappers::TABLE,
        matchers::TABLE,
        options::TABLE,
        permissions::TABLE,
        storage::TABLE,
        transports::TABLE,
        log_output::TABLE,
        log_encoder::TABLE,
        log_filter::TABLE,
    ])
}
