//! `forward_auth`: asks another server whether a request may pass. It is written for a
//! `reverse_proxy` that goes on with the request if the answer is good.
//!
//! ```caddyfile
//! :8080 {
//! 	forward_auth localhost:9091 {
//! 		uri /api/verify
//! 		copy_headers Remote-User Remote-Groups>X-Groups
//! 	}
//! 	reverse_proxy localhost:8000
//! }
//! ```

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::reverse_proxy::json::{Headers, ResponseHandler, ReverseProxy};
use super::reverse_proxy::{self, parse};
use crate::adapt::{ConfigValue, Cursor, Directive, Error, Helper, Parse};
use crate::config::headers::{HeaderOps, ResponseMatcher};
use crate::config::http::{HANDLER_TAG, Route};
use crate::config::{ModuleJson, canonical_header_name};
use crate::module::Module;

const SYNTAX: &str = "forward_auth [<matcher>] [<upstreams...>] {
	uri          <to>
	copy_headers <field>[>rename]... {
		<field>[>rename]...
	}
	...reverse_proxy subdirectives
}";

pub(super) static MODULE: Module = Module {
    directives: &[Directive { name: "forward_auth", syntax: SYNTAX, parse: Parse::Routes(parse_directive) }],
    ..Module::EMPTY
};

fn parse_directive(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    let matchers = h.extract_matcher_set()?;
    // Gathered once more, as in Caddy: what stands behind the block's end becomes a part of it, and is refused.
    h.cursor.next();
    h.cursor = h.cursor.new_from_next_segment();
    let (uri, copied) = take_own(&mut h.cursor)?;
    h.cursor.reset();
    if uri.is_empty() {
        return Err(h.cursor.err("the 'uri' subdirective is required"));
    }
    // The request's body stays here for the handlers that follow: a GET has none.
    let rewrite = json!({"method": "GET", "uri": uri});
    let field = |placeholder: &str| vec![format!("{{http.request.{placeholder}}}")];
    let set = [("X-Forwarded-Method", field("method")), ("X-Forwarded-Uri", field("uri"))];
    let request =
        HeaderOps { set: set.map(|(name, value)| (name.to_owned(), value)).into(), ..HeaderOps::default() };
    let proxy = ReverseProxy {
        headers: Some(Headers { request: Some(request), response: None }),
        rewrite: rewrite.as_object().cloned(),
        handle_response: vec![good_answer(&copied)],
        ..ReverseProxy::default()
    };
    let proxy = parse::read(h, proxy)?;
    Ok(h.new_route(matchers, ModuleJson::new(HANDLER_TAG, reverse_proxy::NAME, &proxy)))
}

/// Reads the subdirectives of our own and takes them away, so that those of `reverse_proxy` are left:
/// the target to ask for, and the header fields to copy, from name to name.
fn take_own(cursor: &mut Cursor) -> Result<(String, BTreeMap<String, String>), Error> {
    let (mut uri, mut copied) = (String::new(), BTreeMap::new());
    cursor.next();
    cursor.remaining_args();
    while cursor.next_block(0) {
        // Blocks inside may have subdirectives of the same names.
        if cursor.nesting() != 1 {
            continue;
        }
        match cursor.val() {
            "uri" => {
                let [said] = cursor.args()?;
                if !uri.is_empty() {
                    return Err(cursor.err(format!("cannot re-declare uri: {said}")));
                }
                uri = said;
                cursor.delete_n(2);
            }
            "copy_headers" => {
                take_copied(cursor, &mut copied);
                if copied.is_empty() {
                    return Err(cursor.arg_err());
                }
            }
            _ => {}
        }
    }
    Ok((uri, copied))
}

fn take_copied(cursor: &mut Cursor, copied: &mut BTreeMap<String, String>) {
    let mut fields = cursor.remaining_args();
    let nesting = cursor.nesting();
    let mut has_block = false;
    while cursor.next_block(nesting) {
        has_block = true;
        fields.push(cursor.val().to_owned());
    }
    // The subdirective's name, its arguments, and the braces of its block.
    cursor.delete_n(1 + fields.len() + if has_block { 2 } else { 0 });
    for field in fields {
        let mut names = field.split('>');
        let from = names.next().unwrap_or_default().to_owned();
        let to = names.next().unwrap_or(&from).to_owned();
        copied.insert(from, to);
    }
}

/// What happens after a 2xx: the request goes on, with header fields of the answer.
fn good_answer(copied: &BTreeMap<String, String>) -> ResponseHandler {
    // Without a route the answer would not count as handled.
    let mut routes = vec![route(ModuleJson::new(HANDLER_TAG, "vars", &json!({})), None)];
    for (from, to) in copied {
        let to = canonical_header_name(to).into_owned();
        let value = format!("{{http.reverse_proxy.header.{}}}", canonical_header_name(from));
        // The client's own field goes in any case, or it could claim what the answer does not say.
        routes.push(route(change_request(&json!({ "delete": [to.clone()] })), None));
        let absent = json!({"not": [{"vars": {value.clone(): [""]}}]});
        routes.push(route(change_request(&json!({"set": {to: [value]}})), absent.as_object().cloned()));
    }
    let matcher = ResponseMatcher { status_code: Some(vec![2]), ..ResponseMatcher::default() };
    ResponseHandler { matcher: Some(matcher), routes, ..ResponseHandler::default() }
}

fn change_request(ops: &Value) -> ModuleJson {
    ModuleJson::new(HANDLER_TAG, "headers", &json!({ "request": ops }))
}

fn route(handler: ModuleJson, matcher: Option<Map<String, Value>>) -> Route {
    Route { matcher_sets: matcher.into_iter().collect(), handle: vec![handler], ..Route::default() }
}
