//! `header`: changes to the answer's header fields.
//!
//! `Field value` sets, `+Field value` adds, `-Field` deletes, `?Field value` sets if the field is not
//! there, `>Field value` sets when the answer is about to be sent, and `Field pattern replacement`
//! replaces. Deleting waits for the answer too, as does the whole block with `defer`.
//!
//! ```caddyfile
//! :8080 {
//! 	header /api/* {
//! 		Access-Control-Allow-Origin https://app.example.com
//! 		?Cache-Control no-store
//! 		-Server
//! 	}
//! 	respond "hello"
//! }
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapt::{ConfigValue, Directive, Error, Helper, Parse, header_op};
use crate::config::headers::{
    HeaderOps as HeaderOpsJson, ResponseHeaderOps as ResponseHeaderOpsJson, ResponseMatcher,
};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, canonical_header_name, is_default};
use crate::http::{
    Exchange, Handler, HandlerError, HandlerType, HeaderOps, Outcome, Provision, ProvisionError, Response,
    ResponseFilter, ResponseHeaderOps, Step, TextPattern,
};
use crate::module::Module;

const SYNTAX: &str = "header [<matcher>] [+|-|?|>]<field> [<value|regexp> [<replacement>]]
header [<matcher>] {
	[+|-|?|>]<field> [<value|regexp> [<replacement>]]
	match [status <codes...>] [header <field> <value>]
	defer
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: "header", syntax: SYNTAX, parse: Parse::Routes(parse) }],
    schemas: &[ModuleSchema::of::<Headers>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The name in JSON; `request_header` has it too.
pub(super) const NAME: &str = "headers";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/headers/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Headers {
    /// Changes to the request's fields.
    #[serde(skip_serializing_if = "is_default")]
    pub request: Option<HeaderOpsJson>,
    /// Changes to the answer's fields.
    #[serde(skip_serializing_if = "is_default")]
    pub response: Option<ResponseHeaderOpsJson>,
}

fn parse(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    h.cursor.next();
    let matchers = h.extract_matcher_set()?;
    h.cursor.next();
    // Defaults are a handler of their own: what else is said does not depend on the field's absence.
    let (mut changes, mut defaults) = (ResponseHeaderOpsJson::default(), ResponseHeaderOpsJson::default());
    let has_args = h.cursor.next_arg();
    if has_args {
        let field = h.cursor.val().to_owned();
        change(h, &mut changes, &field)?;
    }
    while h.cursor.next_block(0) {
        match h.cursor.val() {
            "defer" => changes.deferred = true,
            "match" => changes.require = Some(ResponseMatcher::parse(&mut h.cursor)?.1),
            _ if has_args => {
                return Err(h.cursor.err("cannot specify headers in both arguments and block"));
            }
            field => {
                // Some write the colon, as they would for curl.
                let field = field.strip_suffix(':').unwrap_or(field).to_owned();
                let ops = if field.starts_with('?') { &mut defaults } else { &mut changes };
                change(h, ops, &field)?;
            }
        }
    }
    let said = [changes, defaults].into_iter().filter(|ops| *ops != ResponseHeaderOpsJson::default());
    Ok(said
        .flat_map(|ops| {
            let headers = Headers { request: None, response: Some(ops) };
            h.new_route(matchers.clone(), ModuleJson::new(HANDLER_TAG, NAME, &headers))
        })
        .collect())
}

/// Reads what is to be done with `field`, which may have a modifier in front.
fn change(h: &mut Helper<'_>, response: &mut ResponseHeaderOpsJson, field: &str) -> Result<(), Error> {
    let value = if h.cursor.next_arg() { h.cursor.val().to_owned() } else { String::new() };
    let replacement = h.cursor.next_arg().then(|| h.cursor.val().to_owned());
    if let Some(field) = field.strip_prefix('?') {
        let require = response.require.get_or_insert_default();
        require.headers.insert(field.to_owned(), None);
        response.set.insert(canonical_header_name(field).into_owned(), vec![value]);
        return Ok(());
    }
    // Before the answer is there, there is nothing to delete.
    response.deferred |= field.starts_with(['-', '>']);
    let mut ops = response.ops();
    header_op(&mut ops, field, &value, replacement.as_deref())
        .map_err(|error| h.cursor.err(error.to_string()))?;
    let HeaderOpsJson { add, set, delete, replace } = ops;
    let (require, deferred) = (response.require.take(), response.deferred);
    *response = ResponseHeaderOpsJson { add, set, delete, replace, require, deferred };
    Ok(())
}

struct Compiled {
    request: Option<HeaderOps>,
    response: Option<ResponseHeaderOps>,
}

fn provision(json: &ModuleJson, ctx: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let config: Headers = json.decode(HANDLER_TAG)?;
    Ok(Box::new(Compiled {
        request: config.request.as_ref().map(|ops| request_ops(ops, ctx)).transpose()?,
        response: config.response.as_ref().map(ResponseHeaderOps::compile).transpose()?,
    }))
}

/// Compiles changes to a request. A field that they put a value from the environment into is kept out
/// of logs: what is logged of an error is the request as handlers have left it.
fn request_ops(ops: &HeaderOpsJson, ctx: &mut Provision<'_>) -> Result<HeaderOps, ProvisionError> {
    for (name, values) in ops.add.iter().chain(&ops.set) {
        if values.iter().any(|value| TextPattern::is_secret(value)) {
            // A name with placeholders is not known yet.
            let _ = name.parse().map(|name| ctx.mark_sensitive_header(name));
        }
    }
    HeaderOps::compile(ops)
}

impl Handler for Compiled {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        if let Some(request) = &self.request {
            request.apply_to_request(x);
        }
        Step::Now(match &self.response {
            Some(response) if response.is_deferred() => Outcome::Filter(self),
            Some(response) => {
                response.apply_now(x);
                Outcome::Next
            }
            None => Outcome::Next,
        })
    }
}

impl ResponseFilter for Compiled {
    fn filter(&self, x: &mut Exchange, response: &mut Response) -> Result<(), HandlerError> {
        if let Some(ops) = &self.response {
            ops.apply_to(x, response);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::modules::testing::{adapt, routes, site};

    fn responses(line: &str) -> Vec<Value> {
        let handlers = routes(line)[0]["handle"].take();
        handlers.as_array().unwrap().iter().map(|handler| handler["response"].clone()).collect()
    }

    #[test]
    fn it_is_written_as_in_caddy() {
        for (line, expected) in [
            ("header x-a 1", json!({"set": {"X-A": ["1"]}})),
            ("header +x-a 1", json!({"add": {"X-A": ["1"]}})),
            ("header -x-A*", json!({"delete": ["x-A*"], "deferred": true})),
            ("header >x-a 1", json!({"set": {"X-A": ["1"]}, "deferred": true})),
            ("header ?x-a 1", json!({"set": {"X-A": ["1"]}, "require": {"headers": {"x-a": null}}})),
            ("header X-A a b", json!({"replace": {"X-A": [{"search_regexp": "a", "replace": "b"}]}})),
            (
                "header >X-A a b",
                json!({"replace": {"X-A": [{"search_regexp": "a", "replace": "b"}]}, "deferred": true}),
            ),
            (
                "header {\nX-A: 1\n+X-B 2\ndefer\n}",
                json!({"add": {"X-B": ["2"]}, "set": {"X-A": ["1"]}, "deferred": true}),
            ),
            (
                "header {\nX-A 1\nmatch status 4xx\n}",
                json!({"set": {"X-A": ["1"]}, "require": {"status_code": [4]}}),
            ),
        ] {
            assert_eq!(responses(line), [expected], "{line}");
        }
        // Defaults are a handler of their own.
        let expected = [
            json!({"set": {"X-A": ["1"]}}),
            json!({"set": {"X-B": ["2"]}, "require": {"headers": {"X-B": null}}}),
        ];
        assert_eq!(responses("header {\n?X-B 2\nX-A 1\n}"), expected);
        assert_eq!(responses("header {\ndefer\n}"), [json!({"deferred": true})]);
        let error = adapt("header X-A 1 {\nX-B 2\n}").unwrap_err();
        assert!(error.contains("cannot specify headers in both arguments and block"), "{error}");
    }

    /// The named fields of the answer.
    fn answer(directives: &str, target: &str, names: &[&str]) -> Vec<String> {
        let response = site(directives).serve(&mut Exchange::get(target, &[]));
        let values = |name: &&str| {
            let values = response.headers().get_all(*name).iter();
            let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
            format!("{name}={}", values.join("|"))
        };
        names.iter().map(values).collect()
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn changes_are_made_at_once_or_when_the_answer_is_sent() {
        let directives = "header X-A new\nheader +X-A second\nheader -X-Gone\nheader X-Gone here\n\
                          header ?X-Def default\nheader /own ?X-A other\nheader >X-Late {http.response.header.X-A}\n\
                          header X-Late early\nheader X-Ph \"{method} {query.q} {nope}\"\n\
                          header {\nX-Four 4\nmatch status 4xx\n}\nrespond /404 no 404\nrespond ok";
        let names = ["x-a", "x-gone", "x-def", "x-late", "x-ph", "x-four"];
        assert_eq!(
            answer(directives, "/own?q=v", &names),
            [
                "x-a=new|second",
                "x-gone=",
                "x-def=default",
                "x-late=new,second",
                "x-ph=GET v {nope}",
                "x-four="
            ]
        );
        assert_eq!(answer(directives, "/404", &["x-four"]), ["x-four=4"]);
    }

    #[test]
    fn replacements_follow_one_another() {
        let directives = "header {\nX-Text aabbcc\nX-Text (a+)(b+) \"$2$1\"\n}\nrespond ok";
        assert_eq!(answer(directives, "/", &["x-text"]), ["x-text=bbaacc"]);
    }

    #[test]
    fn requests_can_be_changed_too() {
        let site = site(
            "request_header X-A new\nrequest_header +X-B more\nrequest_header -X-C*\nrequest_header Host changed.example\n\
             request_header X-D ^(.)(.*)$ \"$2$1\"\n\
             respond \"{header.x-a} {header.x-b} {header.x-c1} {host} {header.x-d}\"",
        );
        let headers =
            [("x-a", "old"), ("x-a", "older"), ("x-b", "1"), ("x-c1", "c"), ("host", "h"), ("x-d", "abc")];
        assert_eq!(site.get("/", &headers).1, "new 1,more  changed.example bca");
    }

    #[test]
    fn deferred_changes_are_lost_with_the_answer_they_were_for() {
        let directives = "header >X-Late 1\nheader X-Now 1\nerror 404\nhandle_errors {\nrespond no\n}";
        assert_eq!(answer(directives, "/", &["x-late", "x-now"]), ["x-late=", "x-now=1"]);
    }

    #[test]
    fn keys_that_are_put_into_requests_are_kept_out_of_logs() {
        let registry = crate::modules::registry();
        let mut ctx = Provision::new(&registry.handlers, &registry.matchers);
        let json = serde_json::json!({
            "handler": "headers",
            "request": {"set": {"X-Key": ["Token {env.PATH}"], "X-Plain": ["plain"]}},
        });
        ctx.handler(&serde_json::from_value(json).unwrap()).map(drop).unwrap();
        let names = ctx.sensitive_names();
        assert!(names.is_header(&"x-key".parse().unwrap()));
        assert!(!names.is_header(&"x-plain".parse().unwrap()));
    }
}
