//! What the server says when it can't do what it is asked (RFC 8555 section 6.7).

use http::StatusCode;
use serde_json::{Value, json};

use crate::tls::TlsError;

const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// A kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    AccountDoesNotExist,
    AlreadyRevoked,
    BadCsr,
    BadNonce,
    BadPublicKey,
    BadRevocationReason,
    BadSignatureAlgorithm,
    Connection,
    Dns,
    Malformed,
    NotImplemented,
    OrderNotReady,
    RateLimited,
    RejectedIdentifier,
    ServerInternal,
    Tls,
    Unauthorized,
}

impl Kind {
    /// Its name, its status, and what it means for people.
    fn facts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::AccountDoesNotExist => ("accountDoesNotExist", S::BAD_REQUEST, "Account does not exist"),
            Self::AlreadyRevoked => ("alreadyRevoked", S::BAD_REQUEST, "Certificate already revoked"),
            Self::BadCsr => ("badCSR", S::BAD_REQUEST, "The CSR is unacceptable"),
            Self::BadNonce => ("badNonce", S::BAD_REQUEST, "Unacceptable anti-replay nonce"),
            Self::BadPublicKey => ("badPublicKey", S::BAD_REQUEST, "The key is not one that can be used"),
            Self::BadRevocationReason => {
                ("badRevocationReason", S::BAD_REQUEST, "The revocation reason is not allowed")
            }
            Self::BadSignatureAlgorithm => {
                ("badSignatureAlgorithm", S::BAD_REQUEST, "The signature's algorithm is not supported")
            }
            Self::Connection => ("connection", S::BAD_REQUEST, "Could not connect to the validation target"),
            Self::Dns => ("dns", S::BAD_REQUEST, "There was a problem with a DNS query"),
            Self::Malformed => ("malformed", S::BAD_REQUEST, "The request message was malformed"),
            // RFC 8555 has no name for it; this is what Caddy says.
            Self::NotImplemented => {
                ("rejectedIdentifier", S::NOT_IMPLEMENTED, "The requested operation is not implemented")
            }
            Self::OrderNotReady => {
                ("orderNotReady", S::BAD_REQUEST, "The order is not ready to be finalized")
            }
            Self::RateLimited => ("rateLimited", S::TOO_MANY_REQUESTS, "The request exceeds a limit"),
            Self::RejectedIdentifier => (
                "rejectedIdentifier",
                S::BAD_REQUEST,
                "The server will not issue certificates for the identifier",
            ),
            Self::ServerInternal => {
                ("serverInternal", S::INTERNAL_SERVER_ERROR, "The server experienced an internal error")
            }
            Self::Tls => ("tls", S::BAD_REQUEST, "There was a TLS error during validation"),
            Self::Unauthorized => {
                ("unauthorized", S::UNAUTHORIZED, "The client lacks sufficient authorization")
            }
        }
    }
}

/// Why a request, an order or a challenge came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.detail())]
pub(super) struct Problem {
    pub(super) kind: Kind,
    /// More for the client; empty if there is no more to say.
    why: String,
    /// The status, where it is not that of the kind.
    status: Option<StatusCode>,
}

/// So much is told of a problem.
const WHY_CHARS_MAX: usize = 256;

impl Problem {
    /// A problem, and what the client may know of it.
    pub(super) fn new(kind: Kind, why: impl Into<String>) -> Self {
        let mut why = why.into();
        // Some of it are strangers' words, which are kept for a while.
        if let Some((end, _)) = why.char_indices().nth(WHY_CHARS_MAX) {
            why.truncate(end);
        }
        Self { kind, why, status: None }
    }

    pub(super) fn malformed(why: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, why)
    }

    /// A failure of ours. The client learns no more than that; the rest is for the log.
    pub(super) fn internal(doing: &str, error: &TlsError) -> Self {
        tracing::error!(target: "http.handlers.acme_server", %error, "{doing} failed");
        Self::new(Kind::ServerInternal, "")
    }

    /// The same with another status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status.unwrap_or(self.kind.facts().1)
    }

    fn detail(&self) -> String {
        let (_, _, meaning) = self.kind.facts();
        if self.why.is_empty() { meaning.to_owned() } else { format!("{meaning}: {}", self.why) }
    }

    /// The document for the client (RFC 9457).
    pub(super) fn document(&self) -> Value {
        let mut document =
            json!({"type": format!("{NAMESPACE}{}", self.kind.facts().0), "detail": self.detail()});
        if self.kind == Kind::BadSignatureAlgorithm {
            // RFC 8555 section 6.2.
            document["algorithms"] = json!(super::jws::ALGORITHMS);
        }
        document
    }
}
