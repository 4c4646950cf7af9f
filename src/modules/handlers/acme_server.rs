//! `acme_server`: an ACME server for our own authority. It can be written so far, and not run.

use serde::Serialize;

use crate::adapt::{ConfigValue, Cursor, Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::{Duration, ModuleJson, is_default, pki};
use crate::module::Module;

const SYNTAX: &str = "acme_server [<matcher>] {
	ca <id>
	lifetime <duration>
	resolvers <addresses...>
	challenges <challenges...>
	allow_wildcard_names
	allow {
		domains <domains...>
		ip_ranges <addresses...>
	}
	deny {
		domains <domains...>
		ip_ranges <addresses...>
	}
	sign_with_root
}";

pub(super) static MODULE: Module = Module {
    directives: &[Directive { name: "acme_server", syntax: SYNTAX, parse: Parse::Routes(parse) }],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/acme_server/>).
#[derive(Default, Serialize)]
struct AcmeServer {
    #[serde(skip_serializing_if = "String::is_empty")]
    ca: String,
    #[serde(skip_serializing_if = "is_default")]
    lifetime: Duration,
    #[serde(skip_serializing_if = "is_default")]
    sign_with_root: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resolvers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    challenges: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Policy>,
}

/// Who gets certificates.
#[derive(Default, Serialize)]
struct Policy {
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<Rules>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deny: Option<Rules>,
    #[serde(skip_serializing_if = "is_default")]
    allow_wildcard_names: bool,
}

#[derive(Default, Serialize)]
struct Rules {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    domains: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ip_ranges: Vec<String>,
}

fn parse(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    let matchers = h.extract_matcher_set()?;
    let mut server = AcmeServer::default();
    h.cursor.next();
    if h.cursor.next_arg() {
        return Err(h.cursor.arg_err());
    }
    let cursor = &mut h.cursor;
    while cursor.next_block(0) {
        match cursor.val() {
            "ca" => [server.ca] = cursor.all_args()?,
            "lifetime" => {
                let [text] = cursor.args()?;
                server.lifetime = text.parse().map_err(|error| cursor.err(format!("{error}")))?;
            }
            "resolvers" => {
                server.resolvers = cursor.remaining_args();
                if server.resolvers.is_empty() {
                    return Err(cursor.err("must specify at least one resolver address"));
                }
            }
            "challenges" => server.challenges.extend(cursor.remaining_args()),
            "allow_wildcard_names" => server.policy.get_or_insert_default().allow_wildcard_names = true,
            "allow" => server.policy.get_or_insert_default().allow = Some(rules(cursor, "allow")?),
            "deny" => server.policy.get_or_insert_default().deny = Some(rules(cursor, "deny")?),
            "sign_with_root" => {
                if cursor.next_arg() {
                    return Err(cursor.arg_err());
                }
                server.sign_with_root = true;
            }
            word => {
                let known = SYNTAX.lines().skip(1).filter_map(|line| line.split_whitespace().next());
                return Err(cursor
                    .err(format!("unrecognized ACME server directive: {word}"))
                    .did_you_mean(word, known));
            }
        }
    }
    let mut values = h.new_route(matchers, ModuleJson::new(HANDLER_TAG, "acme_server", &server));
    if !server.ca.is_empty() {
        values.push(ConfigValue::CertificateAuthority(server.ca, pki::Ca::default()));
    }
    Ok(values)
}

fn rules(cursor: &mut Cursor, which: &str) -> Result<Rules, Error> {
    let mut rules = Rules::default();
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        if cursor.count_remaining_args() == 0 {
            return Err(cursor.arg_err());
        }
        match cursor.val() {
            "domains" => rules.domains.extend(cursor.remaining_args()),
            "ip_ranges" => rules.ip_ranges.extend(cursor.remaining_args()),
            word => {
                return Err(cursor
                    .err(format!("unrecognized '{which}' subdirective: {word}"))
                    .did_you_mean(word, ["domains", "ip_ranges"]));
            }
        }
    }
    Ok(rules)
}
