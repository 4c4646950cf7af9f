//! `acme`: authorities such as Let's Encrypt.

use serde_json::{Value, json};

use super::{DNS_OPTIONS, NAMESPACE, dns_challenge, dns_option, dns_provider};
use crate::adapt::{Cursor, Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::Duration;
use crate::config::tls::{AcmeIssuer, Challenges, ExternalAccount, PortChallenge};
use crate::module::Module;
use crate::modules::options::preferred_chains;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: AcmeIssuer::NAME, syntax: SYNTAX, parse }],
    written_only: &[AcmeIssuer::NAME],
    ..Module::EMPTY
};

const SYNTAX: &str = "acme [<directory_url>] {
	dir <directory_url>
	test_dir <directory_url>
	email <address>
	profile <name>
	lifetime <duration>
	timeout <duration>
	disable_http_challenge
	disable_tlsalpn_challenge
	distributed false
	alt_http_port <port>
	alt_tlsalpn_port <port>
	eab <key_id> <mac_key>
	trusted_roots <pem_files...>
	dns [<provider> ...]
	propagation_delay <duration>
	propagation_timeout <duration>
	resolvers <addresses...>
	dns_ttl <duration>
	dns_challenge_override_domain <domain>
	preferred_chains [smallest] {
		root_common_name <names...>
		any_common_name <names...>
	}
}";

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let vocabulary = reader.vocabulary();
    let cursor = &mut reader.cursor;
    let mut issuer = AcmeIssuer::default();
    cursor.next();
    if cursor.next_arg() {
        cursor.val().clone_into(&mut issuer.ca);
        if cursor.next_arg() {
            return Err(cursor.arg_err());
        }
    }
    while cursor.next_block(0) {
        let word = cursor.val().to_owned();
        match word.as_str() {
            "dns" => {
                let provider = dns_provider(cursor, vocabulary)?;
                let dns = dns_challenge(&mut issuer);
                dns.provider = provider.or(dns.provider.take());
            }
            "preferred_chains" => issuer.preferred_chains = Some(preferred_chains(cursor)?),
            word if DNS_OPTIONS.contains(&word) => dns_option(cursor, dns_challenge(&mut issuer))?,
            _ if challenge_option(cursor, &mut issuer)? || account_option(cursor, &mut issuer)? => {}
            _ => {
                let known = SYNTAX.lines().skip(1).filter_map(|line| line.split_whitespace().next());
                return Err(cursor
                    .err(format!("unrecognized ACME issuer property: {word}"))
                    .did_you_mean(&word, known));
            }
        }
    }
    Ok(json!(issuer))
}

/// Reads what is about challenges. False if the word is something else.
fn challenge_option(cursor: &mut Cursor, issuer: &mut AcmeIssuer) -> Result<bool, Error> {
    let word = cursor.val().to_owned();
    let is_known = [
        "disable_http_challenge",
        "disable_tlsalpn_challenge",
        "distributed",
        "alt_http_port",
        "alt_tlsalpn_port",
    ]
    .contains(&word.as_str());
    if !is_known {
        return Ok(false);
    }
    let challenges = issuer.challenges.get_or_insert_with(Challenges::default);
    let by_port = match word.as_str() {
        "disable_http_challenge" | "alt_http_port" => &mut challenges.http,
        "disable_tlsalpn_challenge" | "alt_tlsalpn_port" => &mut challenges.tls_alpn,
        _ => {
            let [value] = cursor.args()?;
            if value != "false" {
                return Err(cursor.err("only accepted value is 'false'"));
            }
            challenges.distributed = Some(false);
            return Ok(true);
        }
    };
    let challenge = by_port.get_or_insert_with(PortChallenge::default);
    if word.starts_with("disable_") {
        challenge.disabled = true;
        if cursor.next_arg() {
            return Err(cursor.arg_err());
        }
    } else {
        challenge.alternate_port = port(cursor)?;
    }
    Ok(true)
}

/// Reads what is about the authority and the account. False if there is no such word.
fn account_option(cursor: &mut Cursor, issuer: &mut AcmeIssuer) -> Result<bool, Error> {
    match cursor.val() {
        "dir" if !issuer.ca.is_empty() => {
            return Err(cursor.err(format!("directory is already specified: {}", issuer.ca)));
        }
        "dir" => [issuer.ca] = cursor.all_args()?,
        "test_dir" => [issuer.test_ca] = cursor.all_args()?,
        "email" => [issuer.email] = cursor.all_args()?,
        "profile" => [issuer.profile] = cursor.all_args()?,
        "lifetime" => {
            let lifetime = duration(cursor, "lifetime")?;
            if lifetime < Duration::ZERO {
                return Err(cursor.err(format!("lifetime must be >= 0: {lifetime}")));
            }
            issuer.certificate_lifetime = lifetime;
        }
        "timeout" => issuer.acme_timeout = duration(cursor, "timeout duration")?,
        "eab" => {
            let [key_id, mac_key] = cursor.all_args()?;
            issuer.external_account = Some(ExternalAccount { key_id, mac_key: mac_key.into() });
        }
        "trusted_roots" => issuer.trusted_roots_pem_files = cursor.remaining_args(),
        _ => return Ok(false),
    }
    Ok(true)
}

fn duration(cursor: &mut Cursor, what: &str) -> Result<Duration, Error> {
    let [text] = cursor.all_args()?;
    text.parse().map_err(|error| cursor.err(format!("invalid {what} {text}: {error}")))
}

/// Reads a port, the next word on the line.
pub(super) fn port(cursor: &mut Cursor) -> Result<u16, Error> {
    let [text] = cursor.args()?;
    text.parse().map_err(|_| {
        cursor.err(format!("invalid port {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
    })
}
