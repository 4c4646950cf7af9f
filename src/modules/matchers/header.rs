//! `header`: requests whose header fields have these values.
//!
//! Values of one field are alternatives; different fields must all match. A `*` at either end of a
//! value is a wildcard, `!` before a field's name means that it must not be there.
//!
//! A wildcard counts only where it is written: the value of a placeholder or an environment variable
//! stands for itself. A value that holds an environment variable that is not set matches nothing.
//!
//! ```caddyfile
//! :8080 {
//! 	@key header Authorization "Bearer {env.KEY}"
//! 	respond @key "in"
//! 	respond "out" 401
//! }
//! ```

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{decode, no_block};
use crate::adapt::{Error, MatcherReader, MatcherSyntax, matcher_text};
use crate::config::canonical_header_name;
use crate::config::schema::ModuleSchema;
use crate::http::{
    Exchange, HandlerError, HeaderMatch, Matcher, MatcherType, Provision, ProvisionError, TextPattern,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax { name: NAME, syntax: "header [!]<field> [<value>]", parse }],
    schemas: &[ModuleSchema::of::<Fields>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "header";

/// Values by field; `null` for a field that must not be there.
type Fields = BTreeMap<String, Option<Vec<String>>>;

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut fields = Fields::new();
    while cursor.next() {
        if !cursor.next_arg() {
            return Err(cursor.err("malformed header matcher: expected field"));
        }
        let field = cursor.val().to_owned();
        if let Some(absent) = field.strip_prefix('!') {
            if absent.is_empty() {
                return Err(
                    cursor.err("malformed header matcher: must have field name following ! character")
                );
            }
            fields.insert(absent.to_owned(), None);
            if cursor.next_arg() {
                return Err(
                    cursor.err("malformed header matcher: null matching headers cannot have a field value")
                );
            }
        } else {
            if !cursor.next_arg() {
                return Err(cursor.err("malformed header matcher: expected both field and value"));
            }
            let value = cursor.token().map(|token| {
                let last = token.text.len().saturating_sub(1);
                matcher_text(token, |at| at == 0 || at == last)
            });
            let values = fields.entry(canonical_header_name(&field).into_owned()).or_default();
            values.get_or_insert_default().extend(value);
        }
        no_block(cursor, NAME)?;
    }
    Ok(json!(fields))
}

struct HeaderMatcher(HeaderMatch);

fn provision(json: &Value, ctx: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let fields: Fields = decode(NAME, json)?;
    for (name, values) in &fields {
        if values.iter().flatten().any(|value| TextPattern::is_secret(value)) {
            // What can't be a name is never there.
            let _ = name.parse().map(|name| ctx.mark_sensitive_header(name));
        }
    }
    Ok(Box::new(HeaderMatcher(HeaderMatch::compile(&fields))))
}

impl Matcher for HeaderMatcher {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        Ok(self.0.matches(x))
    }

    fn cost_ns(&self) -> u32 {
        15
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{adapt, routes, site};

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = |lines: &str| routes(&format!("@m {{\n{lines}\n}}\nrespond @m ok"))[0]["match"].take();
        assert_eq!(json("header x-a one\nheader X-A two*"), json!([{"header": {"X-A": ["one", "two*"]}}]));
        assert_eq!(json("header X-A *\nheader !x-b"), json!([{"header": {"X-A": ["*"], "x-b": null}}]));
        for (line, says) in [
            ("header", "expected field"),
            ("header X-A", "expected both field and value"),
            ("header !", "must have field name"),
            ("header !X-A 1", "cannot have a field value"),
            ("header X-A 1 {\nx\n}", "blocks are not supported"),
        ] {
            let error = adapt(&format!("@m {{\n{line}\n}}\nrespond @m ok")).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn requests_are_told_apart() {
        let site = site(
            "@exact header X-A one\n@pre header X-A pre*\n@suf header X-A *suf\n@mid header X-A *in*\n\
             @any header X-B *\n@none header !X-A\n@host header Host special.example\nrespond @exact exact\n\
             respond @pre prefix\nrespond @suf suffix\nrespond @mid contains\nrespond @any present\n\
             respond @host host\nrespond @none absent\nrespond nothing",
        );
        for (headers, expected) in [
            (vec![("x-a", "one")], "exact"),
            (vec![("x-a", "ONE")], "nothing"),
            (vec![("x-a", "pre")], "prefix"),
            (vec![("x-a", "a suf")], "suffix"),
            (vec![("x-a", "line")], "contains"),
            (vec![("x-a", "a"), ("x-b", "")], "present"),
            (vec![], "absent"),
            (vec![("x-a", "")], "nothing"),
            (vec![("x-a", "zzz"), ("x-a", "one")], "exact"),
            (vec![("x-a", "zzz, one")], "nothing"),
            (vec![("host", "special.example")], "host"),
            (vec![("host", "special.example:80")], "absent"),
        ] {
            assert_eq!(site.get("/", &headers).1, expected, "{headers:?}");
        }
    }

    #[test]
    fn fields_with_keys_are_known_to_the_log() {
        let registry = crate::modules::registry();
        let mut ctx = Provision::new(&registry.handlers, &registry.matchers);
        let sets =
            [json!({"header": {"X-Key": ["{env.KEY}"], "X-Plain": ["a"]}, "query": {"k": ["{env.KEY}"]}})];
        let sets = sets.map(|set| set.as_object().unwrap().clone());
        ctx.matcher_sets(&sets).unwrap();
        let names = ctx.sensitive_names();
        let header = http::HeaderName::from_static;
        assert!(names.is_header(&header("x-key")) && !names.is_header(&header("x-plain")));
        assert!(names.is_query_key(b"k") && !names.is_query_key(b"x"));
    }
}
