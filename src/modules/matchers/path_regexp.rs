//! `path_regexp`: requests whose decoded and cleaned path a regular expression matches.
//!
//! What it finds is in `{re.NAME.GROUP}`; the name is that of the matcher unless another is given.
//!
//! ```caddyfile
//! :8080 {
//! 	@user path_regexp ^/users/([0-9]+)$
//! 	respond @user "user {re.user.1}"
//! }
//! ```

use serde_json::{Value, json};

use super::pattern::{Pattern, PatternJson};
use super::{decode, no_block};
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::{Exchange, HandlerError, Matcher, MatcherType, Provision, ProvisionError, target};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax { name: NAME, syntax: "path_regexp [<name>] <regexp>", parse }],
    schemas: &[ModuleSchema::of::<PatternJson>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "path_regexp";

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let mut pattern = PatternJson::default();
    while reader.cursor.next() {
        if !pattern.pattern.is_empty() {
            return Err(reader.cursor.err("regular expression can only be used once per named matcher"));
        }
        match &*reader.cursor.remaining_args() {
            [regexp] => pattern.pattern.clone_from(regexp),
            [name, regexp] => {
                pattern.name.clone_from(name);
                pattern.pattern.clone_from(regexp);
            }
            _ => return Err(reader.cursor.arg_err()),
        }
        if pattern.name.is_empty() {
            reader.matcher_name().clone_into(&mut pattern.name);
        }
        no_block(&mut reader.cursor, NAME)?;
    }
    Ok(json!(pattern))
}

struct PathRegexp(Pattern);

fn provision(json: &Value, _: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    Ok(Box::new(PathRegexp(Pattern::compile(&decode(NAME, json)?)?)))
}

impl Matcher for PathRegexp {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        let found = self.0.find(&target::clean_path(&x.path(), true));
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
    use crate::modules::testing::{adapt, matcher, routes, site};

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = |line: &str| routes(&format!("@m {line}\nrespond @m ok"))[0]["match"][0].take();
        assert_eq!(json("path_regexp ^/a"), json!({NAME: {"name": "m", "pattern": "^/a"}}));
        assert_eq!(json("path_regexp n ^/a"), json!({NAME: {"name": "n", "pattern": "^/a"}}));
        let error = adapt("@m {\npath_regexp a\npath_regexp b\n}\nrespond @m ok").unwrap_err();
        assert!(error.contains("only be used once"), "{error}");
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn what_is_found_can_be_used() {
        let site = site(
            "@user path_regexp user ^/users/([0-9]+)(?:/([a-z]+))?$\n@named path_regexp (?P<year>\\d{4})-(?P<month>\\d\\d)\n\
             @ci path_regexp (?i)^/ci$\nrespond @user \"{re.user.0}|{re.user.1}|{re.user.2}|{re.1}\"\n\
             respond @named \"{re.year}/{re.month}|{re.0}|{re.named.1}\"\nrespond @ci ci\nrespond none",
        );
        for (target, expected) in [
            ("/users/42", "/users/42|42||42"),
            ("/users/42/posts", "/users/42/posts|42|posts|42"),
            ("//users/7", "/users/7|7||7"),
            ("/users/%34%32", "/users/42|42||42"),
            ("/users/42/", "none"),
            ("/USERS/1", "none"),
            ("/blog/2024-05-x", "2024/05|2024-05|2024"),
            ("/CI", "ci"),
        ] {
            assert_eq!(site.get(target, &[]).1, expected, "{target}");
        }
    }

    #[test]
    fn bad_expressions_and_names_are_refused() {
        let error = |json: Value| matcher(NAME, &json).err().unwrap().to_string();
        assert!(
            error(json!({"pattern": "("})).contains("compiling matcher regexp (: error parsing regexp: ")
        );
        assert!(error(json!({"name": "a-b", "pattern": "a"})).contains("invalid regexp name"));
        assert!(error(json!({"regex": "a"})).contains("unknown field"));
    }
}
