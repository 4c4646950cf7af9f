//! `acme`: authorities such as Let's Encrypt.

use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::{Value, json};

use super::{DNS_OPTIONS, NAMESPACE, dns_challenge, dns_option, dns_provider};
use crate::acme::dns01::Dns01;
use crate::acme::{self, Settings};
use crate::adapt::{Cursor, Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::tls::{AcmeIssuer, Challenges, ExternalAccount, ISSUER_TAG, PortChallenge};
use crate::config::{Duration, ModuleJson, NETWORK_PROXIES, NETWORK_PROXY_TAG, NetworkProxyUrl};
use crate::fetch::{Client, ForwardProxy, Proxies};
use crate::module::Module;
use crate::modules::dns_providers;
use crate::modules::options::preferred_chains;
use crate::tls::issuance::{Issuer, IssuerContext, IssuerType, KeyPem};
use crate::tls::{TlsError, expand};

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: AcmeIssuer::NAME, syntax: SYNTAX, parse }],
    issuer: Some(IssuerType { id: AcmeIssuer::NAME, provision }),
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

/// Makes the issuer that a module's JSON describes.
fn provision(json: &ModuleJson, context: &IssuerContext<'_>) -> Result<Arc<dyn Issuer>, TlsError> {
    let config: AcmeIssuer = json.decode(ISSUER_TAG)?;
    let challenges = config.challenges.clone().unwrap_or_default();
    let port = |said: Option<&PortChallenge>, default| match said {
        Some(said) if said.disabled => None,
        Some(said) if said.alternate_port > 0 => Some(said.alternate_port),
        _ => Some(default),
    };
    let external = config.external_account.map(|account| acme::ExternalAccount {
        key_id: expand(&account.key_id).into_owned(),
        mac_key: expand(&account.mac_key).into_owned().into(),
    });
    let account_key = Some(expand(&config.account_key)).filter(|key| !key.is_empty());
    let dns = match &challenges.dns {
        Some(dns) => {
            // Providers are no authorities: the roots of those are not for them.
            let client = Client::new(context.client_config(&[])?);
            let types = dns_providers::types();
            Some(Arc::new(Dns01::provision(dns, context.dns, context.resolvers, &types, &client)?))
        }
        None => None,
    };
    let tls = context.client_config(&config.trusted_roots_pem_files)?;
    let proxies = config.network_proxy.as_ref().map(|proxy| network_proxy(proxy, &tls)).transpose()?;
    let settings = Settings {
        directory: expand(&config.ca).into_owned(),
        test_directory: expand(&config.test_ca).into_owned(),
        email: expand(&config.email).into_owned(),
        profile: config.profile,
        account_key: account_key.map(|key| KeyPem::new(key.into_owned())),
        external_account: external,
        lifetime: config.certificate_lifetime.positive().unwrap_or_default(),
        timeout: config.acme_timeout.positive().unwrap_or_default(),
        http_port: port(challenges.http.as_ref(), context.ports.http),
        tls_alpn_port: port(challenges.tls_alpn.as_ref(), context.ports.https),
        dns,
        bind_host: challenges.bind_host,
        distributed: challenges.distributed.unwrap_or(true),
        chains: config.preferred_chains.as_ref().map(Into::into).unwrap_or_default(),
    };
    let client = Client::by(proxies.unwrap_or_default(), tls);
    Ok(Arc::new(acme::AcmeIssuer::new(settings, context.storage.clone(), client)?))
}

/// The proxy on the way to the authority, which is trusted as that is.
fn network_proxy(proxy: &ModuleJson, tls: &Arc<ClientConfig>) -> Result<Proxies, TlsError> {
    match proxy.name(NETWORK_PROXY_TAG)? {
        "none" => Ok(Proxies::Direct),
        "url" => {
            let said: NetworkProxyUrl = proxy.decode(NETWORK_PROXY_TAG)?;
            let proxy = ForwardProxy::parse(&expand(&said.url), || Ok::<_, String>(tls.clone()));
            let proxy = proxy.map_err(|error| TlsError::Invalid(format!("network_proxy: {error}")))?;
            Ok(Proxies::Fixed(Arc::new(proxy)))
        }
        name => Err(TlsError::unknown_module(NETWORK_PROXIES, name)),
    }
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
