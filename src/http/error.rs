//! What a handler says when it can't go on.

use http::StatusCode;

/// What logs and metrics say of a request whose client has left before there was an answer.
pub(super) const CLIENT_LEFT: u16 = 499;

/// An error with the status that it means for the client, as Caddy's `HandlerError`.
///
/// It travels to the nearest error routes; without any it becomes an answer with its status and no
/// body, in `routes::run` and nowhere else.
#[derive(Debug, thiserror::Error)]
#[error("HTTP {}: {source}", status.as_u16())]
pub struct HandlerError {
    /// The status for the client.
    pub status: StatusCode,
    /// A short random id by which a log line can be found (`{err.id}`); made when first asked for.
    id: std::sync::OnceLock<String>,
    /// The cause, for logs and `{err.message}`.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl HandlerError {
    /// An error that means `status` to the client.
    pub fn new(status: StatusCode, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { status, id: std::sync::OnceLock::new(), source: source.into() }
    }

    /// 500, for what should not have happened.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, source)
    }

    /// The message without status or id (`{err.message}`).
    pub fn message(&self) -> String {
        self.source.to_string()
    }

    /// The error's id: nine lower-case letters and digits, none of which look alike. It names a log
    /// line and is no secret.
    pub fn id(&self) -> &str {
        self.id.get_or_init(|| {
            const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
            let mut random = [0_u8; 9];
            // Without a random source the id is all `a`: it is only a label.
            let _ = getrandom::fill(&mut random);
            random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
        })
    }
}
