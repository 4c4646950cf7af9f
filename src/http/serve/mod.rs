//! The engine: worker threads, their listeners and connections, and what guards them.

mod chunks;
mod conn;
mod engine;
mod guard;
mod h2;
mod h3;
mod head;
mod late;
#[cfg(any(test, fuzzing))]
pub mod laws;
mod listener;
mod protocols;
mod quic;
mod streams;
#[cfg(test)]
mod tests;
mod wire;
mod worker;
pub(super) mod wrappers;

pub use engine::{Engine, Listen, ListenError};
pub use guard::WireLimits;
pub(super) use head::is_authority;
pub(crate) use listener::{LOOKUP_TIMEOUT, listen_unix};
pub use protocols::{Protocols, UnknownProtocol};
pub use wire::Wire;
pub(super) use wrappers::Wrappers;
