//! `try_files`: the path becomes that of the first file that exists.
//!
//! ```caddyfile
//! :8080 {
//! 	root * /srv
//! 	try_files {path} /index.html
//! 	file_server
//! }
//! ```

use serde_json::{Map, json};

use crate::adapt::{ConfigValue, Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::{HANDLER_TAG, MatcherSet};
use crate::module::Module;
use crate::modules::matchers::file::TRY_POLICIES;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "try_files",
        syntax: "try_files <files...> {
	policy first_exist|first_exist_fallback|smallest_size|largest_size|most_recently_modified
}",
        parse: Parse::Routes(parse),
    }],
    ..Module::EMPTY
};

fn parse(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    let cursor = &mut h.cursor;
    cursor.next();
    let files = cursor.remaining_args();
    if files.is_empty() {
        return Err(cursor.arg_err());
    }
    let mut policy = String::new();
    while cursor.next_block(0) {
        // Caddy passes over a word that it doesn't know; here it is a mistake like any other.
        if cursor.val() != "policy" {
            let message = format!("unrecognized subdirective '{}'", cursor.val());
            return Err(cursor.err(message).did_you_mean(cursor.val(), ["policy"]));
        }
        if !policy.is_empty() {
            return Err(cursor.err("try policy already configured"));
        }
        [policy] = cursor.args()?;
        if !TRY_POLICIES.contains(&policy.as_str()) {
            let message = format!("unrecognized try policy: {policy}");
            return Err(cursor.err(message).did_you_mean(&policy, TRY_POLICIES.iter().copied()));
        }
    }
    // A file with a query needs a rewrite of its own.
    let mut values = Vec::new();
    let mut plain = Vec::new();
    for file in files {
        match file.find('?') {
            None => plain.push(file),
            Some(query) => {
                if !plain.is_empty() {
                    values.extend(route(h, &std::mem::take(&mut plain), &policy, ""));
                }
                values.extend(route(h, &[file[..query].to_owned()], &policy, &file[query..]));
            }
        }
    }
    if !plain.is_empty() {
        values.extend(route(h, &plain, &policy, ""));
    }
    h.group_routes(&mut values);
    Ok(values)
}

fn route(h: &Helper<'_>, files: &[String], policy: &str, query: &str) -> Vec<ConfigValue> {
    let mut file = Map::from_iter([("try_files".to_owned(), json!(files))]);
    if !policy.is_empty() {
        file.insert("try_policy".into(), json!(policy));
    }
    let matchers = MatcherSet::from_iter([("file".to_owned(), json!(file))]);
    let uri = format!("{{http.matchers.file.relative}}{query}");
    h.new_route(Some(matchers), ModuleJson::new(HANDLER_TAG, "rewrite", &json!({ "uri": uri })))
}
