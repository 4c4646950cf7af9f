//! Caddy's JSON configuration as types. Nothing here behaves: each type only holds what was said.
//!
//! The serde form is Caddy's, field for field (<https://caddyserver.com/docs/json/>), so that
//! `adapt` prints it, JSON files and the admin API enter by it, and both entrances meet in one type.

pub mod http;
mod module;

pub use module::{ModuleError, ModuleJson};
