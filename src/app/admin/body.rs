//! Request bodies of the admin endpoint, read whole within bounds.

use std::time::Duration;

use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};

use super::ApiError;

/// A configuration may have this many bytes, as in Caddy.
const BODY_BYTES_MAX: usize = 100 * 1024 * 1024;
/// The whole body must come within this time, as in Caddy.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body to its end.
pub(super) async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    match whole {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("reading request body: it is larger than {BODY_BYTES_MAX} bytes"),
        )),
        Ok(Err(error)) => {
            Err(ApiError::new(StatusCode::BAD_REQUEST, format!("reading request body: {error}")))
        }
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "reading request body: it took too long")),
    }
}
