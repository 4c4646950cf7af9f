//! Loading, provisioning, swapping and draining configurations, and the admin API.
//!
//! ```text
//! file, stdin --source--> JSON --+
//! admin API ------ config_tree --+--> provision (nothing is opened) --> Instance: bind, swap, drain
//! ```
//!
//! Everything here runs on the control thread; requests to the sites never come by.

pub mod adapter;
pub mod admin;
pub mod auto_https;
mod autosave;
pub mod blame;
pub mod config_tree;
pub mod control;
mod instance;
mod notify;
pub mod provision;
pub mod source;

pub use instance::{Change, ChangeError, Instance};
