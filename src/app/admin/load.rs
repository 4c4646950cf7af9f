//! `/load` and `/adapt`: whole configurations.

use std::path::PathBuf;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, Request, StatusCode};
use hyper::body::{Bytes, Incoming};
use serde_json::json;

use super::api::{self, Answer};
use super::{ApiError, body, config};
use crate::app::adapter::{self, AdaptError, Adapted, CADDYFILE};
use crate::app::source::{self, Origin};
use crate::app::{Change, Instance};
use crate::config::to_go_json;

/// Fields by which `reload` says where its configuration comes from.
pub const SOURCE_FILE: &str = "caddy-config-source-file";
/// The adapter that belongs to [`SOURCE_FILE`].
pub const SOURCE_ADAPTER: &str = "caddy-config-source-adapter";

/// What a configuration is called in errors that came without a name.
const UNNAMED: &str = "Caddyfile";

/// Replaces the configuration. Warnings come back as JSON.
pub(super) async fn load(instance: &Arc<Instance>, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let (headers, text) = whole(request).await?;
    let Adapted { json: config, warnings, not_runnable } = adapted(instance, &headers, text).await?;
    if let Some(error) = not_runnable {
        return Err(bad(format!("loading config: {error}")));
    }
    let change = Change::whole(config, config::must_revalidate(&headers));
    instance.change(change).await.map_err(|error| bad(format!("loading config: {error}")))?;
    forget_origin(instance, &headers);
    tracing::info!(target: "admin.api", "load complete");
    Ok(if warnings.is_empty() { api::empty() } else { api::json(json!({"warnings": warnings}).to_string()) })
}

/// Adapts a configuration, and loads nothing.
pub(super) async fn adapt(instance: &Arc<Instance>, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let (headers, text) = whole(request).await?;
    let Adapted { json: config, warnings, .. } = adapted(instance, &headers, text).await?;
    let mut out = serde_json::Map::new();
    if !warnings.is_empty() {
        out.insert("warnings".to_owned(), json!(warnings));
    }
    out.insert("result".to_owned(), config);
    let out = to_go_json(&out).map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    Ok(api::json(out + "\n"))
}

/// SIGUSR1 reloads the file that the configuration came from, and must not undo a change that came from
/// elsewhere.
pub(super) fn forget_origin(instance: &Instance, headers: &HeaderMap) {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (file, adapter) = (said(SOURCE_FILE), said(SOURCE_ADAPTER));
    instance.keep_origin_if(&Origin { file: PathBuf::from(file), adapter: adapter.to_owned() });
}

async fn whole(request: Request<Incoming>) -> Result<(HeaderMap, Bytes), ApiError> {
    let (parts, incoming) = request.into_parts();
    if parts.method != Method::POST {
        return Err(ApiError::method_not_allowed(&parts.method));
    }
    Ok((parts.headers, body::read(incoming).await?))
}

/// The configuration in JSON. The content type names the adapter, as in `text/caddyfile`.
async fn adapted(instance: &Instance, headers: &HeaderMap, text: Bytes) -> Result<Adapted, ApiError> {
    let content_type = match headers.get(CONTENT_TYPE) {
        None => "application/json",
        Some(said) => said.to_str().map_err(|error| bad(format!("invalid Content-Type: {error}")))?,
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((_, name)) = media_type.split_once('/') else {
        return Err(bad("malformed Content-Type".to_owned()));
    };
    if name == "json" {
        let json =
            source::parse_json(&text).map_err(|error| bad(format!("decoding request body: {error}")))?;
        return Ok(Adapted { json, warnings: Vec::new(), not_runnable: None });
    }
    let (registry, name) = (instance.registry(), name.to_owned());
    // An import may read files.
    tokio::task::spawn_blocking(move || adapter::adapt(registry, &name, UNNAMED, &text))
        .await
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error))?
        .map_err(|error| {
            bad(match error {
                // Caddy's API has one word more than its command line.
                AdaptError::Caddyfile(error) => format!("adapting config using {CADDYFILE} adapter: {error}"),
                other => other.to_string(),
            })
        })
}

fn bad(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, message)
}
