//! `/config/...` and `/id/...`: the configuration in force, read and edited.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;

use super::api::{Answer, empty, json};
use super::{ApiError, body, load};
use crate::app::config_tree::{Edit, TreeError};
use crate::app::{Change, ChangeError, Instance, source};

/// Answers a request for the path `path` of the configuration.
pub(super) async fn answer(
    instance: &Arc<Instance>,
    path: String,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    let (parts, incoming) = request.into_parts();
    let (method, headers) = (parts.method, parts.headers);
    if method == Method::GET {
        return get(instance, &path).await;
    }
    if !matches!(method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
        return Err(ApiError::method_not_allowed(&method));
    }
    let edit = if method == Method::DELETE {
        Edit::Remove
    } else {
        let value = value(&headers, incoming).await?;
        match method {
            Method::POST => Edit::Put(value),
            Method::PUT => Edit::Insert(value),
            _ => Edit::Replace(value),
        }
    };
    let if_match = headers.get(IF_MATCH).map(|tag| tag.to_str().unwrap_or_default().to_owned());
    let change = Change { path, edit, if_match, force: must_revalidate(&headers) };
    instance.change(change).await?;
    load::forget_origin(instance, &headers);
    Ok(empty())
}

/// Answers a request for `NAME/...`, where an object has that name.
pub(super) async fn by_id(
    instance: &Arc<Instance>,
    rest: &str,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    let (id, below) = rest.split_once('/').unwrap_or((rest, ""));
    if id.is_empty() {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "request path is missing object ID"));
    }
    let Some(mut path) = instance.path_of_id(id).await else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("unknown object ID '{id}'")));
    };
    if !below.is_empty() {
        path = format!("{path}/{below}");
    }
    answer(instance, path, request).await
}

async fn get(instance: &Instance, path: &str) -> Result<Answer, ApiError> {
    let bad = |error: TreeError| ApiError::new(StatusCode::BAD_REQUEST, error);
    let (text, etag) = instance.read(path).await.map_err(bad)?;
    let mut answer = json(format!("{text}\n"));
    // A path with control characters in it has no tag.
    if let Ok(etag) = HeaderValue::try_from(etag) {
        answer.headers_mut().insert(ETAG, etag);
    }
    Ok(answer)
}

/// The value that a request brings.
async fn value(headers: &HeaderMap, incoming: Incoming) -> Result<Value, ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.contains("/json") {
        let message = format!("unacceptable content-type: {content_type}; 'application/json' required");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    }
    let text = body::read(incoming).await?;
    source::parse_json(&text).map_err(|error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("decoding request body: {error}"))
    })
}

/// Whether a change is to be made even if it changes nothing.
pub(super) fn must_revalidate(headers: &HeaderMap) -> bool {
    headers.get(CACHE_CONTROL).is_some_and(|value| value == "must-revalidate")
}

/// The statuses are Caddy's, in which many a refusal is a 500.
impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let status = match &error {
            ChangeError::MalformedIfMatch(_) => StatusCode::BAD_REQUEST,
            ChangeError::IfMatchDiffers => StatusCode::PRECONDITION_FAILED,
            ChangeError::Tree(TreeError::Exists { .. }) => StatusCode::CONFLICT,
            ChangeError::Tree(TreeError::Missing { .. }) => StatusCode::NOT_FOUND,
            ChangeError::Tree(TreeError::OddId(_) | TreeError::DuplicateId { .. }) => StatusCode::BAD_REQUEST,
            ChangeError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            ChangeError::Tree(_) | ChangeError::Load(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error)
    }
}
