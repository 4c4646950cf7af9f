//! `cloudflare`: zones at Cloudflare. Written as for the plugin
//! <https://github.com/caddy-dns/cloudflare>. One token must have the permissions Zone.Zone:Read and
//! Zone.DNS:Edit; or `zone_token` the first for all zones, and `api_token` the second for some.
//!
//! ```text
//! dns cloudflare {env.CLOUDFLARE_TOKEN}
//!
//! dns cloudflare {
//! 	zone_token {env.ZONE_TOKEN}
//! 	api_token  {env.DNS_TOKEN}
//! }
//! ```

mod api;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use api::Api;

use crate::acme::dns01::{self, Changed, DnsProvider, DnsProviderType, NAMESPACE, Record};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, Secret, is_default};
use crate::fetch::Client;
use crate::module::Module;
use crate::tls::{TlsError, expand};

pub(super) static MODULE: Module = Module {
    dns_provider: Some(DnsProviderType { id: NAME, provision }),
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: NAME, syntax: SYNTAX, parse }],
    schemas: &[ModuleSchema::of::<Json>("dns.providers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "cloudflare";
const SYNTAX: &str = "cloudflare [<api_token>] {
	api_token <token>
	zone_token <token>
}";

/// The JSON form.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Json {
    #[serde(skip_serializing_if = "is_default")]
    api_token: Secret,
    #[serde(skip_serializing_if = "is_default")]
    zone_token: Secret,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut json = Json::default();
    cursor.next();
    if cursor.next_arg() {
        json.api_token = cursor.val().into();
        if cursor.next_arg() {
            return Err(cursor.err(format!("unexpected argument '{}'", cursor.val())));
        }
    } else {
        let nesting = cursor.nesting();
        while cursor.next_block(nesting) {
            let token = match cursor.val() {
                "api_token" => &mut json.api_token,
                "zone_token" => &mut json.zone_token,
                word => {
                    let message = format!("unrecognized subdirective '{word}'");
                    return Err(cursor.err(message).did_you_mean(word, ["api_token", "zone_token"]));
                }
            };
            let [text] = cursor.all_args()?;
            *token = text.into();
        }
    }
    if json.api_token.is_empty() {
        return Err(cursor.err("missing API token"));
    }
    Ok(json!(json))
}

fn provision(json: &ModuleJson, client: &Client) -> Result<Arc<dyn DnsProvider>, TlsError> {
    let Json { api_token, zone_token } = dns01::decode(json)?;
    let (api_token, zone_token) = (expand(&api_token), expand(&zone_token));
    // The token itself must not stand in an error.
    if !is_token(&api_token) {
        return Err(TlsError::Invalid(
            "API token appears invalid; ensure it's correctly entered and not wrapped in braces nor quotes"
                .into(),
        ));
    }
    let api = Api::new(client.clone(), &api_token, &zone_token);
    let api = api.ok_or_else(|| TlsError::Invalid("the tokens can't be sent as they are".into()))?;
    Ok(Arc::new(Cloudflare { api }))
}

/// Whether a text has the form of a token: 35 to 50 characters, or one that says what it is
/// (`cfut_` of a user, `cfat_` of an account) with 32 to 256 behind that.
fn is_token(text: &str) -> bool {
    let fits = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let named = text.strip_prefix("cfut_").or_else(|| text.strip_prefix("cfat_"));
    fits(text, 35..=50) || named.is_some_and(|rest| fits(rest, 32..=256))
}

#[derive(Debug)]
struct Cloudflare {
    api: Api,
}

impl DnsProvider for Cloudflare {
    fn append<'a>(&'a self, zone: &'a str, record: &'a Record) -> Changed<'a> {
        Box::pin(async move {
            let zone = self.api.zone(zone).await?;
            self.api.create(&zone, record).await
        })
    }

    fn delete<'a>(&'a self, zone: &'a str, record: &'a Record) -> Changed<'a> {
        Box::pin(async move {
            let zone = self.api.zone(zone).await?;
            for id in self.api.find(&zone, record).await? {
                self.api.remove(&zone, &id).await?;
            }
            Ok(())
        })
    }
}
