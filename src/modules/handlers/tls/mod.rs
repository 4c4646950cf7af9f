//! `tls`: the certificates of a site, and how TLS is spoken.
//!
//! ```caddyfile
//! example.com {
//! 	tls internal
//! 	respond "by our own authority"
//! }
//! ```

use serde_json::json;

use crate::adapt::{ConfigValue, Cursor, Directive, Error, Helper, Parse, default_acme_issuers};
use crate::config::ModuleJson;
use crate::config::tls::{
    AcmeIssuer, CertificateFiles, CertificateSelection, ConnectionPolicy, ExternalAccount, ISSUER_TAG,
    InternalIssuer,
};
use crate::module::Module;
use crate::modules::issuers::{self, DNS_OPTIONS, dns_challenge, dns_option, dns_provider};
use crate::modules::{certificate_managers, options};

mod client_auth;
mod merge;

pub(super) static MODULE: Module = Module {
    directives: &[Directive { name: "tls", syntax: SYNTAX, parse: Parse::Site(parse) }],
    ..Module::EMPTY
};

const SYNTAX: &str = "tls [<email>|internal|force_automate|<cert_file> <key_file>] {
	protocols <min> [<max>]
	ciphers <cipher_suites...>
	curves <curves...>
	alpn <protocols...>
	client_auth {
		mode request|require|verify_if_given|require_and_verify
		trust_pool <module> ...
		trusted_leaf_cert <base64>
		trusted_leaf_cert_file <pem_file>
		verifier <module> ...
	}
	load <folders...>
	ca <directory_url>
	ca_root <pem_file>
	key_type ed25519|p256|p384|rsa2048|rsa4096
	dns [<provider> ...]
	propagation_delay <duration>
	propagation_timeout <duration>
	resolvers <addresses...>
	dns_ttl <duration>
	dns_challenge_override_domain <domain>
	on_demand
	reuse_private_keys
	renewal_window_ratio <ratio>
	eab <key_id> <mac_key>
	issuer <module> ...
	get_certificate <module> ...
	insecure_secrets_log <file>
}";

/// The protocols that may be named.
const PROTOCOLS: &[&str] = &["tls1.2", "tls1.3"];

/// The curves that may be named.
const CURVES: &[&str] = &["x25519mlkem768", "x25519", "secp256r1", "secp384r1", "secp521r1"];

/// The cipher suites that may be named.
const CIPHER_SUITES: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// What the directive says, while it is read.
#[derive(Default)]
struct Said {
    policy: ConnectionPolicy,
    files: Vec<CertificateFiles>,
    folders: Vec<String>,
    tags: Vec<String>,
    acme: Option<AcmeIssuer>,
    internal: bool,
    issuers: Vec<ModuleJson>,
    managers: Vec<ModuleJson>,
    key_type: Option<String>,
    renewal_window_ratio: Option<f64>,
    on_demand: bool,
    reuse_private_keys: bool,
    force_automate: bool,
    /// Options of the DNS challenge that need a provider.
    dns_options: Vec<String>,
}

fn parse(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    let mut said = Said::default();
    h.cursor.next();
    let args = h.cursor.remaining_args();
    first_line(h, &args, &mut said)?;
    let mut has_block = false;
    while h.cursor.next_block(0) {
        has_block = true;
        let known = policy_option(h, &mut said.policy)?
            || automation_option(&mut h.cursor, &mut said)?
            || acme_option(h, &mut said)?
            || module_option(h, &mut said)?;
        if !known {
            let word = h.cursor.val();
            let words = SYNTAX.lines().skip(1).filter(|line| !line.starts_with("\t\t"));
            let words = words.filter_map(|line| line.split_whitespace().next());
            return Err(h.cursor.err(format!("unknown subdirective: {word}")).did_you_mean(word, words));
        }
    }
    let dns = said.acme.as_ref().and_then(|acme| acme.challenges.as_ref()?.dns.as_ref());
    let has_provider = dns.is_some_and(|dns| dns.provider.is_some())
        || h.options().dns.is_some()
        || matches!(h.options().acme_dns, Some(Some(_)));
    if !said.dns_options.is_empty() && !has_provider {
        return Err(h.cursor.err(format!(
            "setting DNS challenge options [{}] requires a DNS provider (set with the 'dns' subdirective or \
             'acme_dns' global option)",
            said.dns_options.join(", ")
        )));
    }
    if args.is_empty() && !has_block {
        return Err(h.cursor.arg_err());
    }
    said.into_values(h)
}

/// Reads what may stand on the directive's line.
fn first_line(h: &mut Helper<'_>, args: &[String], said: &mut Said) -> Result<(), Error> {
    match args {
        [] => {}
        [word] if word == "internal" => said.internal = true,
        [word] if word == "force_automate" => said.force_automate = true,
        [email] if email.contains('@') => {
            said.acme = Some(AcmeIssuer { email: email.clone(), ..AcmeIssuer::default() });
        }
        [word] => {
            return Err(h
                .cursor
                .err("single argument must either be 'internal', 'force_automate', or an email address")
                .did_you_mean(word, ["internal", "force_automate"]));
        }
        [certificate, key] => {
            // A file is loaded once, whoever uses it; the tag says which one the site means.
            let (tag, is_new) = h.certificate_tag(certificate);
            if is_new {
                said.files.push(CertificateFiles {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    format: String::new(),
                    tags: vec![tag.clone()],
                });
            }
            said.tags.push(tag);
        }
        _ => return Err(h.cursor.arg_err()),
    }
    Ok(())
}

/// Reads what is about connections. False if the word is something else.
fn policy_option(h: &mut Helper<'_>, policy: &mut ConnectionPolicy) -> Result<bool, Error> {
    let cursor = &mut h.cursor;
    match cursor.val() {
        "protocols" => {
            let args = cursor.remaining_args();
            if args.is_empty() {
                return Err(cursor.err("protocols requires one or two arguments"));
            }
            let name = "wrong protocol name or protocol not supported";
            let mut protocols = known(cursor, args, PROTOCOLS, name)?.into_iter();
            policy.protocol_min = protocols.next().unwrap_or_default();
            policy.protocol_max = protocols.next().unwrap_or_default();
        }
        "ciphers" => {
            let args = cursor.remaining_args();
            let name = "wrong cipher suite name or cipher suite not supported";
            policy.cipher_suites.extend(known(cursor, args, CIPHER_SUITES, name)?);
        }
        "curves" => {
            let args = cursor.remaining_args();
            let name = "Wrong curve name or curve not supported";
            policy.curves.extend(known(cursor, args, CURVES, name)?);
        }
        "alpn" => {
            policy.alpn = cursor.remaining_args();
            if policy.alpn.is_empty() {
                return Err(cursor.arg_err());
            }
        }
        "client_auth" => policy.client_authentication = Some(client_auth::parse(h)?),
        "insecure_secrets_log" => [policy.insecure_secrets_log] = cursor.args()?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// The names, if all of them are among those that there are.
fn known(cursor: &Cursor, names: Vec<String>, all: &[&str], complaint: &str) -> Result<Vec<String>, Error> {
    match names.iter().find(|name| !all.contains(&name.as_str())) {
        None => Ok(names),
        Some(name) => {
            Err(cursor.err(format!("{complaint}: '{name}'")).did_you_mean(name, all.iter().copied()))
        }
    }
}

/// Reads what is about getting certificates, whoever issues them. False if the word is something else.
fn automation_option(cursor: &mut Cursor, said: &mut Said) -> Result<bool, Error> {
    match cursor.val() {
        "load" => said.folders.extend(cursor.remaining_args()),
        "key_type" => said.key_type = Some(one(cursor)?),
        "on_demand" => said.on_demand = flag(cursor)?,
        "reuse_private_keys" => said.reuse_private_keys = flag(cursor)?,
        "renewal_window_ratio" => {
            let text = one(cursor)?;
            said.renewal_window_ratio = Some(options::ratio(cursor, &text, "renewal_window_ratio")?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads what is about ACME. False if the word is something else.
fn acme_option(h: &mut Helper<'_>, said: &mut Said) -> Result<bool, Error> {
    let vocabulary = h.vocabulary();
    let has_default_provider = h.options().dns.is_some();
    let cursor = &mut h.cursor;
    let word = cursor.val().to_owned();
    match word.as_str() {
        "ca" => said.acme.get_or_insert_default().ca = one(cursor)?,
        "ca_root" => {
            let file = one(cursor)?;
            said.acme.get_or_insert_default().trusted_roots_pem_files.push(file);
        }
        "eab" => {
            let [key_id, mac_key] = cursor.all_args()?;
            said.acme.get_or_insert_default().external_account =
                Some(ExternalAccount { key_id, mac_key: mac_key.into() });
        }
        "dns" => {
            let provider = dns_provider(cursor, vocabulary)?;
            if provider.is_none() && !has_default_provider {
                return Err(cursor.arg_err());
            }
            let dns = dns_challenge(said.acme.get_or_insert_default());
            dns.provider = provider.or(dns.provider.take());
        }
        word if DNS_OPTIONS.contains(&word) => {
            dns_option(cursor, dns_challenge(said.acme.get_or_insert_default()))?;
            said.dns_options.push(word.to_owned());
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads what is itself a module. False if the word is something else.
fn module_option(h: &mut Helper<'_>, said: &mut Said) -> Result<bool, Error> {
    let (namespace, tag, list) = match h.cursor.val() {
        "issuer" => (issuers::NAMESPACE, ISSUER_TAG, &mut said.issuers),
        "get_certificate" => (certificate_managers::NAMESPACE, "via", &mut said.managers),
        _ => return Ok(false),
    };
    if !h.cursor.next_arg() {
        return Err(h.cursor.arg_err());
    }
    list.push(h.submodule(namespace, tag)?);
    Ok(true)
}

fn one(cursor: &mut Cursor) -> Result<String, Error> {
    let [value] = cursor.last_args()?;
    Ok(value)
}

fn flag(cursor: &mut Cursor) -> Result<bool, Error> {
    if cursor.next_arg() { Err(cursor.arg_err()) } else { Ok(true) }
}

impl Said {
    fn into_values(mut self, h: &Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
        let mut values = Vec::new();
        if !self.files.is_empty() {
            let files = self.files.iter().map(|pair| json!(pair)).collect();
            values.push(ConfigValue::CertificateLoader("load_files", files));
        }
        if !self.folders.is_empty() {
            let folders = self.folders.iter().map(|folder| json!(folder)).collect();
            values.push(ConfigValue::CertificateLoader("load_folders", folders));
        }
        values.extend(self.issuers(h)?.into_iter().map(ConfigValue::CertificateIssuer));
        values.extend(self.key_type.map(ConfigValue::KeyType));
        if self.on_demand {
            values.push(ConfigValue::OnDemand);
        }
        values.extend(self.managers.into_iter().map(ConfigValue::CertificateManager));
        if self.reuse_private_keys {
            values.push(ConfigValue::ReusePrivateKeys);
        }
        values.extend(self.renewal_window_ratio.map(ConfigValue::RenewalWindowRatio));
        if self.force_automate {
            values.push(ConfigValue::ForceAutomate);
        }
        if !self.tags.is_empty() {
            self.policy.certificate_selection =
                Some(CertificateSelection { any_tag: self.tags, ..CertificateSelection::default() });
        }
        // There is always one, an empty one even: it says that the site speaks TLS.
        values.push(ConfigValue::ConnectionPolicy(Box::new(self.policy)));
        Ok(values)
    }

    /// Who issues: those that are named, or those that the other words imply.
    fn issuers(&mut self, h: &Helper<'_>) -> Result<Vec<ModuleJson>, Error> {
        let named = std::mem::take(&mut self.issuers);
        if !named.is_empty() && (self.acme.is_some() || self.internal) {
            return Err(h.cursor.err(
                "cannot mix issuer subdirective (explicit issuers) with other issuer-specific subdirectives (implicit \
                 issuers)",
            ));
        }
        match self.acme.take() {
            Some(_) if self.internal => {
                Err(h.cursor.err("cannot create both ACME and internal certificate issuers"))
            }
            Some(acme) => Ok(implied(&acme, h)),
            None if self.internal => {
                Ok(vec![ModuleJson::new(ISSUER_TAG, InternalIssuer::NAME, &InternalIssuer::default())])
            }
            None => Ok(named),
        }
    }
}

/// The ACME issuers that take what the directive says on top of the global ones, or of the default ones.
fn implied(said: &AcmeIssuer, h: &Helper<'_>) -> Vec<ModuleJson> {
    let is_acme = |json: &&ModuleJson| json.name(ISSUER_TAG).is_ok_and(|name| name == AcmeIssuer::NAME);
    let global = h.options().cert_issuers.iter().filter(is_acme);
    let mut bases: Vec<AcmeIssuer> = global.filter_map(|json| json.decode(ISSUER_TAG).ok()).collect();
    if bases.is_empty() {
        // Who names an authority wants that one alone.
        let email = if said.ca.is_empty() { said.email.as_str() } else { "" };
        bases = default_acme_issuers(email);
    }
    let issuers = bases.into_iter().map(|base| merge::acme(base, said));
    issuers.map(|issuer| ModuleJson::new(ISSUER_TAG, AcmeIssuer::NAME, &issuer)).collect()
}
