//! Why logs can't be set up.

use std::io;

use super::UnknownLevel;
use crate::config::ModuleError;

/// Why logs can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The JSON of a module does not fit.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A module that does not exist, or not here.
    #[error("getting module named '{namespace}.{name}': module not registered: {namespace}.{name}")]
    Unknown {
        /// `caddy.logging.writers` for instance.
        namespace: &'static str,
        /// The module's name.
        name: String,
    },
    /// An output can't be opened.
    #[error("opening log writer {name}: {source}")]
    Open {
        /// What people call it.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// A level that there isn't.
    #[error(transparent)]
    Level(#[from] UnknownLevel),
    /// Anything else that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// An error in one of the logs.
    #[error("{place}: {source}")]
    At {
        /// Which one.
        place: String,
        /// What is wrong there.
        source: Box<LogError>,
    },
}

impl LogError {
    /// A module's own complaint.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// The same error, seen from one level up.
    pub fn at(self, place: impl Into<String>) -> Self {
        Self::At { place: place.into(), source: Box::new(self) }
    }
}
