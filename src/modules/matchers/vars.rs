//! `vars`: requests for which a variable, or a placeholder, has one of these values.
//!
//! ```caddyfile
//! :8080 {
//! 	vars /v* kind versioned
//! 	@versioned vars kind versioned
//! 	respond @versioned "a version"
//! }
//! ```

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{decode, no_block};
use crate::adapt::{Error, MatcherReader, MatcherSyntax, matcher_text};
use crate::config::schema::ModuleSchema;
use crate::http::{
    Exchange, HandlerError, Matcher, MatcherType, Part, Placeholder, Provision, ProvisionError, Template,
    TextPattern, Unknown, constant_time,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax {
        name: NAME,
        syntax: "vars <variable>|{<placeholder>} <values...>",
        parse,
    }],
    schemas: &[ModuleSchema::of::<BTreeMap<String, Vec<String>>>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "vars";

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut vars: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while cursor.next() {
        if !cursor.next_arg() {
            return Err(cursor.err("malformed vars matcher: expected field name"));
        }
        let name = cursor.val().to_owned();
        let values = cursor.remaining_args_as_tokens();
        if values.is_empty() {
            return Err(cursor.err("malformed vars matcher: expected at least one value to match against"));
        }
        let values = values.iter().map(|token| matcher_text(token, |_| false));
        vars.entry(name).or_default().extend(values);
        no_block(cursor, NAME)?;
    }
    Ok(json!(vars))
}

/// What a key of the matcher asks for: a variable's name, or a placeholder in braces. `None` if there
/// is no such placeholder, which is as if it were empty.
pub(super) fn subject(key: &str) -> Option<Placeholder> {
    if key.starts_with('{') && key.ends_with('}') && key.matches('{').count() == 1 {
        Placeholder::parse(key.trim_matches(['{', '}']))
    } else {
        Some(Placeholder::Var(key.into()))
    }
}

struct VarsMatcher(Box<[(Option<Placeholder>, Box<[Template]>)]>);

fn provision(json: &Value, ctx: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let vars: BTreeMap<String, Vec<String>> = decode(NAME, json)?;
    for (key, values) in &vars {
        if let Some(subject) = subject(key)
            && values.iter().any(|value| TextPattern::is_secret(value))
        {
            ctx.mark_sensitive(&subject);
        }
    }
    let compile = |(key, values): (&String, &Vec<String>)| {
        let values = values.iter().map(|value| Template::compile(value, Unknown::Empty));
        // A key from the environment that is not set matches nothing, not even its absence.
        (subject(key), values.filter(|value| !holds_unset(value)).collect())
    };
    Ok(Box::new(VarsMatcher(vars.iter().map(compile).collect())))
}

/// Whether a value holds the value of an environment variable that is empty.
fn holds_unset(value: &Template) -> bool {
    value.parts().iter().any(|part| matches!(part, Part::Known(known) if known.is_empty()))
}

impl Matcher for VarsMatcher {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        let x = &*x;
        // Any of them is enough, and none at all as well.
        Ok(self.0.is_empty()
            || self.0.iter().any(|(subject, values)| {
                let value = subject.as_ref().and_then(|subject| subject.value(x)).unwrap_or_default();
                values.iter().any(|expected| constant_time::equal(&value, &expected.render(x)))
            }))
    }

    fn cost_ns(&self) -> u32 {
        40
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{matches, routes, site};

    #[test]
    fn a_key_that_is_not_set_lets_nobody_in() {
        let json = json!({"{http.request.header.X-Key}": ["{env.TOLLGATE_NO_SUCH_VARIABLE}"]});
        assert!(!matches(NAME, &json, &mut Exchange::get("/", &[])));
        assert!(!matches(NAME, &json, &mut Exchange::get("/", &[("x-key", "")])));
    }

    #[test]
    fn it_is_written_as_in_caddy() {
        assert_eq!(
            routes("@m {\nvars a 1 2\nvars {method} GET\nvars a 3\n}\nrespond @m ok")[0]["match"],
            json!([{NAME: {"a": ["1", "2", "3"], "{http.request.method}": ["GET"]}}])
        );
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn variables_and_placeholders_have_values() {
        let site = site(
            "vars /v* kind versioned\nvars {\nfixed yes\nfromq {query.q}\n}\n@kind vars kind versioned\n\
             @q vars fromq one two\n@ph vars {header.X-T} tee\n@re vars_regexp cap fromq ^z(.*)$\n\
             respond @kind kind\nrespond @q q\nrespond @ph placeholder\nrespond @re \"re {re.cap.1}\"\n\
             respond \"none {vars.fixed} {http.vars.fromq}\"",
        );
        for (target, headers, expected) in [
            ("/v1", vec![], "kind"),
            ("/x", vec![], "none yes "),
            ("/?q=two", vec![], "q"),
            ("/?q=three", vec![], "none yes three"),
            ("/?q=zed", vec![], "re ed"),
            ("/", vec![("x-t", "tee")], "placeholder"),
        ] {
            assert_eq!(site.get(target, &headers).1, expected, "{target}");
        }
    }
}
