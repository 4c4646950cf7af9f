//! Loading, provisioning, swapping and draining configurations, and the admin API.

pub mod adapter;
pub mod provision;
pub mod source;
