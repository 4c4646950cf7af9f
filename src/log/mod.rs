//! Logs: who says something, who listens, in which form and where to.
//!
//! ```text
//! Logger --entry--> Log (level, sampling) --Encoder--> bytes --Outlet--> queue | thread: Output
//! ```
//!
//! A [`Logger`] has a name and knows from the start which logs listen to it. An entry is encoded where
//! it happens, without a copy of its fields, and queued; a thread for each output writes it. So nothing
//! here knows HTTP, nothing here waits on a worker, and nothing is unbounded: what a stuck output can't
//! take is dropped and counted.

mod backups;
mod encode;
mod entry;
mod error;
mod file;
pub mod global;
mod go_time;
mod level;
mod logger;
mod modules;
mod net;
mod outlet;
mod process;
mod rules;
mod sampler;
mod stream;

pub use backups::{Backups, Compression, TIME_LAYOUT_DEFAULT};
pub use encode::{Console, Encoder, EncoderOptions, Json};
pub use entry::{Entry, Fields, OwnedEntry, OwnedValue, Value, Visitor};
pub use error::LogError;
pub use file::{DirMode, FileOptions, LogFile, RollOptions};
pub use go_time::Layout;
pub use level::{Level, UnknownLevel};
pub use logger::{Logger, Logging};
pub use modules::{EncoderContext, EncoderType, FieldFilter, FilterType, Modules, WriterType};
pub use net::{NetOptions, NetOutput};
pub use outlet::{Batch, Destination, Outlet, Output, QUEUE_BYTES_MAX, flush};
pub use process::{activate, current, hold, install, release};
pub use rules::Rules;
pub use stream::{stderr, stdout};
