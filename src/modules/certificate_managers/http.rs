//! `http`: a service that answers with a certificate and its key.

use std::fmt::LowerHex;
use std::sync::Arc;

use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{NAMESPACE, with_query};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::ModuleJson;
use crate::config::schema::ModuleSchema;
use crate::fetch::Client;
use crate::module::Module;
use crate::tls::issuance::IssuerContext;
use crate::tls::on_demand::{Answer, CertificateManager, Hello, MANAGER_TAG, ManagerType};
use crate::tls::{Certificate, TlsError, expand};

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: "http", syntax: "http <url>", parse }],
    manager: Some(ManagerType { id: "http", provision }),
    schemas: &[ModuleSchema::of::<Settings>("tls.get_certificate", "http")],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let [url] = cursor.last_args()?;
    if cursor.next_block(0) {
        return Err(cursor.err("block not allowed here"));
    }
    Ok(json!({ "url": url }))
}

/// The JSON form.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    url: String,
}

/// Asks a service.
#[derive(Debug)]
struct ByHttp {
    url: String,
    client: Client,
}

fn provision(
    json: &ModuleJson,
    context: &IssuerContext<'_>,
) -> Result<Arc<dyn CertificateManager>, TlsError> {
    let Settings { url } = json.decode(MANAGER_TAG)?;
    if url.is_empty() {
        return Err(TlsError::Invalid("URL is required".into()));
    }
    let url = expand(&url).into_owned();
    with_query(&url, &[]).map_err(TlsError::Invalid)?;
    let client = Client::to(&url, || context.client_config(&[]))?;
    Ok(Arc::new(ByHttp { url, client }))
}

impl CertificateManager for ByHttp {
    fn certificate<'a>(&'a self, hello: &'a Hello) -> Answer<'a, Result<Option<Arc<Certificate>>, String>> {
        Box::pin(async move {
            let (schemes, suites) = (list(&hello.signature_schemes), list(&hello.cipher_suites));
            let local = hello.local.map(|local| local.to_string());
            let mut query = vec![
                ("server_name", hello.server_name.as_str()),
                ("signature_schemes", &schemes),
                ("cipher_suites", &suites),
            ];
            query.extend(local.as_deref().map(|local| ("local_ip", local)));
            let address = with_query(&self.url, &query)?;
            let answer = self.client.get(&address).await.map_err(|error| error.to_string())?;
            match answer.status() {
                // Such handshakes are not its business.
                StatusCode::NO_CONTENT => return Ok(None),
                StatusCode::OK => {}
                status => return Err(format!("got HTTP {}", status.as_u16())),
            }
            let (bundle, origin) = (answer.body(), self.url.as_str());
            let certificate = Certificate::from_pem(bundle, origin, bundle, origin, Vec::new());
            certificate.map(|certificate| Some(Arc::new(certificate))).map_err(|error| error.to_string())
        })
    }
}

/// Numbers in hexadecimal, as Caddy sends them.
fn list<T: LowerHex>(numbers: &[T]) -> String {
    numbers.iter().map(|number| format!("{number:x}")).collect::<Vec<_>>().join(",")
}
