//! `{http.request.body}`: the whole body is read before whatever asks for it.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

use super::{Body, BodyTooLarge, Exchange, Handler, HandlerError, Outcome, Step};

/// A body that a placeholder asks for may have this many bytes.
const BYTES_MAX: usize = 10 * 1024 * 1024;

/// How each placeholder for the body begins.
const PLACEHOLDER: &str = "{http.request.body";

/// Whether a placeholder in the configuration of a matcher or handler asks for the body. Routes
/// inside it are looked at on their own.
pub(super) fn is_asked_for(json: &Value) -> bool {
    match json {
        Value::String(text) => text.contains(PLACEHOLDER),
        Value::Array(items) => items.iter().any(is_asked_for),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains(PLACEHOLDER) || (name != "routes" && is_asked_for(value))),
        _ => false,
    }
}

/// Reads the body and keeps it. Provisioning puts it before what asks for the body, so that nothing
/// else has to wait for one.
pub(super) struct KeepBody;

impl Handler for KeepBody {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        if x.has_kept_body() {
            return Step::Now(Outcome::Next);
        }
        if x.body.is_empty() {
            x.keep_body(Bytes::new());
            return Step::Now(Outcome::Next);
        }
        Step::Later(Box::pin(async {
            let body = std::mem::take(&mut x.body);
            match read(body).await {
                Ok(body) => {
                    x.keep_body(body);
                    Outcome::Next
                }
                Err(error) => Outcome::Fail(error),
            }
        }))
    }
}

async fn read(body: Body) -> Result<Bytes, HandlerError> {
    let error = match Limited::new(body, BYTES_MAX).collect().await {
        Ok(body) => return Ok(body.to_bytes()),
        Err(error) => error,
    };
    let too_large = error.is::<LengthLimitError>() || error.is::<BodyTooLarge>();
    let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
    Err(HandlerError::new(status, error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn routes_inside_ask_for_themselves() {
        assert!(is_asked_for(&json!({"body": "got {http.request.body}"})));
        assert!(is_asked_for(&json!({"vars": {"{http.request.body_base64}": ["x"]}})));
        assert!(!is_asked_for(&json!({"routes": [{"handle": [{"body": "{http.request.body}"}]}], "n": 1})));
        assert!(!is_asked_for(&json!({"errors": {"routes": ["{http.request.body}"]}, "body": "{body}"})));
    }

    fn handle(body: Body) -> (bool, Exchange) {
        let mut x = Exchange::for_test(http::Request::new(body));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let passed = runtime.block_on(async {
            match KeepBody.handle(&mut x) {
                Step::Now(outcome) => matches!(outcome, Outcome::Next),
                Step::Later(future) => matches!(future.await, Outcome::Next),
            }
        });
        (passed, x)
    }

    #[test]
    fn the_body_can_still_be_read() {
        let (passed, x) = handle(Body::from("hello"));
        assert!(passed);
        assert_eq!(x.kept_body(), b"hello");
        assert!(matches!(&x.body, Body::Full(body) if body == "hello"));
        let (passed, x) = handle(Body::Empty);
        assert!(passed && x.has_kept_body() && x.kept_body().is_empty());
    }

    #[test]
    fn a_body_that_is_too_long_is_refused() {
        assert!(handle(Body::from(vec![0; BYTES_MAX])).0);
        assert!(!handle(Body::from(vec![0; BYTES_MAX + 1])).0);
    }
}
