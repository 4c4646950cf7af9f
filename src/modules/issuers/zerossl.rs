//! `zerossl`: ZeroSSL by its own interface. (By ACME it is one of the authorities of `acme`.)

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::acme::port;
use super::{DNS_OPTIONS, NAMESPACE, dns_option, dns_provider};
use crate::acme::dns01::Dns01;
use crate::acme::{ZeroSslIssuer, ZeroSslSettings};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::schema::ModuleSchema;
use crate::config::tls::{DnsChallenge, ISSUER_TAG};
use crate::config::{ModuleJson, Secret, is_default};
use crate::fetch::Client;
use crate::module::Module;
use crate::modules::dns_providers;
use crate::tls::issuance::{Issuer, IssuerContext, IssuerType};
use crate::tls::{TlsError, expand};

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: NAME, syntax: SYNTAX, parse }],
    issuer: Some(IssuerType { id: NAME, provision }),
    schemas: &[ModuleSchema::of::<ZeroSsl>(NAMESPACE, NAME)],
    ..Module::EMPTY
};

const NAME: &str = "zerossl";
const SYNTAX: &str = "zerossl <api_key> {
	validity_days <days>
	alt_http_port <port>
	dns <provider> ...
	propagation_delay <duration>
	propagation_timeout <duration>
	resolvers <addresses...>
	dns_ttl <duration>
}";

/// The JSON form (<https://caddyserver.com/docs/json/apps/tls/automation/policies/issuers/zerossl/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ZeroSsl {
    /// The account's key.
    #[serde(skip_serializing_if = "is_default")]
    api_key: Secret,
    /// How many days certificates shall be valid; none lets ZeroSSL decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    validity_days: Option<i64>,
    /// The interface to listen on.
    #[serde(skip_serializing_if = "is_default")]
    listen_host: String,
    /// The port if it is another one, because someone forwards to it.
    #[serde(skip_serializing_if = "is_default")]
    alternate_http_port: u16,
    /// By names in zones, and not by files.
    #[serde(skip_serializing_if = "Option::is_none")]
    cname_validation: Option<DnsChallenge>,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let vocabulary = reader.vocabulary();
    let cursor = &mut reader.cursor;
    let mut issuer = ZeroSsl::default();
    cursor.next();
    let [key] = cursor.last_args()?;
    issuer.api_key = key.into();
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        match cursor.val() {
            "validity_days" => {
                let [text] = cursor.args()?;
                let days = text.parse().map_err(|_| {
                    cursor.err(format!(
                        "invalid number of days {text}: strconv.Atoi: parsing {text:?}: invalid syntax"
                    ))
                })?;
                issuer.validity_days = Some(days);
            }
            "alt_http_port" => issuer.alternate_http_port = port(cursor)?,
            "dns" => {
                let Some(provider) = dns_provider(cursor, vocabulary)? else { return Err(cursor.arg_err()) };
                issuer.cname_validation.get_or_insert_default().provider = Some(provider);
            }
            word if DNS_OPTIONS.contains(&word) && word != "dns_challenge_override_domain" => {
                dns_option(cursor, issuer.cname_validation.get_or_insert_default())?;
            }
            word => {
                let known = SYNTAX.lines().skip(1).filter_map(|line| line.split_whitespace().next());
                return Err(cursor
                    .err(format!("unrecognized zerossl issuer property: {word}"))
                    .did_you_mean(word, known));
            }
        }
    }
    Ok(json!(issuer))
}

/// Makes the issuer that a module's JSON describes.
fn provision(json: &ModuleJson, context: &IssuerContext<'_>) -> Result<Arc<dyn Issuer>, TlsError> {
    let ZeroSsl { api_key, validity_days, listen_host, alternate_http_port, cname_validation } =
        json.decode(ISSUER_TAG)?;
    match &cname_validation {
        Some(DnsChallenge { provider: None, .. }) => {
            let problem = "cname_validation without a provider, so that files would be shown: name one with 'dns <provider>'";
            return Err(TlsError::Invalid(problem.into()));
        }
        Some(dns) if !dns.override_domain.is_empty() => {
            let problem =
                "cname_validation: ZeroSSL says where the name is put, so override_domain has no meaning";
            return Err(TlsError::Invalid(problem.into()));
        }
        _ => {}
    }
    let client = Client::new(context.client_config(&[])?);
    let dns = match &cname_validation {
        Some(dns) => {
            let types = dns_providers::types();
            // Resolvers of the whole configuration are not for it, as in Caddy.
            Some(Arc::new(Dns01::provision(dns, None, &[], &types, &client)?))
        }
        None => None,
    };
    let settings = ZeroSslSettings {
        api_key: expand(&api_key).into_owned().into(),
        validity_days: u32::try_from(validity_days.unwrap_or_default()).unwrap_or_default(),
        listen_host,
        http_port: if alternate_http_port > 0 { alternate_http_port } else { context.ports.http },
        dns,
    };
    Ok(Arc::new(ZeroSslIssuer::new(settings, context.storage.clone(), client)?))
}
