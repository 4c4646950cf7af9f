//! `not`: requests that these matchers do not match.
//!
//! Matchers in one block must all match for it to say no; of several `not`, each may.
//!
//! ```caddyfile
//! :8080 {
//! 	@other {
//! 		not path /public/*
//! 		not method GET HEAD
//! 	}
//! 	respond @other "Not allowed" 403
//! }
//! ```

use serde_json::{Value, json};

use super::decode;
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::http::MatcherSet;
use crate::http::{Exchange, HandlerError, Matcher, MatcherSets, MatcherType, Provision, ProvisionError};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax {
        name: NAME,
        syntax: "not <matcher>
not {
	<matchers...>
}",
        parse,
    }],
    ..Module::EMPTY
};

const NAME: &str = "not";

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let mut sets = Vec::new();
    while reader.cursor.next() {
        sets.push(reader.nested_matcher_set()?);
    }
    Ok(json!(sets))
}

/// `None` has no set, so that it always matches.
struct Not(Option<MatcherSets>);

fn provision(json: &Value, ctx: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let sets: Vec<MatcherSet> = decode(NAME, json)?;
    let sets = ctx.matcher_sets(&sets)?;
    Ok(Box::new(Not((!sets.is_empty()).then_some(sets))))
}

impl Matcher for Not {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        match &self.0 {
            Some(sets) => Ok(!sets.matches(x)?),
            None => Ok(true),
        }
    }

    fn cost_ns(&self) -> u32 {
        40
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{matches, routes};

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = |lines: &str| routes(&format!("@m {{\n{lines}\n}}\nrespond @m ok"))[0]["match"].take();
        assert_eq!(
            json("not path /a /b\nnot {\npath /c*\nmethod POST\n}\npath /y"),
            json!([{"not": [{"path": ["/a", "/b"]}, {"method": ["POST"], "path": ["/c*"]}], "path": ["/y"]}])
        );
        assert_eq!(json("not not method GET"), json!([{"not": [{"not": [{"method": ["GET"]}]}]}]));
    }

    #[test]
    fn all_of_a_set_must_match_to_say_no() {
        let not = |json: Value, target: &str| matches(NAME, &json, &mut Exchange::get(target, &[]));
        assert!(not(json!([{"path": ["/a"], "method": ["POST"]}]), "/a"));
        assert!(!not(json!([{"path": ["/a"], "method": ["GET"]}]), "/a"));
        assert!(!not(json!([{"path": ["/x"]}, {"path": ["/a"]}]), "/a"));
        assert!(not(json!([]), "/a"));
        assert!(!not(json!([{}]), "/a"));
    }
}
