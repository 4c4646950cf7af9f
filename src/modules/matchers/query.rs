//! `query`: requests whose query has these values.
//!
//! Values of one key are alternatives; different keys must all match. The value `*` is any value.
//! Without any key, requests without a query match. A malformed query matches nothing.
//!
//! As with `header`, a `*` from an environment variable stands for itself, and a value that holds
//! one that is not set matches nothing.
//!
//! ```caddyfile
//! :8080 {
//! 	@key query api-key={env.KEY}
//! 	respond @key "in"
//! 	respond "out" 401
//! }
//! ```

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{decode, no_block};
use crate::adapt::{Error, MatcherReader, MatcherSyntax, Token, matcher_text};
use crate::config::schema::ModuleSchema;
use crate::http::{
    Exchange, HandlerError, Matcher, MatcherType, Provision, ProvisionError, Template, TextPattern, Unknown,
    target,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax { name: NAME, syntax: "query <key>=<value>...", parse }],
    schemas: &[ModuleSchema::of::<Option<Keys>>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "query";

type Keys = BTreeMap<String, Vec<String>>;

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut keys = Keys::new();
    while cursor.next() {
        while cursor.next_arg() {
            let Some(token) = cursor.token() else { break };
            if token.text.is_empty() {
                continue;
            }
            // Only the value as a whole can be a wildcard.
            let wildcard = token.text.split_once('=').filter(|(_, value)| *value == "*");
            let text = matcher_text(token, |at| wildcard.is_some_and(|(key, _)| at > key.len()));
            let Some((key, value)) = text.split_once('=') else {
                let message =
                    format!("malformed query matcher token: {}; must be in param=val format", token.shown());
                return Err(cursor.err(message));
            };
            let value = match empty_variable(token) {
                // A key that is not set must not let in whoever sends an empty one.
                Some(name) if value.is_empty() => format!("{{env.{name}}}"),
                _ => value.to_owned(),
            };
            keys.entry(key.to_owned()).or_default().push(value);
        }
        no_block(cursor, NAME)?;
    }
    Ok(json!(keys))
}

/// Each key with its values.
struct QueryMatcher(Box<[(Template, Box<[TextPattern]>)]>);

/// The environment variable that ends `token` and brought nothing in. Its placeholder matches nothing.
fn empty_variable(token: &Token) -> Option<&str> {
    let last = token.env().last()?;
    (last.range == (token.text.len()..token.text.len())).then_some(&*last.name)
}

fn provision(json: &Value, ctx: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let keys: Option<Keys> = decode(NAME, json)?;
    let keys = keys.unwrap_or_default();
    for (key, values) in &keys {
        if values.iter().any(|value| TextPattern::is_secret(value)) {
            ctx.mark_sensitive_query(key);
        }
    }
    let compiled = keys.iter().map(|(key, values)| {
        let values = values.iter().map(|value| TextPattern::compile_whole(value)).collect();
        (Template::compile(key, Unknown::Empty), values)
    });
    Ok(Box::new(QueryMatcher(compiled.collect())))
}

impl Matcher for QueryMatcher {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        let query = x.uri.query().unwrap_or_default();
        if self.0.is_empty() {
            return Ok(!target::query_pairs(query).any(|pair| pair.is_ok()));
        }
        // Whoever reads a malformed query in another way must not see what this matcher let through.
        if query.is_empty() || target::query_pairs(query).any(|pair| pair.is_err()) {
            return Ok(false);
        }
        Ok(self.0.iter().all(|(key, values)| {
            let key = key.render(x);
            target::query_values(query, &key)
                .any(|value| values.iter().any(|pattern| pattern.matches(&value, x)))
        }))
    }

    fn cost_ns(&self) -> u32 {
        40
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{adapt, matches, routes};

    fn query(json: Value, target: &str) -> bool {
        matches(NAME, &json, &mut Exchange::get(target, &[("x-star", "*")]))
    }

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = |line: &str| routes(&format!("@m {line}\nrespond @m ok"))[0]["match"].take();
        assert_eq!(json("query a=1 b=* a=2=3"), json!([{"query": {"a": ["1", "2=3"], "b": ["*"]}}]));
        assert_eq!(json("query \"\""), json!([{"query": {}}]));
        let error = adapt("@m query a\nrespond @m ok").unwrap_err();
        assert!(error.contains("malformed query matcher token: a; must be in param=val format"), "{error}");
    }

    #[test]
    fn a_key_that_is_not_set_lets_nobody_in() {
        let route =
            routes("@m query k={$TOLLGATE_NO_SUCH_VARIABLE}\nrespond @m ok")[0]["match"][0][NAME].take();
        assert_eq!(route, json!({"k": ["{env.TOLLGATE_NO_SUCH_VARIABLE}"]}));
        assert!(!query(route.clone(), "/?k=") && !query(route, "/?k"));
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn queries_match_as_in_caddy() {
        let one = || json!({"a": ["1"]});
        for (json, yes, no) in [
            (
                one(),
                vec!["/?a=1", "/?a=2&a=1", "/?%61=%31", "/?z=+&a=1"],
                vec!["/?a=2", "/?A=1", "/", "/?a=1;b=2", "/?a=1&c=%zz"],
            ),
            (json!({"b": ["*"]}), vec!["/?b", "/?b=", "/?b=x"], vec!["/?c"]),
            (json!({"c": ["1", "2"]}), vec!["/?c=2"], vec!["/?c=3"]),
            (json!({"d": ["1"], "e": ["2"]}), vec!["/?d=1&e=2", "/?e=2&d=1&z"], vec!["/?d=1"]),
            (json!({"f": [""]}), vec!["/?f", "/?f="], vec!["/?f=1", "/"]),
            (json!({}), vec!["/", "/?", "/?a=%zz"], vec!["/?a"]),
            (json!({"p": ["pre*"]}), vec!["/?p=pre*"], vec!["/?p=prefix"]),
        ] {
            for target in yes {
                assert!(query(json.clone(), target), "{json} {target}");
            }
            for target in no {
                assert!(!query(json.clone(), target), "{json} {target}");
            }
        }
    }

    #[test]
    fn a_star_from_a_placeholder_is_a_star_and_an_unset_key_matches_nothing() {
        assert!(query(json!({"k": ["{http.request.header.x-star}"]}), "/?k=*"));
        assert!(!query(json!({"k": ["{http.request.header.x-star}"]}), "/?k=any"));
        assert!(!query(json!({"k": ["{literal.*}"]}), "/?k=any"));
        assert!(!query(json!({"k": ["{env.NOT_SET}"]}), "/?k="));
        assert!(!query(json!({"k": ["{env.NOT_SET}"]}), "/?k"));
    }
}
