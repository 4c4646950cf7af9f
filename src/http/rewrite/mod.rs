//! Changes to a request's method and target, compiled once.

mod path;
mod query;
mod target;

use http::Method;

use self::path::PathChange;
use self::query::QueryChange;
use self::target::NewTarget;
use super::template::{Template, Unknown};
use super::{Exchange, HandlerError, ProvisionError};
use crate::config::rewrite as config;

/// Changes to a request's method and target.
#[derive(Debug)]
pub struct Rewrite {
    method: Option<Template>,
    target: Option<NewTarget>,
    path: Vec<PathChange>,
    query: Option<QueryChange>,
}

impl Rewrite {
    /// Compiles what the configuration says.
    ///
    /// # Errors
    /// A regular expression is malformed or missing.
    pub fn compile(config: &config::Rewrite) -> Result<Self, ProvisionError> {
        let said = |text: &String| (!text.is_empty()).then(|| Template::compile(text, Unknown::Empty));
        let mut path = Vec::new();
        path.extend(said(&config.strip_path_prefix).map(PathChange::StripPrefix));
        path.extend(said(&config.strip_path_suffix).map(PathChange::StripSuffix));
        path.extend(config.uri_substring.iter().filter_map(PathChange::substring));
        for (index, replacement) in config.path_regexp.iter().enumerate() {
            path.push(PathChange::regexp(replacement, index)?);
        }
        Ok(Self {
            method: said(&config.method),
            target: (!config.uri.is_empty()).then(|| NewTarget::compile(&config.uri)),
            path,
            query: config.query.as_ref().map(QueryChange::compile).transpose()?,
        })
    }

    /// Changes the request. What it was before is kept in [`Exchange::original`].
    ///
    /// # Errors
    /// The new method or target is impossible.
    pub fn apply(&self, x: &mut Exchange) -> Result<(), HandlerError> {
        x.keep_original();
        if let Some(method) = &self.method {
            let name = method.render(x).to_ascii_uppercase();
            // Without one a request is a GET to upstreams, as in Go.
            let name = if name.is_empty() { b"GET" } else { &name[..] };
            x.method = Method::from_bytes(name).map_err(HandlerError::internal)?;
        }
        if let Some(target) = &self.target {
            target.apply(x)?;
        }
        for change in &self.path {
            change.apply(x)?;
        }
        if let Some(query) = &self.query {
            query.apply(x)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::Body;

    /// The target after the change.
    fn rewritten(config: Value, target: &str, headers: &[(&str, &str)]) -> String {
        let rewrite = Rewrite::compile(&serde_json::from_value(config).unwrap()).unwrap();
        let mut x = Exchange::get(target, headers);
        rewrite.apply(&mut x).unwrap();
        assert_eq!(x.original.unwrap().uri.to_string(), target);
        x.uri.to_string()
    }

    // What Caddy 2.11.7 makes of them.
    #[test]
    fn a_new_target_names_path_or_query_or_both() {
        for (uri, target, expected) in [
            ("/new", "/old?a=1", "/new?a=1"),
            ("/new?", "/old?a=1", "/new"),
            ("/new?b=2", "/old?a=1", "/new?b=2"),
            ("?b=2", "/old?a=1", "/old?b=2"),
            ("?{http.request.uri.query}&x={http.request.uri.query.a}", "/p?a=1&a=2", "/p?a=1&a=2&x=1%2C2"),
            ("?{http.request.uri.query}&x={http.request.uri.query.a}", "/p", "/p?x="),
            ("/z{http.request.uri}", "/p%2Fq/%41%7b?o", "/z/p/q/A%7B?o"),
            ("{http.request.uri.path}/x", "/a%2Fb%3Fc%25", "/a/b%3Fc%25/x"),
            ("/{http.request.uri.path.0}/x{http.request.uri.prefixed_query}", "/p/q?o=1", "/p/x?o=1"),
            ("/a//b/../c", "/", "/a//b/../c"),
            ("/a?x=1&&y=2&", "/", "/a?x=1&y=2"),
            ("/a?b#c", "/", "/a?b"),
            ("*", "/", "*"),
            ("/100%", "/", "/100%25"),
            ("/a b(c)", "/", "/a%20b%28c%29"),
        ] {
            assert_eq!(rewritten(json!({ "uri": uri }), target, &[]), expected, "{uri} {target}");
        }
    }

    #[test]
    fn values_are_data_in_a_new_target() {
        for (value, path, explicit, query) in [
            ("a", "/za?o=1", "/za?k=v", "/p?a"),
            ("a%41", "/zaA?o=1", "/zaA?k=v", "/p?a%2541"),
            ("a?b=c&d", "/za?b=c&d", "/za?k=v", "/p?a%3Fb%3Dc%26d"),
            ("a?b#c", "/za?b", "/za?k=v", "/p?a%3Fb%23c"),
            ("a#c", "/za?o=1", "/za?k=v", "/p?a%23c"),
            ("a?", "/za", "/za?k=v", "/p?a%3F"),
            ("a?b={host}", "/za?b=%7Bhost%7D", "/za?k=v", "/p?a%3Fb%3D%7Bhost%7D"),
            ("a%zz?b", "/za%25zz?b", "/za%25zz?k=v", "/p?a%25zz%3Fb"),
            ("a b", "/za%20b?o=1", "/za%20b?k=v", "/p?a+b"),
            // Caddy would send the space as it is.
            ("a?b c", "/za?b%20c", "/za?k=v", "/p?a%3Fb+c"),
        ] {
            for (uri, expected) in [
                ("/z{http.request.header.x}", path),
                ("/z{http.request.header.x}?k=v", explicit),
                ("?{http.request.header.x}", query),
            ] {
                assert_eq!(
                    rewritten(json!({ "uri": uri }), "/p?o=1", &[("x", value)]),
                    expected,
                    "{uri} {value}"
                );
            }
        }
    }

    #[test]
    fn prefixes_and_suffixes_are_compared_decoded_unless_they_have_escapes() {
        for (prefix, target, expected) in [
            ("/a", "/a", "/"),
            ("/a", "/a?x", "/?x"),
            ("/a", "/ab", "/b"),
            ("/a", "/A/b", "/b"),
            ("/a", "//a//b", "/b"),
            ("/a", "/%61/b", "/b"),
            ("/a", "/x/../a/b", "/b"),
            ("/a", "/a%2Fb%2Fc%20d", "/b/c%20d"),
            ("/a", "/a%20b/c%2Fd?q", "/%20b/c%2Fd?q"),
            ("/a", "/b", "/b"),
            ("a", "/a/b", "/b"),
            ("/a%2Fb", "/a%2fb/c", "/c"),
            ("/a%2Fb", "/a/b/c", "/a/b/c"),
            ("//a", "//a/b", "/b"),
            ("//a", "/a/b", "/a/b"),
            ("/{http.request.uri.query.p}", "/a/b?p=a", "/b?p=a"),
        ] {
            assert_eq!(
                rewritten(json!({"strip_path_prefix": prefix}), target, &[]),
                expected,
                "{prefix} {target}"
            );
        }
        for (suffix, target, expected) in [
            (".html", "/a.html", "/a"),
            (".html", "/a.HTML", "/a"),
            (".html", "/a.html/", "/a.html/"),
            (".html", "/a/b%2Ehtml", "/a/b"),
            (".html", "/x%2Fy.html", "/x%2Fy"),
            ("b", "/a%2Fb", "/a%2F"),
            ("a", "/a", "/"),
            ("/", "/a//", "/a"),
        ] {
            assert_eq!(
                rewritten(json!({"strip_path_suffix": suffix}), target, &[]),
                expected,
                "{suffix} {target}"
            );
        }
    }

    #[test]
    fn texts_are_replaced_in_path_and_query() {
        for (find, replace, limit, target, expected) in [
            ("/a/", "/b/", 0, "/x/a/?q=/a/", "/x/b/?q=/b/"),
            ("/a/", "/b/", 0, "//a/x", "/b/x"),
            ("/a/", "/b/", 0, "/%61/x", "/%61/x"),
            ("a", "", 1, "/aaa?a=a", "/aa?=a"),
            ("%20", "_", 0, "/a%20b?c%20d", "/a_b?c_d"),
            ("x", "{http.request.uri.query.y}", 0, "/x?y=%3Fz%23", "/%3Fz%23?y=%3Fz%23"),
            ("x", "{http.request.uri.query.y}", 0, "/x%2Fx?y=%2F", "//%2F/?y=%2F"),
        ] {
            let config = json!({"uri_substring": [{"find": find, "replace": replace, "limit": limit}]});
            assert_eq!(rewritten(config, target, &[]), expected, "{find} {target}");
        }
    }

    #[test]
    fn what_regular_expressions_find_is_replaced() {
        for (find, replace, target, expected) in [
            (r"/(\d+)", "/n$1", "/12/3?/4", "/n12/n3?/4"),
            (r"/(\d+)", "/n$1", "/a%2F1", "/a%2F1"),
            (r"/(\d+)", "/n$1", "/x/../1", "/x/../n1"),
            ("b", "{http.request.uri.query.q}", "/a%2Fbc?q=%3F", "/a/%3Fc?q=%3F"),
            // A dollar sign of the client's is one.
            ("b", "{http.request.uri.query.q}", "/abc?q=$0x", "/a$0xc?q=$0x"),
        ] {
            let config = json!({"path_regexp": [{"find": find, "replace": replace}]});
            assert_eq!(rewritten(config, target, &[]), expected, "{find} {target}");
        }
        let refused = |find: &str| {
            let config = json!({"path_regexp": [{ "find": find }]});
            Rewrite::compile(&serde_json::from_value(config).unwrap()).unwrap_err().to_string()
        };
        assert_eq!(refused(""), "path_regexp find cannot be empty");
        assert!(refused("(").starts_with("compiling regular expression 0: "));
    }

    #[test]
    fn queries_are_changed_key_by_key() {
        let arg = |key: &str, val: &str| json!([{"key": key, "val": val}]);
        for (ops, target, expected) in [
            (json!({"set": arg("a", "1")}), "/", "/?a=1"),
            (json!({"set": arg("a", "1")}), "/?b=%zz&z=1&a=2&a=3", "/?a=1&z=1"),
            (json!({"add": arg("a", "{http.request.uri.path}")}), "/p?b=3&a=2", "/p?a=2&a=%2Fp&b=3"),
            (json!({"delete": ["a"]}), "/?b=x+y%2B&a", "/?b=x+y%2B"),
            (json!({"delete": ["a"]}), "/?a", "/"),
            (json!({"rename": arg("a", "b")}), "/?b=1&a=2", "/?b=2"),
            (
                json!({"replace": [{"key": "a", "search_regexp": "b+", "replace": "x$0"}]}),
                "/?a=b&a=bb&b=b",
                "/?a=xb&a=xbb&b=b",
            ),
            (json!({"replace": [{"key": "*", "search": "b", "replace": "x"}]}), "/?a=b&c=bb", "/?a=x&c=xx"),
        ] {
            assert_eq!(rewritten(json!({ "query": ops }), target, &[]), expected, "{ops} {target}");
        }
    }

    #[test]
    fn the_method_is_put_in_capitals() {
        let rewrite =
            Rewrite::compile(&config::Rewrite { method: "post".into(), ..Default::default() }).unwrap();
        let mut x = Exchange::get("/", &[]);
        rewrite.apply(&mut x).unwrap();
        assert_eq!((x.method, x.original.unwrap().method), (Method::POST, Method::GET));
    }

    #[test]
    fn a_method_that_comes_to_nothing_is_get() {
        let config = config::Rewrite { method: "{vars.nothing}".into(), ..Default::default() };
        let mut x = Exchange::for_test(http::Request::post("/").body(Body::Empty).unwrap());
        Rewrite::compile(&config).unwrap().apply(&mut x).unwrap();
        assert_eq!((x.method, x.original.unwrap().method), (Method::GET, Method::POST));
    }
}
