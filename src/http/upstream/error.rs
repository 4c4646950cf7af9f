//! Why an upstream gave no answer.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;

use super::Dial;
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
    #[error("{}", dial_told(.address, .source))]
    Dial {
        /// The network and the address that were dialled.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake with {address}: {}", handshake_told(.source))]
    Handshake {
        /// The address that was dialled.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Nothing came within the time that the configuration grants.
    #[error("{0} timed out")]
    Timeout(&'static str),
    /// All was sent, and no answer began in time.
    #[error("net/http: timeout awaiting response headers")]
    HeadLate,
    /// The connection ended before anything of an answer came.
    #[error("EOF")]
    Closed,
    /// It ended within the answer's head.
    #[error("net/http: HTTP/1.x transport connection broken: unexpected EOF")]
    HeadCut,
    /// It ended within the answer's body.
    #[error("unexpected EOF")]
    BodyCut,
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

/// A name that was not found, or not looked up.
#[derive(Debug, thiserror::Error)]
#[error("lookup {host}: {}", lookup_told(.host, .source))]
struct LookupError {
    host: String,
    source: io::Error,
}

/// Says of a failure that it was in looking up a name.
pub(super) fn in_lookup(host: &str, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), LookupError { host: host.to_owned(), source })
}

/// Why a name was not found, without saying again which it was.
fn lookup_told(host: &str, error: &io::Error) -> String {
    let text = error.to_string();
    let own = text.strip_prefix("looking up ").and_then(|rest| rest.strip_prefix(host)?.strip_prefix(": "));
    let systems = text.strip_prefix("failed to lookup address information: ");
    match own.or(systems).unwrap_or(&text) {
        "Name or service not known" | "No address associated with hostname" => "no such host".to_owned(),
        other => other.to_owned(),
    }
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

/// The same, with what was dialled.
fn dial_told(address: &str, error: &io::Error) -> String {
    match error.get_ref().and_then(|source| source.downcast_ref::<LookupError>()) {
        // There was nothing to dial yet.
        Some(lookup) => format!("dial tcp: {lookup}"),
        None => format!("dial {address}: {}", told(error)),
    }
}

/// Why a handshake failed.
fn handshake_told(error: &io::Error) -> Cow<'_, str> {
    if error.kind() == io::ErrorKind::UnexpectedEof { "EOF".into() } else { error.to_string().into() }
}

/// Why reading failed, on a connection from our `local` end, in the same words.
pub(super) fn read_told(local: Option<SocketAddr>, dial: &Dial, error: io::Error) -> io::Error {
    match (local, error.kind()) {
        (Some(local), io::ErrorKind::ConnectionReset) => {
            let text = format!("read tcp {local}->{dial}: read: connection reset by peer");
            io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}

/// Why the client's body could not be sent. One that is too long has broken off on our side.
fn body_told(error: &BodyError) -> String {
    if error.is::<BodyTooLarge>() { error.to_string() } else { format!("reading request body: {error}") }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_as_gos_users_know_them() {
        let dial =
            |source| UpstreamErrorKind::Dial { address: "tcp a.test:80".to_owned(), source }.to_string();
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(dial(refused), "dial tcp a.test:80: connect: connection refused");
        let systems = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(dial(in_lookup("a.test", systems)), "dial tcp: lookup a.test: no such host");
        let own = io::Error::new(io::ErrorKind::TimedOut, "looking up a.test: no answer");
        assert_eq!(dial(in_lookup("a.test", own)), "dial tcp: lookup a.test: no answer");
        let early = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        let early = UpstreamErrorKind::Handshake { address: "a.test:443".to_owned(), source: early };
        assert_eq!(early.to_string(), "TLS handshake with a.test:443: EOF");
        let dial = Dial::Tcp { host: "127.0.0.1".into(), port: 2 };
        let reset = |local| read_told(local, &dial, io::ErrorKind::ConnectionReset.into());
        let told = reset(Some(([127, 0, 0, 1], 1).into())).to_string();
        assert_eq!(told, "read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer");
        assert_eq!(reset(None).kind(), io::ErrorKind::ConnectionReset);
    }
}
