//! `acme_server`: an ACME server for our own authority.
//!
//! ```caddyfile
//! acme.example.com {
//! 	tls internal
//! 	acme_server {
//! 		lifetime 24h
//! 		allow {
//! 			domains *.example.com
//! 		}
//! 	}
//! }
//! ```

use std::sync::Arc;
use std::time::Duration as StdDuration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::acme::server::{self, Looker, MESSAGE_BYTES_MAX, Server, Settings, Way};
use crate::adapt::{ConfigValue, Cursor, Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{Duration, ModuleJson, is_default, pki};
use crate::dns::Resolver;
use crate::http::{
    Body, BodyTooLarge, Exchange, Handler, HandlerError, HandlerType, Outcome, Provision, ProvisionError,
    Response, Step,
};
use crate::module::Module;
use crate::tls::issuance::Ports;

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

/// Its name in JSON, and its directive.
const NAME: &str = "acme_server";

const DEFAULT_PATH_PREFIX: &str = "/acme/";
const DEFAULT_LIFETIME: StdDuration = StdDuration::from_secs(12 * 60 * 60);
/// A message must have come within this time.
const MESSAGE_TIME_MAX: StdDuration = StdDuration::from_secs(30);

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: NAME, syntax: SYNTAX, parse: Parse::Routes(parse) }],
    schemas: &[ModuleSchema::of::<AcmeServer>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/acme_server/>).
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct AcmeServer {
    /// The id of the authority; empty means `local`.
    #[serde(skip_serializing_if = "String::is_empty")]
    ca: String,
    /// How long certificates live unless an order says otherwise.
    #[serde(skip_serializing_if = "is_default")]
    lifetime: Duration,
    /// What clients call the server by if a request does not say it.
    #[serde(skip_serializing_if = "String::is_empty")]
    host: String,
    /// The path below which everything is; empty means `/acme/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    path_prefix: String,
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
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Policy {
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<Rules>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deny: Option<Rules>,
    #[serde(skip_serializing_if = "is_default")]
    allow_wildcard_names: bool,
}

/// Names and addresses.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Rules {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    domains: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ip_ranges: Vec<String>,
}

fn parse(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    let matchers = h.extract_matcher_set()?;
    let mut server = AcmeServer::default();
    let mut named_authority = false;
    h.cursor.next();
    if h.cursor.next_arg() {
        return Err(h.cursor.arg_err());
    }
    let cursor = &mut h.cursor;
    while cursor.next_block(0) {
        match cursor.val() {
            "ca" => {
                [server.ca] = cursor.all_args()?;
                named_authority = true;
            }
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
    let mut values = h.new_route(matchers, ModuleJson::new(HANDLER_TAG, NAME, &server));
    if named_authority {
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

fn provision(json: &ModuleJson, ctx: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let json: AcmeServer = json.decode(HANDLER_TAG)?;
    let tls = ctx.tls()?;
    let wrong = |error: crate::tls::TlsError| ProvisionError::invalid(error.to_string());
    let authority = tls.authorities().get(&json.ca).map_err(wrong)?;
    let asked = if json.resolvers.is_empty() { tls.resolvers() } else { &json.resolvers };
    let resolver = if asked.is_empty() {
        Resolver::system()
    } else {
        Resolver::new(asked, None).map_err(ProvisionError::invalid)?
    };
    let settings = settings(&json)?;
    if let Some(issuer) = authority.intermediate_lifetime().filter(|issuer| settings.lifetime >= *issuer) {
        return Err(ProvisionError::invalid(format!(
            "certificate lifetime ({:?}) should be less than intermediate certificate lifetime ({issuer:?})",
            settings.lifetime
        )));
    }
    if settings.policy.is_empty() {
        tracing::warn!(
            target: "http.handlers.acme_server", ca = authority.id(),
            "acme_server policy has no allow/deny rules; order identifiers are unrestricted (allow-all)"
        );
    }
    let looker = Looker::new(resolver, Ports::default()).map_err(wrong)?;
    let server = Server::new(settings, authority, tls.storage().clone(), looker);
    ctx.run_in_background(server.clone().sweep());
    Ok(Box::new(AcmeServerHandler(server)))
}

fn settings(json: &AcmeServer) -> Result<Settings, ProvisionError> {
    let said = if json.path_prefix.is_empty() { DEFAULT_PATH_PREFIX } else { &json.path_prefix };
    if !said.starts_with('/') {
        return Err(ProvisionError::invalid(format!("path_prefix {said:?} must begin with '/'")));
    }
    let mut ways = Vec::new();
    for name in &json.challenges {
        let name = name.trim().to_lowercase();
        let way = Way::ALL.into_iter().find(|way| way.name() == name);
        ways.push(
            way.ok_or_else(|| ProvisionError::invalid(format!("acme challenge {name:?} is not supported")))?,
        );
    }
    // In the order of all of them, whatever the configuration's.
    let is_enabled = |way: &Way| ways.is_empty() || ways.contains(way);
    let policy = json.policy.as_ref();
    let rules = |rules: Option<&Rules>| match rules {
        Some(rules) => server::Rules::parse(&rules.domains, &rules.ip_ranges),
        None => Ok(server::Rules::default()),
    };
    let allow = rules(policy.and_then(|policy| policy.allow.as_ref()));
    let deny = rules(policy.and_then(|policy| policy.deny.as_ref()));
    Ok(Settings {
        host: json.host.clone(),
        path_prefix: said.to_owned(),
        lifetime: json.lifetime.positive().unwrap_or(DEFAULT_LIFETIME),
        ways: Way::ALL.into_iter().filter(is_enabled).collect(),
        policy: server::Policy {
            allow: allow.map_err(ProvisionError::invalid)?,
            deny: deny.map_err(ProvisionError::invalid)?,
            allow_wildcard_names: policy.is_some_and(|policy| policy.allow_wildcard_names),
        },
        sign_with_root: json.sign_with_root,
    })
}

struct AcmeServerHandler(Arc<Server>);

impl Handler for AcmeServerHandler {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        if !self.0.serves(&x.path()) {
            return Step::Now(Outcome::Next);
        }
        Step::Later(Box::pin(async {
            let body = match x.method {
                Method::POST => read(std::mem::take(&mut x.body)).await,
                _ => Ok(Bytes::new()),
            };
            let body = match body {
                Ok(body) => body,
                Err(error) => return Outcome::Fail(error),
            };
            let content_type = x.headers.get(CONTENT_TYPE).and_then(|said| said.to_str().ok());
            let request = server::Request {
                client: x.client_ip,
                method: x.method.clone(),
                host: x.host().to_owned(),
                path: String::from_utf8_lossy(&x.path()).into_owned(),
                raw_path: x.uri.path().to_owned(),
                content_type: content_type.unwrap_or_default().to_owned(),
                body,
            };
            let (parts, body) = self.0.answer(request).await.into_parts();
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = parts.status;
            *response.headers_mut() = std::mem::take(&mut x.response_headers);
            // Some fields come more than once.
            for (name, value) in &parts.headers {
                response.headers_mut().append(name, value.clone());
            }
            Outcome::Respond(response)
        }))
    }
}

/// Reads a message, which is short.
async fn read(body: Body) -> Result<Bytes, HandlerError> {
    let reading = Limited::new(body, MESSAGE_BYTES_MAX).collect();
    let Ok(read) = tokio::time::timeout(MESSAGE_TIME_MAX, reading).await else {
        return Err(HandlerError::new(StatusCode::REQUEST_TIMEOUT, "the message did not come in time"));
    };
    read.map(http_body_util::Collected::to_bytes).map_err(|error| {
        let too_large = error.is::<http_body_util::LengthLimitError>() || error.is::<BodyTooLarge>();
        let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        HandlerError::new(status, error)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::pki::Pki;
    use crate::modules;
    use crate::tls::{App, FileStorage};

    fn handler(fields: &Value) -> Result<Box<dyn Handler>, String> {
        let folder = tempfile::tempdir().unwrap();
        let registry = modules::registry();
        let storage = FileStorage::shared(folder.path());
        let tls = App::provision(None, Some(&Pki::default()), storage, &registry.tls).unwrap();
        let mut ctx = Provision::new(&registry.handlers, &registry.matchers).with_tls(Arc::new(tls));
        ctx.handler(&ModuleJson::new(HANDLER_TAG, NAME, fields)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_can_not_be_is_refused_by_name() {
        for (fields, expected) in [
            (json!({"ca": "other"}), "id: other"),
            (json!({"challenges": ["http-01", "device-attest-01"]}), "\"device-attest-01\" is not supported"),
            (json!({"policy": {"deny": {"domains": ["a.*.test"]}}}), "\"a.*.test\""),
            (json!({"policy": {"allow": {"ip_ranges": ["a.test"]}}}), "\"a.test\""),
            (json!({"policy": {"allow": {"emails": []}}}), "emails"),
            (json!({"lifetime": "168h"}), "less than intermediate"),
            (json!({"path_prefix": "acme/"}), "path_prefix"),
            (json!({"resolvers": ["192.0.2.1:1-3"]}), "exactly one"),
            (json!({"unknown": 1}), "unknown"),
        ] {
            let error = handler(&fields).err().unwrap_or_else(|| panic!("{fields}"));
            assert!(error.contains(expected), "{fields}: {error}");
        }
    }

    fn answered(handler: &dyn Handler, mut x: Exchange) -> Option<(u16, String, String)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            match handler.handle(&mut x) {
                Step::Now(outcome) => outcome,
                Step::Later(outcome) => outcome.await,
            }
        });
        match outcome {
            Outcome::Next => None,
            Outcome::Respond(response) => {
                let (parts, body) = response.into_parts();
                let Body::Full(body) = body else {
                    return Some((parts.status.as_u16(), String::new(), String::new()));
                };
                let kind = parts.headers["content-type"].to_str().unwrap().to_owned();
                Some((parts.status.as_u16(), kind, String::from_utf8(body.to_vec()).unwrap()))
            }
            Outcome::Fail(error) => Some((error.status.as_u16(), String::new(), error.to_string())),
            _ => panic!("neither an answer nor none"),
        }
    }

    #[test]
    fn what_is_below_the_prefix_is_the_servers() {
        let handler = handler(&json!({"path_prefix": "/pki", "challenges": [" HTTP-01 "]})).unwrap();
        let get = |path: &str| answered(&*handler, Exchange::get(path, &[("host", "ca.test")]));
        assert!(get("/").is_none() && get("/acme/local/directory").is_none());
        let (status, kind, text) = get("/pki/local/directory").unwrap();
        assert_eq!((status, kind.as_str()), (200, "application/json"));
        assert!(text.contains("\"newOrder\":\"https://ca.test/pki/local/new-order\""), "{text}");
        assert_eq!(get("/pki/local/x").unwrap().0, 404);
        assert_eq!(get("/pki/other/directory").unwrap().0, 404);
        assert_eq!(get("/pki/local/new-nonce").unwrap().0, 204);
        assert_eq!(get("/pki/local/new-order").unwrap().0, 405);
        let post = |body: Vec<u8>| {
            let request = http::Request::post("/pki/local/new-order").body(Body::from(body)).unwrap();
            answered(&*handler, Exchange::for_test(request)).unwrap()
        };
        let (status, kind, _) = post(b"{}".to_vec());
        assert_eq!((status, kind.as_str()), (400, "application/problem+json"));
        assert_eq!(post(vec![b'x'; MESSAGE_BYTES_MAX + 1]).0, 413);
    }
}
