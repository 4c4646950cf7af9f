//! What clients are told whose requests are none. The texts are what Go's server says, word for word,
//! because scripts look at them.

use http::StatusCode;

/// Why a request is refused before it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    BadRequest,
    HeaderName,
    MissingHost,
    MalformedHost,
    TransferCoding,
    Version,
    TooLarge,
    TargetTooLong,
}

impl Refusal {
    /// The status and body of the answer.
    pub(super) fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "400 Bad Request"),
            Self::HeaderName => (StatusCode::BAD_REQUEST, "400 Bad Request: invalid header name"),
            Self::MissingHost => (StatusCode::BAD_REQUEST, "400 Bad Request: missing required Host header"),
            Self::MalformedHost => (StatusCode::BAD_REQUEST, "400 Bad Request: malformed Host header"),
            Self::TransferCoding => (StatusCode::NOT_IMPLEMENTED, "Unsupported transfer encoding"),
            Self::Version => (
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "505 HTTP Version Not Supported: unsupported protocol version",
            ),
            Self::TooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "431 Request Header Fields Too Large")
            }
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, "414 Request URI Too Long"),
        }
    }
}
