//! `method`, `rewrite` and `uri`: change a request's method and target before other directives see it.
//!
//! ```caddyfile
//! :8080 {
//! 	rewrite /old/* /new{uri}
//! 	uri /new/* replace /old/ /
//! 	respond "{method} {uri}"
//! }
//! ```

use crate::adapt::{ConfigValue, Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::rewrite::{
    PathReplacement, QueryArgument, QueryOps, QueryReplacement, Rewrite as RewriteJson, UriSubstring,
};
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, parse_integer};
use crate::http::{Exchange, Handler, HandlerType, Outcome, Provision, ProvisionError, Rewrite, Step};
use crate::module::Module;

const URI_SYNTAX: &str = "uri [<matcher>] strip_prefix|strip_suffix <target>
uri [<matcher>] replace <target> <replacement> [<limit>]
uri [<matcher>] path_regexp <regexp> <replacement>
uri [<matcher>] query [-|+]<param> [<value|regexp> [<replacement>]]
uri [<matcher>] query {
	[-|+]<param> [<value|regexp> [<replacement>]]
	<param>><new-name>
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[
        Directive {
            name: "method",
            syntax: "method [<matcher>] <method>",
            parse: Parse::Handler(parse_method),
        },
        Directive { name: NAME, syntax: "rewrite [<matcher>] <to>", parse: Parse::Routes(parse_rewrite) },
        Directive { name: "uri", syntax: URI_SYNTAX, parse: Parse::Handler(parse_uri) },
    ],
    schemas: &[ModuleSchema::of::<RewriteJson>("http.handlers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "rewrite";

/// What `uri` can do.
const OPERATIONS: [&str; 5] = ["strip_prefix", "strip_suffix", "replace", "path_regexp", "query"];

fn json(rewrite: &RewriteJson) -> ModuleJson {
    ModuleJson::new(HANDLER_TAG, NAME, rewrite)
}

fn parse_method(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    h.cursor.next();
    let [method] = h.cursor.args()?;
    if h.cursor.next_arg() {
        return Err(h.cursor.arg_err());
    }
    Ok(json(&RewriteJson { method, ..RewriteJson::default() }))
}

fn parse_rewrite(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    h.cursor.next();
    let matchers = match h.cursor.count_remaining_args() {
        0 => return Err(h.cursor.err("too few arguments; must have at least a rewrite URI")),
        // A single argument is the target, even if it looks like a matcher.
        1 => None,
        2 => {
            let matchers = h.extract_matcher_set()?;
            h.cursor.next();
            matchers
        }
        _ => return Err(h.cursor.err("too many arguments; should only be a matcher and a URI")),
    };
    h.cursor.next_arg();
    let uri = h.cursor.val().to_owned();
    Ok(h.new_route(matchers, json(&RewriteJson { uri, ..RewriteJson::default() })))
}

fn parse_uri(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    h.cursor.next();
    let args = h.cursor.remaining_args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut rewrite = RewriteJson::default();
    match *args.as_slice() {
        ["strip_prefix", prefix] => prefix.clone_into(&mut rewrite.strip_path_prefix),
        ["strip_suffix", suffix] => suffix.clone_into(&mut rewrite.strip_path_suffix),
        ["replace", find, replace, ref limit @ ..] if limit.len() < 2 => {
            let limit = match limit.first().filter(|limit| !limit.is_empty()) {
                None => 0,
                Some(limit) => parse_integer(limit)
                    .map_err(|error| h.cursor.err(format!("limit must be an integer; invalid: {error}")))?,
            };
            rewrite.uri_substring.push(UriSubstring { find: find.into(), replace: replace.into(), limit });
        }
        ["path_regexp", find, replace] => {
            rewrite.path_regexp.push(PathReplacement { find: find.into(), replace: replace.into() });
        }
        ["query", ref op @ ..] if op.len() < 4 => rewrite.query = Some(parse_query(h, op)?),
        [operation, ..] if !OPERATIONS.contains(&operation) => {
            let message = format!("unrecognized URI manipulation '{operation}'");
            return Err(h.cursor.err(message).did_you_mean(operation, OPERATIONS));
        }
        _ => return Err(h.cursor.arg_err()),
    }
    Ok(json(&rewrite))
}

fn parse_query(h: &mut Helper<'_>, op: &[&str]) -> Result<QueryOps, Error> {
    let mut ops = QueryOps::default();
    if !op.is_empty() {
        query_op(h, &mut ops, op)?;
    }
    while h.cursor.next_block(0) {
        if !op.is_empty() {
            return Err(h.cursor.err("Cannot specify uri query rewrites in both argument and block"));
        }
        let mut line = vec![h.cursor.val().to_owned()];
        line.extend(h.cursor.remaining_args());
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        query_op(h, &mut ops, &line)?;
    }
    Ok(ops)
}

fn query_op(h: &Helper<'_>, ops: &mut QueryOps, op: &[&str]) -> Result<(), Error> {
    let argument = |key: &str, val: &str| QueryArgument { key: key.to_owned(), val: val.to_owned() };
    match *op {
        [key] if key.starts_with('-') => ops.delete.push(key.trim_start_matches('-').to_owned()),
        [key, value] if key.starts_with('+') => ops.add.push(argument(key.trim_start_matches('+'), value)),
        [key, ..] if key.starts_with(['-', '+']) => return Err(h.cursor.arg_err()),
        [key] if key.contains('>') => {
            let mut names = key.split('>');
            let (old, new) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
            ops.rename.push(argument(old, new));
        }
        [key, ..] if key.contains('>') => return Err(h.cursor.arg_err()),
        [key, value] => ops.set.push(argument(key, value)),
        [key, pattern, replacement] => ops.replace.push(QueryReplacement {
            key: key.to_owned(),
            search_regexp: pattern.to_owned(),
            replace: replacement.to_owned(),
            ..QueryReplacement::default()
        }),
        _ => return Err(h.cursor.arg_err()),
    }
    Ok(())
}

struct Compiled(Rewrite);

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let config: RewriteJson = json.decode(HANDLER_TAG)?;
    Ok(Box::new(Compiled(Rewrite::compile(&config)?)))
}

impl Handler for Compiled {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Now(match self.0.apply(x) {
            Ok(()) => Outcome::Next,
            Err(error) => Outcome::Fail(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::modules::testing::{adapt, routes, site};

    #[test]
    fn they_are_written_as_in_caddy() {
        let json = |line: &str| routes(line)[0]["handle"][0].take();
        for (line, expected) in [
            ("rewrite /a", json!({"uri": "/a"})),
            ("rewrite * /a?b", json!({"uri": "/a?b"})),
            ("method POST", json!({"method": "POST"})),
            ("uri strip_prefix /a", json!({"strip_path_prefix": "/a"})),
            ("uri strip_suffix a", json!({"strip_path_suffix": "a"})),
            ("uri replace a b", json!({"uri_substring": [{"find": "a", "replace": "b"}]})),
            ("uri replace a \"\" 2", json!({"uri_substring": [{"find": "a", "limit": 2}]})),
            ("uri path_regexp a b", json!({"path_regexp": [{"find": "a", "replace": "b"}]})),
            ("uri query a 1", json!({"query": {"set": [{"key": "a", "val": "1"}]}})),
            (
                "uri query {\n+a 1\n-b\nc>d\ne f g\n}",
                json!({"query": {
                    "rename": [{"key": "c", "val": "d"}],
                    "add": [{"key": "a", "val": "1"}],
                    "replace": [{"key": "e", "search_regexp": "f", "replace": "g"}],
                    "delete": ["b"],
                }}),
            ),
        ] {
            let mut expected = expected;
            expected["handler"] = json!("rewrite");
            assert_eq!(json(line), expected, "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, says) in [
            ("rewrite", "too few arguments"),
            ("rewrite a b c", "too many arguments"),
            ("method", "wrong argument count"),
            ("uri", "wrong argument count"),
            ("uri strip_prefix", "wrong argument count"),
            ("uri replace a b c", "limit must be an integer"),
            ("uri replace a b 1 2", "wrong argument count"),
            ("uri capitalize a", "unrecognized URI manipulation 'capitalize'"),
            ("uri query -a b", "wrong argument count"),
            ("uri query +a", "wrong argument count"),
            ("uri query a", "wrong argument count"),
            ("uri query a 1 {\nb 2\n}", "Cannot specify uri query rewrites in both"),
        ] {
            let error = adapt(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn only_the_first_rewrite_that_matches_runs_but_every_uri() {
        let site = site(
            "rewrite /a /first\nrewrite /first /second\nuri replace first f\nuri replace f g\n\
             respond \"{path} {http.request.orig_uri.path}\"",
        );
        assert_eq!(site.get("/a", &[]).1, "/g /a");
    }
}
