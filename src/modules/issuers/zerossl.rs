//! `zerossl`: ZeroSSL by its own interface. (By ACME it is one of the authorities of `acme`.)

use serde::Serialize;
use serde_json::{Value, json};

use super::acme::port;
use super::{DNS_OPTIONS, NAMESPACE, dns_option, dns_provider};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::is_default;
use crate::config::tls::DnsChallenge;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: "zerossl", syntax: SYNTAX, parse }],
    written_only: &["zerossl"],
    ..Module::EMPTY
};

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
#[derive(Default, Serialize)]
struct ZeroSsl {
    api_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    validity_days: Option<i64>,
    #[serde(skip_serializing_if = "is_default")]
    alternate_http_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    cname_validation: Option<DnsChallenge>,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let vocabulary = reader.vocabulary();
    let cursor = &mut reader.cursor;
    let mut issuer = ZeroSsl::default();
    cursor.next();
    [issuer.api_key] = cursor.last_args()?;
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
