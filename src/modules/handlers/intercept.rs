//! `intercept`: answers of later handlers are replaced.
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

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reverse_proxy::handle_response::{Handled, Precedence, ResponseHandlers};
use super::reverse_proxy::json::ResponseHandler;
use crate::adapt::{Cursor, Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::http::{
    Exchange, Handler, HandlerType, Intercepted, InterceptedAnswer, Interception, Interceptor, Outcome,
    Provision, ProvisionError, Response, ResponseMatcher, Step, replace_status,
};
use crate::module::Module;

const NAME: &str = "intercept";

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
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: NAME, syntax: SYNTAX, parse: Parse::Handler(parse) }],
    schemas: &[ModuleSchema::of::<Intercept>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/intercept/>).
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Intercept {
    /// What is done with answers; the first that matches counts.
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
            "replace_status" => handlers.push(parse_replace_status(&mut h.cursor, &matchers)?),
            word => {
                return Err(h
                    .cursor
                    .err(format!("unrecognized subdirective {word}"))
                    .did_you_mean(word, ["handle_response", "replace_status"]));
            }
        }
    }
    for block in blocks {
        handlers.push(parse_handle_response(h, block, &matchers)?);
    }
    // Those for all answers come last.
    handlers.sort_by_key(|handler| handler.matcher.is_none());
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &Intercept { handle_response: handlers }))
}

fn parse_replace_status(cursor: &mut Cursor, matchers: &Matchers) -> Result<ResponseHandler, Error> {
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

fn parse_handle_response(
    h: &Helper<'_>,
    mut block: Cursor,
    matchers: &Matchers,
) -> Result<ResponseHandler, Error> {
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

struct Provisioned(ResponseHandlers);

fn provision(json: &ModuleJson, ctx: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let json: Intercept = json.decode(HANDLER_TAG)?;
    let handlers = ResponseHandlers::provision(&json.handle_response, Precedence::Routes, ctx)?;
    Ok(Box::new(Provisioned(handlers)))
}

impl Handler for Provisioned {
    fn handle<'p: 'x, 'x>(&'p self, _: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Now(Outcome::Intercept(self))
    }
}

impl Interceptor for Provisioned {
    fn intercept<'p: 'x, 'x>(&'p self, x: &'x mut Exchange, mut answer: Response) -> Interception<'p, 'x> {
        // A change of protocol has been agreed on already.
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Interception::Now(Intercepted::Pass(answer));
        }
        let handled = self.0.look(x, &answer);
        if !matches!(handled, Ok(Handled::PassOn)) {
            let (status, headers) = (answer.status(), answer.headers().clone());
            x.intercepted = Some(Box::new(InterceptedAnswer { status, headers }));
        }
        match handled {
            Ok(Handled::PassOn) => {}
            Ok(Handled::Replace(status)) => replace_status(&mut answer, status),
            Ok(Handled::Enter { routes, .. }) => {
                return Interception::Now(Intercepted::Enter(routes, answer));
            }
            // As in Caddy, the answer keeps its body.
            Err(error) => {
                tracing::error!(%error, "no status to replace the answer's by");
                replace_status(&mut answer, StatusCode::INTERNAL_SERVER_ERROR);
            }
        }
        Interception::Now(Intercepted::Pass(answer))
    }
}

#[cfg(test)]
mod tests {
    use crate::http::Exchange;
    use crate::modules::testing::{site, text};

    /// Status, body and the `x-*` fields of the answer.
    fn answer(inner: &str, target: &str) -> (u16, String, String) {
        let directives =
            format!("intercept {{\n{inner}\n}}\nheader X-Own here\nrespond \"{{path}}\" {{path.1}}");
        let response = site(&directives).serve(&mut Exchange::get(target, &[]));
        let fields = response.headers().iter().filter(|(name, _)| name.as_str().starts_with("x-"));
        let fields: Vec<_> =
            fields.map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        let fields = fields.join(" ");
        let (status, body) = text(response);
        (status, body, fields)
    }

    fn expected(status: u16, body: &str, fields: &str) -> (u16, String, String) {
        (status, body.into(), fields.into())
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn the_first_that_matches_counts_and_those_without_a_matcher_come_last() {
        let inner = "@a status 404\n@b status 4xx\n@c header X-Own there\n@d status 500\n\
                     handle_response {\nrespond rest 200\n}\nreplace_status @a 410\n\
                     handle_response @b {\nrespond b 409\n}\nhandle_response @c {\nrespond c\n}\nreplace_status @d 201";
        assert_eq!(answer(inner, "/a/404"), expected(410, "/a/404", "x-own=here"));
        assert_eq!(answer(inner, "/a/403"), expected(409, "b", "x-own=here"));
        assert_eq!(answer(inner, "/a/500"), expected(201, "/a/500", "x-own=here"));
        assert_eq!(
            answer("handle_response {\nrespond rest 200\n}", "/a/500"),
            expected(200, "rest", "x-own=here")
        );
    }

    #[test]
    fn placeholders_tell_of_the_answer() {
        let inner =
            "handle_response {\nrespond \"{resp.status_code} {resp.header.X-Own} {resp.header.X-No}\"\n}";
        let body = "404 here {http.intercept.header.X-No}";
        assert_eq!(answer(inner, "/a/404"), expected(200, body, "x-own=here"));
    }

    #[test]
    fn what_the_routes_leave_open_is_as_it_was() {
        let fields = "handle_response {\nheader X-New 1\nheader >X-Late 1\nheader -X-Own\n}";
        assert_eq!(answer(fields, "/a/404"), expected(404, "/a/404", "x-own=here x-new=1"));
        let bodiless = "handle_response {\nheader >X-Late 1\nrespond 201\n}";
        assert_eq!(answer(bodiless, "/a/404"), expected(201, "/a/404", "x-own=here x-late=1"));
        assert_eq!(answer("handle_response {\nrespond 204\n}", "/a/404"), expected(204, "", "x-own=here"));
        assert_eq!(answer("handle_response {\n}", "/a/404"), expected(404, "/a/404", "x-own=here"));
    }

    #[test]
    fn a_status_out_of_a_placeholder_may_be_none() {
        let inner = "replace_status {query.s}";
        for (query, status) in [("201", 201), ("0", 404), ("x", 500), ("", 500), ("9", 500)] {
            assert_eq!(answer(inner, &format!("/a/404?s={query}")), expected(status, "/a/404", "x-own=here"));
        }
    }

    #[test]
    fn errors_are_not_answers() {
        let directives = "intercept {\nhandle_response {\nrespond taken 200\n}\n}\nerror oops 418";
        assert_eq!(site(directives).get("/", &[]).0, 418);
        let handled = format!("{directives}\nhandle_errors {{\nrespond \"{{err.message}}\"\n}}");
        assert_eq!(site(&handled).get("/", &[]), (418, "oops".into()));
        let within = "intercept {\nhandle_response {\nerror inside 419\n}\n}\nrespond x\n\
                      handle_errors {\nrespond \"{err.message}\"\n}";
        assert_eq!(site(within).get("/", &[]), (419, "inside".into()));
    }
}
