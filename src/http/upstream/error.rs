//! Why an upstream gave no answer.

use std::borrow::Cow;
use std::io;

use crate::http::{BodyError, BodyTooLarge};

/// A failed attempt at an upstream. It knows whether trying another one is safe.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct UpstreamError {
    /// What went wrong.
    #[source]
    pub kind: UpstreamErrorKind,
    /// Whether a byte of the request may have reached the upstream. If not, any request may be
    /// sent again; if so, only one that has no effect.
    pub reached: bool,
}

/// What went wrong with an upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamErrorKind {
    /// No connection came about.
    #[error("dial {address}: {}", told(.source))]
    Dial {
        /// The network and the address that were dialled.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake with {address}: {source}")]
    Handshake {
        /// The address that was dialled.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Nothing came within the time that the configuration grants.
    #[error("{0} timed out")]
    Timeout(&'static str),
    /// The connection ended before the answer's head was complete.
    #[error("upstream closed the connection before it answered")]
    Closed,
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came is no HTTP answer, or one whose length is in doubt.
    #[error("bad answer from upstream: {0}")]
    BadAnswer(&'static str),
    /// The client's body broke off.
    #[error("{}", body_told(.0))]
    RequestBody(#[source] BodyError),
    /// The HTTP/2 session failed.
    #[error("HTTP/2 upstream: {0}")]
    Http2(String),
}

/// Why a connection did not come about, in the words that Go's users look for in logs.
fn told(error: &io::Error) -> Cow<'_, str> {
    let words = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused",
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer",
        io::ErrorKind::HostUnreachable => "connect: no route to host",
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable",
        io::ErrorKind::NotFound => "connect: no such file or directory",
        io::ErrorKind::PermissionDenied => "connect: permission denied",
        io::ErrorKind::TimedOut => "i/o timeout",
        _ => return Cow::Owned(error.to_string()),
    };
    Cow::Borrowed(words)
}

/// Why the client's body could not be sent. One that is too long has broken off on our side.
fn body_told(error: &BodyError) -> String {
    if error.is::<BodyTooLarge>() { error.to_string() } else { format!("reading request body: {error}") }
}

impl UpstreamErrorKind {
    /// All was sent, and no answer began in time.
    pub(super) const HEAD_LATE: Self = Self::Timeout("waiting for the answer's head");
}

impl UpstreamError {
    /// An error before any byte of the request was sent.
    pub(super) fn unsent(kind: impl Into<UpstreamErrorKind>) -> Self {
        Self { kind: kind.into(), reached: false }
    }

    /// An error after some of the request may have arrived.
    pub(super) fn sent(kind: impl Into<UpstreamErrorKind>) -> Self {
        Self { kind: kind.into(), reached: true }
    }
}
