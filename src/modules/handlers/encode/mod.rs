//! `encode`: answers are compressed on their way to the client.
//!
//! ```caddyfile
//! :8080 {
//! 	encode zstd gzip
//! 	respond "text that is long enough"
//! }
//! ```

mod accept;
mod answer;
mod body;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use http::header::{CACHE_CONTROL, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::answer::{Offer, Settings};
use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::{self, ModuleSchema};
use crate::config::{ModuleJson, is_default};
use crate::http::{
    Exchange, Handler, HandlerType, Outcome, Provision, ProvisionError, ResponseMatcher, Step,
};
use crate::module::Module;
use crate::modules::encoders;

const NAME: &str = "encode";

const SYNTAX: &str = "encode [<matcher>] [<formats...>] {
	gzip [<level>]
	zstd [<level>] {
		level <level>
		disable_checksum
	}
	br [<quality>]
	minimum_length <bytes>
	match [status <codes...>] [header <field> [<value>]]
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: NAME, syntax: SYNTAX, parse: Parse::Handler(parse) }],
    schemas: &[ModuleSchema::of::<Encode>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// What is said if nothing is: the formats in the order of preference.
const DEFAULT: [&str; 2] = ["zstd", "gzip"];
/// The order of preference where JSON gives none.
const PREFERENCE: [&str; 3] = ["zstd", "br", "gzip"];
/// What is not longer is not compressed, if nothing else is said.
const MINIMUM_LENGTH: i64 = 512;
/// Answers of these types are compressed, if nothing else is said: those that mostly are text.
const TYPES: [&str; 35] = [
    "application/atom+xml",
    "application/eot",
    "application/font",
    "application/geo+json",
    "application/graphql+json",
    "application/graphql-response+json",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/opentype",
    "application/otf",
    "application/rss+xml",
    "application/truetype",
    "application/ttf",
    "application/vnd.api+json",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-httpd-cgi",
    "application/x-javascript",
    "application/x-opentype",
    "application/x-otf",
    "application/x-perl",
    "application/x-protobuf",
    "application/x-ttf",
    "application/xhtml+xml",
    "application/xml",
    "font/ttf",
    "font/otf",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "multipart/bag",
    "multipart/mixed",
    "text/",
];

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/encode/>).
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Encode {
    /// The encodings that there are, by name.
    #[schemars(with = "schema::Encoders")]
    encodings: BTreeMap<String, Value>,
    /// Their names, the one that is preferred first.
    prefer: Vec<String>,
    /// Answers must be longer than this.
    #[serde(skip_serializing_if = "is_default")]
    minimum_length: i64,
    /// Only these answers are compressed.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matcher: Option<ResponseMatcher>,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let vocabulary = h.vocabulary();
    let cursor = &mut h.cursor;
    let mut encode = Encode::default();
    cursor.next();
    let mut formats = cursor.remaining_args();
    while cursor.next_block(0) {
        match cursor.val() {
            "minimum_length" => {
                let [text] = cursor.args()?;
                encode.minimum_length = text
                    .parse()
                    .map_err(|_| cursor.err(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))?;
            }
            "match" => encode.matcher = Some(ResponseMatcher::parse(cursor)?.1),
            name => {
                let name = name.to_owned();
                let encoding = vocabulary.submodule_value(cursor, encoders::NAMESPACE)?;
                encode.encodings.insert(name.clone(), encoding);
                encode.prefer.push(name);
            }
        }
    }
    if encode.prefer.is_empty() && formats.is_empty() {
        formats = DEFAULT.map(str::to_owned).into();
    }
    for format in formats {
        let known = vocabulary.submodule_names(encoders::NAMESPACE);
        if !known.contains(&format.as_str()) {
            let id = format!("{}.{format}", encoders::NAMESPACE);
            let message = format!("finding encoder module '': module not registered: {id}");
            return Err(cursor.err(message).did_you_mean(&format, known));
        }
        encode.encodings.insert(format.clone(), json!({}));
        encode.prefer.push(format);
    }
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &encode))
}

struct Provisioned {
    /// The encodings in the order of preference.
    offers: Box<[Offer]>,
}

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let json: Encode = json.decode(HANDLER_TAG)?;
    let minimum_length = if json.minimum_length == 0 { MINIMUM_LENGTH } else { json.minimum_length };
    let matcher = json.matcher.clone().unwrap_or_else(text).compile()?;
    let settings = Arc::new(Settings { minimum_length, matcher });
    let mut offers = Vec::with_capacity(json.encodings.len());
    for name in preferred(&json)? {
        let config = json.encodings.get(name).unwrap_or(&Value::Null);
        let (name, encoding) = encoders::provision(name, config)?;
        offers.push(Offer::new(name, encoding, settings.clone()));
    }
    Ok(Box::new(Provisioned { offers: offers.into() }))
}

/// The names of all encodings, the preferred one first.
fn preferred(json: &Encode) -> Result<Vec<&str>, ProvisionError> {
    let mut seen = HashSet::new();
    for name in &json.prefer {
        if !json.encodings.contains_key(name) {
            return Err(ProvisionError::invalid(format!("encoding {name} not enabled")));
        }
        if !seen.insert(name) {
            return Err(ProvisionError::invalid(format!("encoding {name} is duplicated in prefer")));
        }
    }
    let mut names: Vec<&str> = json.prefer.iter().map(String::as_str).collect();
    if names.is_empty() {
        names.extend(PREFERENCE.iter().filter(|name| json.encodings.contains_key(**name)));
    }
    let others = json.encodings.keys().filter(|name| !names.contains(&name.as_str()));
    let others: Vec<&str> = others.map(String::as_str).collect();
    names.extend(others);
    Ok(names)
}

/// Matches answers that mostly are text.
fn text() -> ResponseMatcher {
    let types = TYPES.map(|name| format!("{name}*")).into();
    ResponseMatcher {
        headers: BTreeMap::from([("Content-Type".to_owned(), Some(types))]),
        ..ResponseMatcher::default()
    }
}

impl Handler for Provisioned {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        if !may_be_transformed(&x.headers) {
            return Step::Now(Outcome::Next);
        }
        let place = accept::choose(&x.headers, self.offers.iter().map(Offer::name));
        let Some(offer) = place.and_then(|place| self.offers.get(place)) else {
            return Step::Now(Outcome::Next);
        };
        undo_etag(&mut x.headers, offer);
        Step::Now(Outcome::Intercept(offer))
    }
}

/// Whether somebody has forbidden to change the message's form (RFC 9111 section 5.2.1.6).
fn may_be_transformed(headers: &HeaderMap) -> bool {
    let said = headers.get(CACHE_CONTROL).map_or(&b""[..], HeaderValue::as_bytes);
    memchr::memmem::find(said, b"no-transform").is_none()
}

/// Takes off what we have put on a tag before, so that whoever gave it knows it again.
fn undo_etag(headers: &mut HeaderMap, offer: &Offer) {
    let Some(tag) = headers.get(IF_NONE_MATCH).map(HeaderValue::as_bytes) else { return };
    if tag.starts_with(b"W/") {
        return;
    }
    let Some(theirs) = tag.strip_suffix(offer.tag_suffix()) else { return };
    let theirs = [theirs, b"\""].concat();
    if let Ok(theirs) = HeaderValue::from_maybe_shared(bytes::Bytes::from(theirs)) {
        headers.insert(IF_NONE_MATCH, theirs);
    }
}

#[cfg(test)]
mod tests;
