//! `vars_regexp`: requests for which a regular expression matches a variable or a placeholder.
//!
//! What an expression finds is in `{re.NAME.GROUP}`; the name is that of the matcher unless another
//! is given.
//!
//! ```caddyfile
//! :8080 {
//! 	@json vars_regexp {header.Accept} json$
//! 	respond @json "{}"
//! }
//! ```

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::pattern::{Pattern, PatternJson, parse_field};
use super::vars::subject;
use super::{decode, no_block};
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::{
    Exchange, HandlerError, Matcher, MatcherType, Placeholder, Provision, ProvisionError,
    is_environment_value,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax {
        name: NAME,
        syntax: "vars_regexp [<name>] <variable>|{<placeholder>} <regexp>",
        parse,
    }],
    schemas: &[ModuleSchema::of::<BTreeMap<String, PatternJson>>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "vars_regexp";

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let mut vars = BTreeMap::new();
    while reader.cursor.next() {
        let (key, pattern) = parse_field(reader)?;
        vars.insert(key, pattern);
        no_block(&mut reader.cursor, NAME)?;
    }
    Ok(json!(vars))
}

struct VarsRegexp(Box<[(Option<Placeholder>, Pattern)]>);

fn provision(json: &Value, ctx: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let vars: BTreeMap<String, PatternJson> = decode(NAME, json)?;
    for (key, pattern) in &vars {
        if let Some(subject) = subject(key)
            && is_environment_value(pattern.pattern.as_bytes())
        {
            ctx.mark_sensitive(&subject);
        }
    }
    let compile = |(key, pattern): (&String, &PatternJson)| Ok((subject(key), Pattern::compile(pattern)?));
    Ok(Box::new(VarsRegexp(vars.iter().map(compile).collect::<Result<_, ProvisionError>>()?)))
}

impl Matcher for VarsRegexp {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        let found = self.0.iter().find_map(|(subject, pattern)| {
            let value = subject.as_ref().and_then(|subject| subject.value(x)).unwrap_or_default();
            pattern.find(&value)
        });
        let matched = found.is_some();
        x.captures.extend(found);
        Ok(matched)
    }

    fn cost_ns(&self) -> u32 {
        300
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{matches, routes};

    #[test]
    fn it_is_written_as_in_caddy() {
        assert_eq!(
            routes("@m vars_regexp {header.Accept} json$\nrespond @m ok")[0]["match"],
            json!([{NAME: {"{http.request.header.Accept}": {"name": "m", "pattern": "json$"}}}])
        );
    }

    #[test]
    fn a_variable_that_is_not_set_is_empty() {
        let mut x = Exchange::get("/", &[("accept", "application/json")]);
        assert!(matches(NAME, &json!({"none": {"pattern": "^$"}}), &mut x));
        assert!(matches(NAME, &json!({"{nope}": {"pattern": "^$"}}), &mut x));
        assert!(matches(NAME, &json!({"{http.request.header.accept}": {"pattern": "json$"}}), &mut x));
        assert!(!matches(NAME, &json!({"{http.request.header.accept}": {"pattern": "^json"}}), &mut x));
    }
}
