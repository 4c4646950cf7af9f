//! Request matchers.

mod client_ip;
mod expression;
pub(super) mod file;
mod header;
mod header_regexp;
mod host;
mod ip_ranges;
#[cfg(test)]
mod many_tests;
mod method;
mod not;
mod path;
mod path_regexp;
mod pattern;
mod protocol;
mod query;
mod remote_ip;
mod tls;
mod url_pattern;
mod vars;
mod vars_regexp;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::adapt::{Cursor, Error, matcher_text};
use crate::config;
use crate::http::ProvisionError;
use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[
    &client_ip::MODULE,
    &expression::MODULE,
    &file::MODULE,
    &header::MODULE,
    &header_regexp::MODULE,
    &host::MODULE,
    &method::MODULE,
    &not::MODULE,
    &path::MODULE,
    &path_regexp::MODULE,
    &protocol::MODULE,
    &query::MODULE,
    &remote_ip::MODULE,
    &tls::MODULE,
    &url_pattern::MODULE,
    &vars::MODULE,
    &vars_regexp::MODULE,
];

/// A list as JSON. Caddy writes `null` where nothing was said, and reads it as a list of nothing.
fn list(items: Vec<String>) -> Value {
    if items.is_empty() { Value::Null } else { items.into() }
}

/// Decodes the JSON of a matcher.
fn decode<T: DeserializeOwned>(name: &str, json: &Value) -> Result<T, ProvisionError> {
    config::decode(json.clone())
        .map_err(|error| ProvisionError::invalid(format!("decoding module config: {name}: {error}")))
}

/// The arguments of a matcher that may stand several times in a set and takes nothing else. A `*`
/// that an environment variable brought in stays a plain one where `is_wildcard` says, of the
/// argument and a byte's place in it, that it would be a wildcard.
fn arguments(
    cursor: &mut Cursor,
    name: &str,
    is_wildcard: impl Fn(&str, usize) -> bool,
) -> Result<Vec<String>, Error> {
    let mut arguments = Vec::new();
    while cursor.next() {
        let tokens = cursor.remaining_args_as_tokens();
        arguments.extend(tokens.iter().map(|token| matcher_text(token, |at| is_wildcard(&token.text, at))));
        no_block(cursor, name)?;
    }
    Ok(arguments)
}

/// Refuses a block.
fn no_block(cursor: &mut Cursor, name: &str) -> Result<(), Error> {
    if cursor.next_block(0) {
        return Err(cursor.err(format!("malformed {name} matcher: blocks are not supported")));
    }
    Ok(())
}
