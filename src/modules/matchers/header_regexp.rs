//! `header_regexp`: requests whose header fields regular expressions match.
//!
//! What an expression finds is in `{re.NAME.GROUP}`; the name is that of the matcher unless another
//! is given.
//!
//! ```caddyfile
//! :8080 {
//! 	@login header_regexp Cookie login_([a-f0-9]+)
//! 	respond @login "login {re.login.1}"
//! }
//! ```

use std::collections::BTreeMap;

use http::HeaderName;
use serde_json::{Value, json};

use super::pattern::{Pattern, PatternJson, parse_field};
use super::{decode, no_block};
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::{
    Exchange, HandlerError, Matcher, MatcherType, Provision, ProvisionError, is_environment_value,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax { name: NAME, syntax: "header_regexp [<name>] <field> <regexp>", parse }],
    schemas: &[ModuleSchema::of::<BTreeMap<String, PatternJson>>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "header_regexp";

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let mut fields = BTreeMap::new();
    while reader.cursor.next() {
        let (field, pattern) = parse_field(reader)?;
        if fields.contains_key(&field) {
            return Err(reader.cursor.err(format!(
                "header_regexp matcher can only be used once per named matcher, per header field: {field}"
            )));
        }
        fields.insert(field, pattern);
        no_block(&mut reader.cursor, NAME)?;
    }
    Ok(json!(fields))
}

/// An expression for each field; what can't be a field's name is never there.
struct HeaderRegexp(Box<[(Option<HeaderName>, Pattern)]>);

fn provision(json: &Value, ctx: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let fields: BTreeMap<String, PatternJson> = decode(NAME, json)?;
    for (name, pattern) in &fields {
        if is_environment_value(pattern.pattern.as_bytes()) {
            // What is no name of a field matches nothing, so there is no key in it either.
            let _ = name.parse().map(|name| ctx.mark_sensitive_header(name));
        }
    }
    let compile =
        |(name, pattern): (&String, &PatternJson)| Ok((name.parse().ok(), Pattern::compile(pattern)?));
    Ok(Box::new(HeaderRegexp(fields.iter().map(compile).collect::<Result<_, ProvisionError>>()?)))
}

impl Matcher for HeaderRegexp {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        for (name, pattern) in &self.0 {
            let Some(name) = name else { return Ok(false) };
            let found = x.headers.get_all(name).iter().find_map(|value| pattern.find(value.as_bytes()));
            match found {
                Some(found) => x.captures.push(found),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn cost_ns(&self) -> u32 {
        300
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{adapt, routes, site};

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = |line: &str| routes(&format!("@m {{\n{line}\n}}\nrespond @m ok"))[0]["match"][0].take();
        assert_eq!(
            json("header_regexp X-A ^a\nheader_regexp n X-B ^b"),
            json!({NAME: {"X-A": {"name": "m", "pattern": "^a"}, "X-B": {"name": "n", "pattern": "^b"}}})
        );
        let error = adapt("@m {\nheader_regexp X-A a\nheader_regexp X-A b\n}\nrespond @m ok").unwrap_err();
        assert!(error.contains("per header field: X-A"), "{error}");
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn all_fields_must_match_with_one_value_each() {
        let site = site(
            "@login header_regexp login Cookie login_([a-f0-9]+)\n@anon header_regexp X-Ver ^v(\\d+)\\.(\\d+)$\n\
             @both {\nheader_regexp b1 X-One ^a(.)\nheader_regexp b2 X-Two ^b(.)\n}\n\
             respond @login \"login {re.login.1}\"\nrespond @anon \"{re.1}-{re.2}\"\n\
             respond @both \"{re.b1.1}{re.b2.1}\"\nrespond none",
        );
        for (headers, expected) in [
            (vec![("cookie", "a=1; login_beef=2")], "login beef"),
            (vec![("cookie", "login_=2")], "none"),
            (vec![("x-ver", "v1.22")], "1-22"),
            (vec![("x-ver", "x"), ("x-ver", "v3.4")], "3-4"),
            (vec![("x-one", "ax"), ("x-two", "by")], "xy"),
            (vec![("x-one", "ax")], "none"),
            (vec![], "none"),
        ] {
            assert_eq!(site.get("/", &headers).1, expected, "{headers:?}");
        }
    }
}
