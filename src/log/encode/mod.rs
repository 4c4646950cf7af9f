//! Entries to bytes. An encoder never waits and never fails: it only appends.

mod console;
mod json;
mod number;
mod options;

pub use console::Console;
pub use json::Json;
pub use options::EncoderOptions;

use super::Entry;

/// Turns entries into bytes. It is built once per load and shared by all workers.
pub trait Encoder: Send + Sync {
    /// Appends one entry, with its line's end, to `out`.
    fn encode(&self, entry: &Entry<'_>, out: &mut Vec<u8>);
}
