//! `http`: a service that is asked by HTTP. It says yes by a status of 200 to 299.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::ModuleJson;
use crate::config::schema::ModuleSchema;
use crate::fetch::Client;
use crate::module::Module;
use crate::modules::certificate_managers::with_query;
use crate::tls::issuance::IssuerContext;
use crate::tls::on_demand::{Answer, Denied, PERMISSION_TAG, Permission, PermissionType};
use crate::tls::{TlsError, expand};

/// The service must answer within this time, as in Caddy.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: "tls.permission", name: "http", syntax: "http <url>", parse }],
    permission: Some(PermissionType { id: "http", provision }),
    schemas: &[ModuleSchema::of::<Settings>("tls.permission", "http")],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    reader.cursor.next();
    let [endpoint] = reader.cursor.all_args()?;
    Ok(json!({ "endpoint": endpoint }))
}

/// The JSON form.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    endpoint: String,
}

/// Asks a service.
#[derive(Debug)]
struct ByHttp {
    endpoint: String,
    client: Client,
}

fn provision(json: &ModuleJson, context: &IssuerContext<'_>) -> Result<Arc<dyn Permission>, TlsError> {
    let Settings { endpoint } = json.decode(PERMISSION_TAG)?;
    let endpoint = expand(&endpoint).into_owned();
    with_query(&endpoint, &[]).map_err(TlsError::Invalid)?;
    let client = Client::to(&endpoint, || context.client_config(&[]))?.with_timeout(TIMEOUT);
    Ok(Arc::new(ByHttp { endpoint, client }))
}

impl Permission for ByHttp {
    fn ask<'a>(&'a self, name: &'a str) -> Answer<'a, Result<(), Denied>> {
        Box::pin(async move {
            let endpoint = &self.endpoint;
            let address = with_query(endpoint, &[("domain", name)]).map_err(Denied::Failed)?;
            match self.client.get(&address).await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    Err(Denied::Refused(format!("{name}: {endpoint} - non-2xx status code {status}")))
                }
                Err(error) => Err(Denied::Failed(format!(
                    "checking {endpoint} to determine if certificate for hostname '{name}' should be allowed: {error}"
                ))),
            }
        })
    }
}
