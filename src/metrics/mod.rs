//! Numbers that tell how the gateway is doing, and the text in which Prometheus reads them.
//!
//! Whatever counts keeps its own atomics and is a [`Collector`]: it is asked for them when somebody
//! looks. Nothing here takes a lock where requests pass.

mod histogram;
mod process;
mod snapshot;
mod text;

use std::sync::{Arc, Mutex, PoisonError};

pub use histogram::Histogram;
pub use process::{ADMIN, AdminRequests, loaded, not_loaded};
pub use snapshot::{Family, Kind, Snapshot};
pub use text::Format;

/// The methods that are told apart; any other is the last one.
pub const METHODS: [&str; 10] =
    ["GET", "HEAD", "PUT", "POST", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "OTHER"];

/// The method among [`METHODS`] that this one is counted as.
pub fn method(name: &str) -> &'static str {
    METHODS[method_place(name)]
}

/// The place of [`method`].
pub fn method_place(name: &str) -> usize {
    let other = METHODS.len() - 1;
    // Either all capitals or none, as in Caddy.
    let is_it = |known: &&str| name == *known || name == known.to_ascii_lowercase();
    METHODS[..other].iter().position(is_it).unwrap_or(other)
}

/// Something that counts.
pub trait Collector: Send + Sync {
    /// Adds what has been counted so far.
    fn collect(&self, into: &mut Snapshot);
}

/// All that counts in one configuration.
#[derive(Default)]
pub struct Registry(Mutex<Vec<Arc<dyn Collector>>>);

impl Registry {
    /// Adds something that counts.
    pub fn add(&self, collector: Arc<dyn Collector>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(collector);
    }

    /// What the configuration and the process have counted. It reads files under `/proc`, so it has no
    /// place on a worker.
    pub fn render(&self, format: Format) -> Vec<u8> {
        let collectors = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut snapshot = Snapshot::default();
        process::collect(&mut snapshot);
        for collector in &collectors {
            collector.collect(&mut snapshot);
        }
        text::render(&snapshot, format)
    }
}
