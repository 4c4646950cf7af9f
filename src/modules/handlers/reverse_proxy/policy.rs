//! Selection policies as JSON and Caddyfile write them (`lb_policy`).

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::balance::Policy;
use super::cookie::StickyCookie;
use super::json::POLICY_TAG;
use crate::adapt::{Cursor, Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::schema::{self, ModuleSchema};
use crate::config::{Duration, ModuleJson, Secret, is_default, parse_integer};
use crate::http::{ProvisionError, Template, Unknown};
use crate::module::Module;

/// Caddy's namespace of selection policies.
pub const NAMESPACE: &str = "http.reverse_proxy.selection_policies";

pub(in crate::modules::handlers) static MODULE: Module = Module {
    submodules: SYNTAX,
    schemas: &[
        ModuleSchema::of::<Plain>("http.reverse_proxy.selection_policies", "random"),
        ModuleSchema::of::<Plain>("http.reverse_proxy.selection_policies", "least_conn"),
        ModuleSchema::of::<Plain>("http.reverse_proxy.selection_policies", "round_robin"),
        ModuleSchema::of::<Plain>("http.reverse_proxy.selection_policies", "first"),
        ModuleSchema::of::<Plain>("http.reverse_proxy.selection_policies", "ip_hash"),
        ModuleSchema::of::<Plain>("http.reverse_proxy.selection_policies", "client_ip_hash"),
        ModuleSchema::of::<Plain>("http.reverse_proxy.selection_policies", "uri_hash"),
        ModuleSchema::of::<RandomChoose>("http.reverse_proxy.selection_policies", "random_choose"),
        ModuleSchema::of::<WeightedRoundRobin>(
            "http.reverse_proxy.selection_policies",
            "weighted_round_robin",
        ),
        ModuleSchema::of::<QueryHash>("http.reverse_proxy.selection_policies", "query"),
        ModuleSchema::of::<HeaderHash>("http.reverse_proxy.selection_policies", "header"),
        ModuleSchema::of::<CookieHash>("http.reverse_proxy.selection_policies", "cookie"),
    ],
    ..Module::EMPTY
};

/// How each policy is written.
const SYNTAX: &[SubmoduleSyntax] = &[
    plain("random"),
    policy("random_choose", "random_choose <count>", parse_random_choose),
    plain("least_conn"),
    plain("round_robin"),
    policy("weighted_round_robin", "weighted_round_robin <weights...>", parse_weights),
    plain("first"),
    plain("ip_hash"),
    plain("client_ip_hash"),
    plain("uri_hash"),
    policy("query", "query <key> {\n\tfallback <policy>\n}", |r| parse_keyed(r, "key")),
    policy("header", "header <field> {\n\tfallback <policy>\n}", |r| parse_keyed(r, "field")),
    policy(
        "cookie",
        "cookie [<name> [<secret>]] {\n\tfallback <policy>\n\tmax_age <duration>\n}",
        parse_cookie,
    ),
];

type Read = fn(&mut SubmoduleReader<'_>) -> Result<Value, Error>;

const fn policy(name: &'static str, syntax: &'static str, parse: Read) -> SubmoduleSyntax {
    SubmoduleSyntax { namespace: NAMESPACE, name, syntax, parse }
}

/// A policy without arguments.
const fn plain(name: &'static str) -> SubmoduleSyntax {
    policy(name, name, |reader| {
        reader.cursor.next();
        let [] = reader.cursor.last_args()?;
        Ok(json!({}))
    })
}

/// Nothing to say.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Plain {}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RandomChoose {
    #[serde(skip_serializing_if = "is_default")]
    choose: i64,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct WeightedRoundRobin {
    #[serde(skip_serializing_if = "is_default")]
    weights: Vec<i64>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct QueryHash {
    #[serde(skip_serializing_if = "is_default")]
    key: String,
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::SelectionPolicy>")]
    fallback: Option<ModuleJson>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct HeaderHash {
    #[serde(skip_serializing_if = "is_default")]
    field: String,
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::SelectionPolicy>")]
    fallback: Option<ModuleJson>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct CookieHash {
    #[serde(skip_serializing_if = "is_default")]
    name: String,
    #[serde(skip_serializing_if = "is_default")]
    secret: Secret,
    #[serde(skip_serializing_if = "is_default")]
    max_age: Duration,
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::SelectionPolicy>")]
    fallback: Option<ModuleJson>,
}

fn parse_random_choose(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let [choose] = cursor.args()?;
    let choose = parse_integer(&choose)
        .map_err(|error| cursor.err(format!("invalid choice value '{choose}': {error}")))?;
    Ok(json!({ "choose": choose }))
}

fn parse_weights(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let args = cursor.remaining_args();
    if args.is_empty() {
        return Err(cursor.arg_err());
    }
    let mut weights = Vec::with_capacity(args.len());
    for arg in args {
        let weight = parse_integer(&arg)
            .map_err(|error| cursor.err(format!("invalid weight value '{arg}': {error}")))?;
        if weight < 0 {
            let message = format!("invalid weight value '{arg}': weight should be non-negative");
            return Err(cursor.err(message));
        }
        weights.push(weight);
    }
    Ok(json!({ "weights": weights }))
}

/// A policy that has a key of its own and a fallback.
fn parse_keyed(reader: &mut SubmoduleReader<'_>, key: &'static str) -> Result<Value, Error> {
    reader.cursor.next();
    let [value] = reader.cursor.args()?;
    let mut fallback = None;
    while reader.cursor.next_block(0) {
        match reader.cursor.val() {
            "fallback" => read_fallback(reader, &mut fallback)?,
            _ => return Err(unrecognized_option(&reader.cursor, &["fallback"])),
        }
    }
    let mut json = json!({ key: value });
    if let Some(fallback) = fallback {
        json["fallback"] = json!(fallback);
    }
    Ok(json)
}

fn parse_cookie(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    reader.cursor.next();
    let mut cookie = CookieHash::default();
    match reader.cursor.remaining_args().as_slice() {
        [] => {}
        [name] => cookie.name.clone_from(name),
        [name, secret] => {
            cookie.name.clone_from(name);
            cookie.secret = secret.as_str().into();
        }
        _ => return Err(reader.cursor.arg_err()),
    }
    while reader.cursor.next_block(0) {
        match reader.cursor.val() {
            "fallback" => read_fallback(reader, &mut cookie.fallback)?,
            "max_age" => {
                let cursor = &mut reader.cursor;
                let [text] = cursor.args()?;
                if cookie.max_age != Duration::ZERO {
                    return Err(cursor.err("cookie max_age already specified"));
                }
                cookie.max_age = text.parse().map_err(|_| cursor.err(format!("invalid duration: {text}")))?;
                if cookie.max_age.positive().is_none() {
                    let message =
                        format!("invalid duration: {text}, max_age should be non-zero and positive");
                    return Err(cursor.err(message));
                }
                if cursor.next_arg() {
                    return Err(cursor.arg_err());
                }
            }
            _ => return Err(unrecognized_option(&reader.cursor, &["fallback", "max_age"])),
        }
    }
    Ok(json!(cookie))
}

fn read_fallback(reader: &mut SubmoduleReader<'_>, fallback: &mut Option<ModuleJson>) -> Result<(), Error> {
    if !reader.cursor.next_arg() {
        return Err(reader.cursor.arg_err());
    }
    if fallback.is_some() {
        return Err(reader.cursor.err("fallback selection policy already specified"));
    }
    *fallback = Some(reader.submodule(NAMESPACE, POLICY_TAG)?);
    Ok(())
}

fn unrecognized_option(cursor: &Cursor, known: &[&str]) -> Error {
    let message = format!("unrecognized option '{}'", cursor.val());
    cursor.err(message).did_you_mean(cursor.val(), known.iter().copied())
}

/// The policy that the JSON asks for; at random without any.
///
/// # Errors
/// There is no such policy, or it refuses its configuration.
pub fn provision(json: Option<&ModuleJson>) -> Result<Policy, ProvisionError> {
    let Some(json) = json else { return Ok(Policy::Random) };
    let name = json.name(POLICY_TAG)?;
    let plain = |policy: Policy| json.decode::<Plain>(POLICY_TAG).map(|_| policy);
    Ok(match name {
        "random" => plain(Policy::Random)?,
        "least_conn" => plain(Policy::LeastConn)?,
        "round_robin" => plain(Policy::RoundRobin(0.into()))?,
        "first" => plain(Policy::First)?,
        "ip_hash" => plain(Policy::IpHash)?,
        "client_ip_hash" => plain(Policy::ClientIpHash)?,
        "uri_hash" => plain(Policy::UriHash)?,
        "random_choose" => random_choose(&json.decode(POLICY_TAG)?)?,
        "weighted_round_robin" => weighted_round_robin(&json.decode(POLICY_TAG)?)?,
        "query" => query(&json.decode(POLICY_TAG)?)?,
        "header" => header(&json.decode(POLICY_TAG)?)?,
        "cookie" => cookie(&json.decode(POLICY_TAG)?)?,
        _ => return Err(ProvisionError::Unknown { namespace: NAMESPACE, name: name.to_owned() }),
    })
}

fn random_choose(config: &RandomChoose) -> Result<Policy, ProvisionError> {
    match config.choose {
        0 => Ok(Policy::RandomChoose(2)),
        choose => match usize::try_from(choose) {
            Ok(choose) if choose >= 2 => Ok(Policy::RandomChoose(choose)),
            _ => Err(ProvisionError::invalid("choose must be at least 2")),
        },
    }
}

fn weighted_round_robin(config: &WeightedRoundRobin) -> Result<Policy, ProvisionError> {
    let weight = |weight: &i64| {
        u32::try_from(*weight)
            .map_err(|_| ProvisionError::invalid("weight of an upstream cannot be negative"))
    };
    let weights = config.weights.iter().map(weight).collect::<Result<Box<[_]>, _>>()?;
    match weights.iter().try_fold(0_u32, |sum, weight| sum.checked_add(*weight)) {
        Some(1..) => Ok(Policy::WeightedRoundRobin { weights, turn: 0.into() }),
        Some(0) => Err(ProvisionError::invalid(
            "weighted_round_robin requires at least one upstream with a positive weight",
        )),
        None => Err(ProvisionError::invalid("the weights of weighted_round_robin are too large")),
    }
}

fn query(config: &QueryHash) -> Result<Policy, ProvisionError> {
    if config.key.is_empty() {
        return Err(ProvisionError::invalid("query key is required"));
    }
    let value = Template::compile(&format!("{{http.request.uri.query.{}}}", config.key), Unknown::Empty);
    Ok(Policy::Query { value, fallback: fallback(config.fallback.as_ref())? })
}

fn header(config: &HeaderHash) -> Result<Policy, ProvisionError> {
    if config.field.is_empty() {
        return Err(ProvisionError::invalid("header field is required"));
    }
    let field: HeaderName = config
        .field
        .parse()
        .map_err(|_| ProvisionError::invalid(format!("invalid header name '{}'", config.field)))?;
    Ok(Policy::Header { field, fallback: fallback(config.fallback.as_ref())? })
}

fn cookie(config: &CookieHash) -> Result<Policy, ProvisionError> {
    let name = if config.name.is_empty() { "lb" } else { &config.name };
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(ProvisionError::invalid(format!("invalid cookie name '{name}'")));
    }
    let cookie = StickyCookie::new(name, &config.secret, config.max_age.positive());
    Ok(Policy::Cookie { cookie, fallback: fallback(config.fallback.as_ref())? })
}

/// Fallbacks of fallbacks: each request may go through all of them.
const FALLBACKS_MAX: usize = 10;

fn fallback(json: Option<&ModuleJson>) -> Result<Box<Policy>, ProvisionError> {
    let first = json.map(|json| &json.0);
    let chain = std::iter::successors(first, |json| json.get("fallback").and_then(Value::as_object));
    if chain.take(FALLBACKS_MAX + 1).count() > FALLBACKS_MAX {
        let problem = format!("more than {FALLBACKS_MAX} fallbacks inside one another");
        return Err(ProvisionError::invalid(problem));
    }
    let policy = provision(json);
    policy.map(Box::new).map_err(|error| error.at("loading fallback selection policy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(json: Value) -> Result<Policy, String> {
        let json: ModuleJson = serde_json::from_value(json).unwrap();
        provision(Some(&json)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_policy_that_can_be_written_can_be_provisioned() {
        for row in SYNTAX {
            let json = match row.name {
                "weighted_round_robin" => json!({"policy": row.name, "weights": [1, 2]}),
                "query" => json!({"policy": row.name, "key": "k", "fallback": {"policy": "first"}}),
                "header" => json!({"policy": row.name, "field": "X-A"}),
                name => json!({ "policy": name }),
            };
            assert!(outcome(json).is_ok(), "{}", row.name);
        }
        assert!(matches!(provision(None), Ok(Policy::Random)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (json, says) in [
            (json!({"policy": "luck"}), "module not registered: http.reverse_proxy.selection_policies.luck"),
            (json!({"policy": "first", "weights": []}), "unknown field \"weights\""),
            (json!({"policy": "random_choose", "choose": 1}), "choose must be at least 2"),
            (json!({"policy": "weighted_round_robin"}), "at least one upstream with a positive weight"),
            (json!({"policy": "weighted_round_robin", "weights": [1, -1]}), "cannot be negative"),
            (json!({"policy": "query"}), "query key is required"),
            (json!({"policy": "header"}), "header field is required"),
            (json!({"policy": "cookie", "name": "a b"}), "invalid cookie name"),
            (
                json!({"policy": "cookie", "fallback": {"policy": "luck"}}),
                "loading fallback selection policy",
            ),
            (
                (0..11).fold(
                    json!({"policy": "first"}),
                    |inner, _| json!({"policy": "query", "key": "k", "fallback": inner}),
                ),
                "more than 10 fallbacks inside one another",
            ),
        ] {
            let error = outcome(json).err().unwrap();
            assert!(error.contains(says), "{error}");
        }
    }
}
