//! `/pki/ca/ID`: the certificate authorities of our own, and their certificates.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::ApiError;
use super::api::{self, Answer};
use crate::app::Instance;
use crate::tls::{self, Authority, FileStorage, TlsError};

const PEM_CHAIN: HeaderValue = HeaderValue::from_static("application/pem-certificate-chain");

/// Answers a request to a path below `/pki/`.
pub(super) async fn answer(
    instance: &Arc<Instance>,
    path: &str,
    method: &Method,
) -> Result<Answer, ApiError> {
    let parts: Vec<&str> = path.trim_start_matches("/pki/").split('/').collect();
    let (id, wants_chain) = match parts.as_slice() {
        ["ca", id] if !id.is_empty() => (*id, false),
        ["ca", id, "certificates"] if !id.is_empty() => (*id, true),
        _ => return Err(ApiError::new(StatusCode::NOT_FOUND, format!("resource not found: {path}"))),
    };
    if method != Method::GET {
        return Err(ApiError::method_not_allowed(method));
    }
    let authority = authority(instance, id).await?;
    if wants_chain {
        let chain = authority.intermediate_pem() + &authority.root_pem();
        let mut answer = Response::new(Full::from(chain));
        answer.headers_mut().insert(CONTENT_TYPE, PEM_CHAIN);
        return Ok(answer);
    }
    let (root_name, intermediate_name) = authority.common_names();
    let info = json!({
        "id": authority.id(),
        "name": authority.name(),
        "root_common_name": root_name,
        "intermediate_common_name": intermediate_name,
        "root_certificate": authority.root_pem(),
        "intermediate_certificate": authority.intermediate_pem(),
    });
    Ok(api::json(info.to_string()))
}

/// The authority of that id. The default one is made if it isn't there yet: whoever asks for it most
/// likely is about to trust it, and to use it then.
async fn authority(instance: &Arc<Instance>, id: &str) -> Result<Arc<Authority>, ApiError> {
    let (tls, id, modules) = (instance.tls(), id.to_owned(), instance.registry().tls.clone());
    let found = tokio::task::spawn_blocking(move || match tls {
        Some(tls) => tls.authorities().get(&id),
        None => {
            let storage = Arc::new(FileStorage::standard());
            tls::App::provision(None, None, storage, &modules)?.authorities().get(&id)
        }
    });
    match found.await {
        Ok(Ok(authority)) => Ok(authority),
        Ok(Err(error @ TlsError::Invalid(_))) => Err(ApiError::new(StatusCode::NOT_FOUND, error)),
        Ok(Err(error)) => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error)),
        Err(error) => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error)),
    }
}
