//! Requests to their endpoints, and answers to clients.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HOST, LOCATION,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::access::Access;
use super::{ApiError, config, load, pki};
use crate::app::Instance;
use crate::metrics::{self, Format};
use crate::modules::handlers::{HostStatus, upstream_statuses};

/// An answer, whole.
pub(super) type Answer = Response<Full<Bytes>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers one request.
pub(super) async fn answer(
    instance: Arc<Instance>,
    access: Arc<Access>,
    peer: String,
    request: Request<Incoming>,
) -> Answer {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    tracing::info!(target: "admin.api", %method, host, %uri, remote = peer, "received request");
    match checked(&instance, &access, request).await {
        Ok(answer) => answer,
        Err(error) => refusal(&error),
    }
}

async fn checked(
    instance: &Arc<Instance>,
    access: &Access,
    mut request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    // A target with a host in it beats the Host field (RFC 9112 section 3.2.2).
    let authority = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(authority)) = authority {
        request.headers_mut().insert(HOST, authority);
    }
    let origin = access.check(request.headers())?;
    let is_preflight = request.method() == Method::OPTIONS;
    let counted =
        endpoint(request.uri().path()).map(|endpoint| (endpoint, metrics::method(request.method().as_str())));
    let mut answer = match route(instance, request).await {
        Ok(answer) => answer,
        Err(error) => refusal(&error),
    };
    if let Some((endpoint, method)) = counted {
        metrics::ADMIN.count(endpoint, method, answer.status().as_u16());
    }
    if let Some(origin) = origin {
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if is_preflight {
            let methods = HeaderValue::from_static("OPTIONS, GET, POST, PUT, PATCH, DELETE");
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            let fields = HeaderValue::from_static("Content-Type, Content-Length, Cache-Control");
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, fields);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
    Ok(answer)
}

async fn route(instance: &Arc<Instance>, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
    match path.as_str() {
        "/load" => load::load(instance, request).await,
        "/adapt" => load::adapt(instance, request).await,
        "/stop" => stop(instance, request.method()).await,
        "/reverse_proxy/upstreams" => upstreams(request.method()),
        "/metrics" => metrics_text(instance).await,
        "/config" => {
            let mut answer = empty();
            *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/config/"));
            Ok(answer)
        }
        _ if path.starts_with("/config/") => config::answer(instance, path, request).await,
        _ if path.starts_with("/pki/") => pki::answer(instance, &path, request.method()).await,
        _ => match path.strip_prefix("/id/") {
            Some(rest) => config::by_id(instance, rest, request).await,
            None => Err(ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))),
        },
    }
}

/// The name by which requests to this path are counted; those that lead nowhere are not.
fn endpoint(path: &str) -> Option<&'static str> {
    let exact = ["/load", "/adapt", "/stop", "/reverse_proxy/upstreams", "/metrics"];
    let below = ["/config/", "/pki/", "/id/"];
    exact
        .into_iter()
        .find(|name| path == *name)
        .or_else(|| below.into_iter().find(|name| path.starts_with(name)))
}

/// What has been counted. As in Caddy never in the format of OpenMetrics.
async fn metrics_text(instance: &Arc<Instance>) -> Result<Answer, ApiError> {
    let registry = instance.metrics();
    let text = tokio::task::spawn_blocking(move || registry.render(Format::Prometheus)).await;
    let text = text.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    let content_type = HeaderValue::from_static(Format::Prometheus.content_type());
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(answer)
}

/// The upstreams of the configuration: requests in flight, and failures that still count.
fn upstreams(method: &Method) -> Result<Answer, ApiError> {
    if method != Method::GET {
        return Err(ApiError::method_not_allowed(method));
    }
    let upstreams: Vec<Value> = upstream_statuses()
        .into_iter()
        .map(|HostStatus { address, in_flight, failures }| {
            json!({"address": address, "num_requests": in_flight, "fails": failures})
        })
        .collect();
    Ok(json(format!("{}\n", Value::Array(upstreams))))
}

/// Ends the instance. The answer comes once all requests to the sites are done.
async fn stop(instance: &Arc<Instance>, method: &Method) -> Result<Answer, ApiError> {
    if method != Method::POST {
        return Err(ApiError::method_not_allowed(method));
    }
    instance.quit().await;
    Ok(empty())
}

/// 200 without a body.
pub(super) fn empty() -> Answer {
    Response::new(Full::default())
}

/// 200 with JSON.
pub(super) fn json(body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

fn refusal(error: &ApiError) -> Answer {
    let status_code = error.status.as_u16();
    tracing::error!(target: "admin.api", error = error.message, status_code, "request error");
    let mut answer = json(format!("{}\n", json!({"error": error.message})));
    *answer.status_mut() = error.status;
    answer
}
