//! The engine: worker threads, their listeners and connections.

mod conn;
mod engine;
mod h1;
mod h2;
mod h3;
mod late;
mod limits;
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
pub use h1::ClientBody;
#[cfg(any(test, fuzzing))]
pub use h1::laws;
pub(super) use h1::{has_sound_escapes, is_authority};
#[cfg(any(test, fuzzing))]
pub use h3::laws as http3_laws;
pub use limits::WireLimits;
pub(crate) use listener::{LOOKUP_TIMEOUT, listen_unix};
pub use protocols::{Protocols, UnknownProtocol};
pub use wire::Wire;
pub(super) use wrappers::Wrappers;
