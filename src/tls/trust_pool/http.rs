//! Certificates that a service answers with, fetched when a configuration is loaded.

use std::time::Duration;

use http::Uri;
use rustls::pki_types::{CertificateDer, ServerName};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::certificate::chain_from_pem;
use super::super::client::{Trust, own_client_config};
use super::super::placeholder::expand;
use super::super::{TlsError, TrustPool};
use super::Sources;
use crate::config::schema;
use crate::config::subject::is_internal;
use crate::config::{self, ModuleJson};
use crate::fetch::{Client, Proxies};

/// Each service must have answered within this time, unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HttpJson {
    endpoints: Vec<String>,
    tls: Option<TlsJson>,
}

/// How TLS is spoken with the service.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct TlsJson {
    #[schemars(with = "Option<schema::CaPool>")]
    ca: Option<ModuleJson>,
    insecure_skip_verify: bool,
    handshake_timeout: config::Duration,
    server_name: String,
    renegotiation: String,
}

/// What all these services answer with. It waits for them, so it must not run on a worker.
pub(super) fn fetch(json: HttpJson, sources: Sources<'_>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let tls = json.tls.unwrap_or_default();
    if !matches!(tls.renegotiation.as_str(), "" | "never") {
        return Err(TlsError::Invalid("renegotiation other than never is not supported".into()));
    }
    let timeout = tls.handshake_timeout.positive().unwrap_or(TIMEOUT);
    let pool = tls.ca.as_ref().map(|ca| TrustPool::load(ca, sources)).transpose()?;
    let server_name = match expand(&tls.server_name) {
        name if name.is_empty() => None,
        name => Some(
            ServerName::try_from(name.to_string())
                .map_err(|error| TlsError::Invalid(format!("server_name {name}: {error}")))?,
        ),
    };
    let trust = match &pool {
        _ if tls.insecure_skip_verify => Trust::Anybody,
        Some(pool) => Trust::Pool(pool),
        None => Trust::System,
    };
    let mut addresses = Vec::with_capacity(json.endpoints.len());
    for endpoint in &json.endpoints {
        addresses.push(checked(&expand(endpoint))?);
    }
    let is_secret = addresses.iter().any(|address| address.starts_with("https"));
    let trust = if is_secret { trust } else { Trust::Anybody };
    // What is asked without TLS is nearby, and no proxy is to choose whom is trusted.
    let is_all_secret = addresses.iter().all(|address| address.starts_with("https"));
    let proxies = if is_all_secret { Proxies::Environment } else { Proxies::Direct };
    let client = Client::named(proxies, own_client_config(trust)?, server_name);
    let client = client.with_timeout(timeout);
    // On a thread of its own, wherever this one has come from: it may be part of a runtime already.
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| fetch_all(&client, &addresses));
        fetching.join().unwrap_or(Err(TlsError::BrokeOff))
    })
}

/// An address, unless others on the way to it could choose whom is trusted.
fn checked(address: &str) -> Result<String, TlsError> {
    let wrong = |problem: &str| TlsError::Invalid(format!("endpoint {address}: {problem}"));
    let uri: Uri = address.parse().map_err(|error| wrong(&format!("{error}")))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => Ok(uri.to_string()),
        (Some("http"), Some(host)) if is_internal(host) => Ok(uri.to_string()),
        (Some("http"), Some(_)) => Err(wrong("whom to trust is not asked without TLS, except nearby")),
        _ => Err(wrong("it is no URL of HTTP")),
    }
}

fn fetch_all(client: &Client, addresses: &[String]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| TlsError::Invalid(format!("fetching certificates: {error}")))?;
    let mut all = Vec::new();
    for address in addresses {
        let failed = |problem: String| TlsError::Invalid(format!("fetching {address}: {problem}"));
        let answer = runtime.block_on(client.get(address)).map_err(|error| failed(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(failed(format!("HTTP {}", answer.status().as_u16())));
        }
        all.extend(chain_from_pem(answer.body(), address)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::ocsp::testing::Responder;
    use super::super::super::storage::StorageTypes;
    use super::super::super::{Authorities, FileStorage};
    use super::*;

    fn pool(json: serde_json::Value) -> Result<TrustPool, String> {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::shared(folder.path());
        let storages = StorageTypes::new();
        let authorities = Authorities::provision(None, &storage, &storages).unwrap();
        let sources = Sources { authorities: &authorities, storage: &storage, storages: &storages };
        let json = serde_json::from_value(json).unwrap();
        TrustPool::load(&json, sources).map_err(|error| error.to_string())
    }

    #[test]
    fn what_services_answer_with_is_trusted() {
        let pem = |name: &str| super::super::super::certificate::testing::pem(&[name]).0;
        let bundle = pem("a.test") + &pem("b.test");
        let first = Responder::start(move |_| bundle.clone().into_bytes());
        let other = pem("c.test");
        let second = Responder::start(move |_| other.clone().into_bytes());
        let url = |of: &Responder| format!("{}/ca.pem", of.url());
        let pool = pool(json!({"provider": "http", "endpoints": [url(&first), url(&second)]})).unwrap();
        assert_eq!(pool.certificates.len(), 3);
        // Also where a runtime is at work already.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let again =
            json!({"provider": "http", "endpoints": [url(&first)], "tls": {"renegotiation": "never"}});
        assert_eq!(runtime.block_on(async { super::tests::pool(again) }).unwrap().certificates.len(), 2);
    }

    #[test]
    fn what_is_no_pool_refuses_to_load() {
        let nonsense = Responder::start(|_| b"<html>".to_vec());
        for (json, problem) in [
            (json!({"endpoints": [nonsense.url()]}), "no CERTIFICATE pem block"),
            (json!({"endpoints": ["http://127.0.0.1:1/"]}), "fetching http://127.0.0.1:1/"),
            (json!({"endpoints": ["http://ca.example.com/ca.pem"]}), "not asked without TLS"),
            (json!({"endpoints": ["ca.pem"]}), "no URL of HTTP"),
            (json!({"endpoints": []}), "no certificates specified"),
            (json!({"tls": {"renegotiation": "once"}}), "renegotiation"),
            (json!({"tls": {"ca": {"provider": "warp"}}}), "tls.ca_pool.source.warp"),
            (json!({"tls": {"server_name": "not a name"}}), "server_name"),
        ] {
            let mut json = json;
            json["provider"] = "http".into();
            let error = pool(json).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
