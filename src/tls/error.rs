//! What can be wrong with a TLS configuration, found while it is provisioned.

use std::io;
use std::path::PathBuf;

use crate::config::ModuleError;

/// Why a TLS configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Something was said that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A module's JSON does not fit.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A file or folder can't be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or folder can't be written.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in a storage can't be had, or changed.
    #[error("storage: {key}: {problem}")]
    Storage {
        /// Under which key.
        key: String,
        /// Why.
        problem: String,
    },
    /// Another instance holds a lock.
    #[error("another instance holds the lock '{0}'")]
    Locked(String),
    /// The work was given up, since the process ends.
    #[error("it broke off")]
    BrokeOff,
    /// A certificate or key is not what it should be.
    #[error("{origin}: {problem}")]
    Certificate {
        /// The file that it came from, or where else.
        origin: String,
        /// What is wrong.
        problem: String,
    },
    /// rustls refuses the configuration.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
    /// Making a certificate failed.
    #[error("making a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// Nothing says who issues a name's certificate.
    #[error("no automation policy says who issues a certificate for {name}")]
    NoIssuer {
        /// The name.
        name: String,
    },
    /// Something inside something.
    #[error("{at}: {source}")]
    At {
        /// Where.
        at: String,
        /// What.
        source: Box<TlsError>,
    },
}

impl TlsError {
    /// The same error with the place that it arose at.
    pub fn at(self, at: impl Into<String>) -> Self {
        Self::At { at: at.into(), source: Box::new(self) }
    }

    /// The error that there is no module of this name.
    pub fn unknown_module(namespace: &str, name: &str) -> Self {
        let id = format!("{namespace}.{name}");
        Self::Invalid(format!("getting module named '{id}': module not registered: {id}"))
    }

    /// An error about a certificate from `origin`.
    pub(super) fn certificate(origin: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self::Certificate { origin: origin.into(), problem: problem.to_string() }
    }
}
