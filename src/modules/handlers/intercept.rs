//! `intercept`: answers of later handlers are replaced. It can be written so far, and not run.
//!
//! ```caddyfile
//! :8080 {
//! 	intercept {
//! 		@missing status 404
//! 		handle_response @missing {
//! 			respond "There is nothing here." 404
//! 		}
//! 	}
//! }
//! ```

use std::collections::BTreeMap;

use serde::Serialize;

use super::reverse_proxy::json::ResponseHandler;
use crate::adapt::{Cursor, Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::http::ResponseMatcher;
use crate::module::Module;

const SYNTAX: &str = "intercept [<matcher>] {
	@name {
		status <codes...>
		header <field> [<value>]
	}
	replace_status [<matcher>] <status>
	handle_response [<matcher>] {
		<directives...>
	}
}";

pub(super) static MODULE: Module = Module {
    directives: &[Directive { name: "intercept", syntax: SYNTAX, parse: Parse::Handler(parse) }],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/intercept/>).
#[derive(Default, Serialize)]
struct Intercept {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    handle_response: Vec<ResponseHandler>,
}

type Matchers = BTreeMap<String, ResponseMatcher>;

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let mut matchers = Matchers::new();
    let mut handlers = Vec::new();
    let mut blocks = Vec::new();
    h.cursor.next();
    while h.cursor.next_block(0) {
        match h.cursor.val() {
            name if name.starts_with('@') => {
                let (name, matcher) = ResponseMatcher::parse(&mut h.cursor)?;
                if matchers.insert(name.clone(), matcher).is_some() {
                    return Err(h.cursor.err(format!("matcher is defined more than once: {name}")));
                }
            }
            // Read when all matchers are known.
            "handle_response" => blocks.push(h.cursor.new_from_next_segment()),
            "replace_status" => handlers.push(replace_status(&mut h.cursor, &matchers)?),
            word => {
                return Err(h
                    .cursor
                    .err(format!("unrecognized subdirective {word}"))
                    .did_you_mean(word, ["handle_response", "replace_status"]));
            }
        }
    }
    for block in blocks {
        handlers.push(handle_response(h, block, &matchers)?);
    }
    // Those for all answers come last.
    handlers.sort_by_key(|handler| handler.matcher.is_none());
    Ok(ModuleJson::new(HANDLER_TAG, "intercept", &Intercept { handle_response: handlers }))
}

fn replace_status(cursor: &mut Cursor, matchers: &Matchers) -> Result<ResponseHandler, Error> {
    let args = cursor.remaining_args();
    let (matcher, status) = match args.as_slice() {
        [status] => (None, status),
        [name, status] => (Some(named(cursor, name, matchers)?), status),
        _ => {
            let message = "must have one or two arguments: an optional response matcher, and a status code";
            return Err(cursor.err(message));
        }
    };
    let nesting = cursor.nesting();
    if cursor.next_block(nesting) {
        let message = "cannot define routes for 'replace_status', use 'handle_response' instead.";
        return Err(cursor.err(message));
    }
    Ok(ResponseHandler { matcher, status_code: status.as_str().into(), ..ResponseHandler::default() })
}

fn handle_response(h: &Helper<'_>, mut block: Cursor, matchers: &Matchers) -> Result<ResponseHandler, Error> {
    block.next();
    let args = block.remaining_args();
    let matcher = match args.as_slice() {
        [] => None,
        [name] => Some(named(&block, name, matchers)?),
        _ => {
            return Err(block.err(format!(
                "too many arguments for 'handle_response': only a single response matcher name is allowed, but got: \
                 [{}]",
                args.join(" ")
            )));
        }
    };
    let routes = h.with_cursor(block.new_from_next_segment()).parse_segment_as_subroute()?.routes;
    Ok(ResponseHandler { matcher, routes, ..ResponseHandler::default() })
}

fn named(cursor: &Cursor, name: &str, matchers: &Matchers) -> Result<ResponseMatcher, Error> {
    let Some(bare) = name.strip_prefix('@') else {
        return Err(cursor.err("must use a named response matcher, starting with '@'"));
    };
    matchers.get(name).cloned().ok_or_else(|| {
        cursor
            .err(format!("no named response matcher defined with name '{bare}'"))
            .did_you_mean(name, matchers.keys().map(String::as_str))
    })
}
