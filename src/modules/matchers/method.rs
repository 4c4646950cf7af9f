//! `method`: requests with one of these methods.
//!
//! ```caddyfile
//! :8080 {
//! 	@change method POST PUT
//! 	respond @change "Changed"
//! }
//! ```

use http::Method;
use serde_json::Value;

use super::list;
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config;
use crate::config::schema::ModuleSchema;
use crate::http::{Exchange, HandlerError, Matcher, MatcherType, Provision, ProvisionError};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax { name: NAME, syntax: "method <verbs...>", parse }],
    schemas: &[ModuleSchema::of::<Option<Vec<String>>>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "method";

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut methods = Vec::new();
    while cursor.next() {
        methods.extend(cursor.remaining_args());
        if cursor.next_block(0) {
            return Err(cursor.err("malformed method matcher: blocks are not supported"));
        }
    }
    Ok(list(methods))
}

struct OneOf(Box<[Method]>);

fn provision(json: &Value, _: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let names = config::decode::<Vec<String>>(json.clone())
        .map_err(|error| ProvisionError::invalid(format!("a list of methods: {error}")))?;
    let method = |name: &String| {
        Method::from_bytes(name.to_uppercase().as_bytes())
            .map_err(|_| ProvisionError::invalid(format!("invalid method '{name}'")))
    };
    Ok(Box::new(OneOf(names.iter().map(method).collect::<Result<_, _>>()?)))
}

impl Matcher for OneOf {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        Ok(self.0.contains(&x.method))
    }

    fn cost_ns(&self) -> u32 {
        2
    }
}
