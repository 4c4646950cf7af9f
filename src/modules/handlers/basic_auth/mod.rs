//! `basic_auth`: lets in who knows a name and a password (RFC 7617).
//!
//! The Caddyfile holds hashes of the passwords, such as `hash-password` prints. `basicauth` is the old
//! name.
//!
//! ```caddyfile
//! :8080 {
//! 	basic_auth /private/* {
//! 		bob $2a$04$abcdefghijklmnopqrstuuQhVq/xdsfBZJZwKPiP3KK5VQ0TfcaoK
//! 	}
//! 	respond "hello {http.auth.user.id}"
//! }
//! ```

mod cache;
mod hash;

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use self::cache::Cache;
use self::hash::{Algorithm, Hash};
use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::{self, ModuleSchema};
use crate::config::{ModuleJson, Secret, decode, is_default};
use crate::http::{
    Exchange, Handler, HandlerError, HandlerType, Outcome, Provision, ProvisionError, Step, Template,
    Unknown, Value, header_value, target,
};
use crate::module::Module;

const SYNTAX: &str = "basic_auth [<matcher>] [bcrypt|argon2id [<realm>]] {
	<username> <hashed_password>
	...
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[
        Directive { name: OLD_NAME, syntax: SYNTAX, parse: Parse::Handler(parse) },
        Directive { name: "basic_auth", syntax: SYNTAX, parse: Parse::Handler(parse) },
    ],
    schemas: &[
        ModuleSchema::of::<Authentication>("http.handlers", NAME),
        ModuleSchema::of::<HttpBasic>("http.authentication.providers", PROVIDER),
    ],
    ..Module::EMPTY
};

const NAME: &str = "authentication";

/// How the directive was called once.
const OLD_NAME: &str = "basicauth";

/// The only way to tell who someone is, so far.
const PROVIDER: &str = "http_basic";

/// The realm unless another is given.
const REALM: &str = "restricted";

/// The placeholder for who it is.
const USER_ID: &str = "http.auth.user.id";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/authentication/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Authentication {
    /// Ways to tell who someone is, by name.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "schema::AuthenticationProviders")]
    providers: serde_json::Map<String, Json>,
}

/// Names and passwords.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct HttpBasic {
    /// How passwords are hashed: `{"algorithm": "bcrypt"}` unless given.
    #[serde(skip_serializing_if = "is_default")]
    hash: Option<HashJson>,
    /// Who may come in.
    #[serde(skip_serializing_if = "is_default")]
    accounts: Vec<Account>,
    /// What clients show when they ask for the password.
    #[serde(skip_serializing_if = "is_default")]
    realm: String,
    /// If it is there, outcomes are remembered for a while.
    #[serde(skip_serializing_if = "is_default")]
    hash_cache: Option<serde_json::Map<String, Json>>,
}

/// How passwords are hashed.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HashJson {
    algorithm: Algorithm,
}

/// A name with the hash of its password, which may be encoded in base64.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Account {
    username: String,
    password: Secret,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    h.cursor.next();
    if h.cursor.val() == OLD_NAME {
        h.warn("the 'basicauth' directive is deprecated, please use 'basic_auth' instead!");
    }
    let cursor = &mut h.cursor;
    let args = cursor.remaining_args();
    let (algorithm, realm) = match args.as_slice() {
        [] => ("bcrypt", ""),
        [algorithm] => (algorithm.as_str(), ""),
        [algorithm, realm] => (algorithm.as_str(), realm.as_str()),
        _ => return Err(cursor.arg_err()),
    };
    let Some(algorithm) = Algorithm::parse(algorithm) else {
        let message = format!("unrecognized hash algorithm: {algorithm}");
        return Err(cursor.err(message).did_you_mean(algorithm, Algorithm::NAMES));
    };
    let mut accounts = Vec::new();
    while cursor.next_block(0) {
        let username = cursor.val().to_owned();
        let password = if cursor.next_arg() { cursor.val().to_owned() } else { String::new() };
        if cursor.next_arg() {
            return Err(cursor.arg_err());
        }
        if username.is_empty() || password.is_empty() {
            return Err(cursor.err("username and password cannot be empty or missing"));
        }
        accounts.push(Account { username, password: password.into() });
    }
    let basic = HttpBasic {
        hash: Some(HashJson { algorithm }),
        accounts,
        realm: realm.to_owned(),
        hash_cache: Some(serde_json::Map::new()),
    };
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &json!({"providers": {PROVIDER: basic}})))
}

/// Provisioned accounts.
struct BasicAuth {
    accounts: Box<[(Box<[u8]>, Arc<Hash>)]>,
    /// For names that there aren't, so that asking for them takes as long.
    decoy: Arc<Hash>,
    challenge: HeaderValue,
    cache: Option<Cache>,
}

/// No provider at all: nobody comes in.
struct Nobody;

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let Authentication { providers } = json.decode(HANDLER_TAG)?;
    if let Some(name) = providers.keys().find(|name| *name != PROVIDER) {
        return Err(ProvisionError::Unknown {
            namespace: "http.authentication.providers",
            name: name.clone(),
        });
    }
    let Some(basic) = providers.get(PROVIDER) else { return Ok(Box::new(Nobody)) };
    let basic: HttpBasic = decode(basic.clone())
        .map_err(|error| ProvisionError::invalid(format!("loading authentication providers: {error}")))?;
    Ok(Box::new(BasicAuth::new(&basic)?))
}

impl BasicAuth {
    fn new(config: &HttpBasic) -> Result<Self, ProvisionError> {
        let algorithm = config.hash.as_ref().map_or(Algorithm::Bcrypt, |hash| hash.algorithm);
        let mut accounts: Vec<(Box<[u8]>, Arc<Hash>)> = Vec::with_capacity(config.accounts.len());
        for (index, account) in config.accounts.iter().enumerate() {
            let fixed = |text: &str| {
                let template = Template::compile(text, Unknown::Empty);
                template.constant().unwrap_or_default().into_owned()
            };
            let (name, password) = (fixed(&account.username), fixed(&account.password));
            if name.is_empty() || password.is_empty() {
                let message = format!("account {index}: username and password are required");
                return Err(ProvisionError::invalid(message));
            }
            if accounts.iter().any(|(known, _)| **known == *name) {
                let name = target::lossy(&name);
                let message = format!("account {index}: username is not unique: {name}");
                return Err(ProvisionError::invalid(message));
            }
            let hash = Hash::read(algorithm, &decoded(&password)?).unwrap_or_else(|error| {
                // As in Caddy this is no reason not to start, but nobody gets in by it.
                ::tracing::error!(account = index, %error, "the hash of a password is malformed, so none will match");
                Hash::Malformed
            });
            accounts.push((name.into(), Arc::new(hash)));
        }
        let decoy =
            accounts.iter().find_map(|(_, hash)| hash.decoy()).unwrap_or(Hash::default_decoy(algorithm));
        let realm = if config.realm.is_empty() { REALM } else { &config.realm };
        let cache = config.hash_cache.is_some().then(Cache::new).transpose();
        Ok(Self {
            accounts: accounts.into(),
            decoy: Arc::new(decoy),
            challenge: header_value(format!("Basic realm=\"{realm}\"").as_bytes()),
            cache: cache
                .map_err(|error| ProvisionError::invalid(format!("salting the hash cache: {error}")))?,
        })
    }

    /// Nobody knows who this is.
    fn refuse(&self, x: &mut Exchange) -> HandlerError {
        x.response_headers.insert(WWW_AUTHENTICATE, self.challenge.clone());
        unauthorized()
    }

    /// Waits for the comparison of a password, and lets its owner in if it was right.
    async fn check(&self, x: &mut Exchange, given: Given) -> Outcome<'_> {
        let account = self.accounts.iter().position(|(name, _)| **name == *given.name);
        let hash = account.map_or(&self.decoy, |index| &self.accounts[index].1).clone();
        let password = given.password;
        let right = match &self.cache {
            Some(cache) => {
                let key = cache.key(account, &password);
                cache.outcome(key, || hash::compare(hash, password)).await
            }
            None => hash::compare(hash, password).await,
        };
        match right {
            Ok(true) if account.is_some() => admit(x, given.name),
            Ok(_) => Outcome::Fail(self.refuse(x)),
            Err(busy) => Outcome::Fail(HandlerError::new(StatusCode::SERVICE_UNAVAILABLE, busy)),
        }
    }

    /// Whether this is known to be right without a comparison.
    fn is_known(&self, given: &Given) -> bool {
        let Some(cache) = &self.cache else { return false };
        let account = self.accounts.iter().position(|(name, _)| **name == *given.name);
        account.is_some() && cache.is_right(&cache.key(account, &given.password))
    }
}

fn admit(x: &mut Exchange, name: Vec<u8>) -> Outcome<'static> {
    x.named.set(USER_ID, Value::Text(Cow::Owned(name)));
    Outcome::Next
}

fn unauthorized() -> HandlerError {
    HandlerError::new(StatusCode::UNAUTHORIZED, "not authenticated")
}

/// A hash is either written as it is, which begins with `$`, or in base64.
fn decoded(password: &[u8]) -> Result<Cow<'_, [u8]>, ProvisionError> {
    if password.starts_with(b"$") {
        return Ok(Cow::Borrowed(password));
    }
    let decoded = STANDARD.decode(password);
    decoded
        .map(Cow::Owned)
        .map_err(|error| ProvisionError::invalid(format!("base64-decoding password: {error}")))
}

/// What a client says who it is.
struct Given {
    name: Vec<u8>,
    password: Vec<u8>,
}

impl Given {
    /// Reads the first `Authorization` field; `None` if it is of another kind.
    fn read(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(AUTHORIZATION)?.as_bytes();
        let (scheme, encoded) = value.split_at_checked(b"Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let mut name = STANDARD.decode(encoded).ok()?;
        let at = memchr::memchr(b':', &name)?;
        let password = name.split_off(at + 1);
        name.truncate(at);
        Some(Self { name, password })
    }
}

impl Handler for BasicAuth {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        match Given::read(&x.headers) {
            None => Step::Now(Outcome::Fail(self.refuse(x))),
            Some(given) if self.is_known(&given) => Step::Now(admit(x, given.name)),
            Some(given) => Step::Later(Box::pin(self.check(x, given))),
        }
    }
}

impl Handler for Nobody {
    fn handle<'p: 'x, 'x>(&'p self, _: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Now(Outcome::Fail(unauthorized()))
    }
}

#[cfg(test)]
mod tests;
