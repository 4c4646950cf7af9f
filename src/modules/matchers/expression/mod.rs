//! `expression`: requests for which an expression is true, in the Common Expression Language
//! (<https://cel.dev>).
//!
//! Placeholders are values in it, and other matchers are functions: `path('/a/*')`,
//! `header({'X-A': ['1', '2']})`, `remote_ip('10.0.0.0/8')`. A quoted text alone is an expression too.
//!
//! ```caddyfile
//! :8080 {
//! 	@write `{method} in ["POST", "PUT"] && !path("/public/*")`
//! 	respond @write "Read only" 403
//! 	respond "hello"
//! }
//! ```

mod compile;
mod eval;
mod format;
mod functions;
mod lexer;
mod lists;
mod math;
mod parser;
mod times;
mod value;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use self::eval::{Node, Scope};
use super::decode;
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::{
    Exchange, HandlerError, Matcher, MatcherType, Placeholder, Provision, ProvisionError,
    is_environment_value,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax { name: NAME, syntax: "expression <cel...>", parse }],
    schemas: &[ModuleSchema::of::<ExpressionJson>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "expression";

fn parse(reader: &mut MatcherReader<'_>) -> Result<Json, Error> {
    let name = reader.matcher_name().to_owned();
    let cursor = &mut reader.cursor;
    cursor.next();
    if cursor.count_remaining_args() > 1 {
        // Quotes among several words are those of the expression.
        return Ok(json!(cursor.remaining_args_raw().join(" ")));
    }
    let [expression] = cursor.args()?;
    if name.is_empty() {
        return Ok(json!(expression));
    }
    Ok(json!({"expr": expression, "name": name}))
}

/// In JSON it is a text, or a text and the matcher's name.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "an expression, or {\"expr\", \"name\"}")]
enum ExpressionJson {
    Text(String),
    Named { expr: String, name: String },
}

struct Expression(Node);

fn provision(json: &Json, ctx: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let (text, name) = match decode(NAME, json)? {
        ExpressionJson::Text(text) => (text, String::new()),
        ExpressionJson::Named { expr, name } => (expr, name),
    };
    let invalid = |error: &dyn std::fmt::Display| ProvisionError::invalid(error.to_string());
    mark_sensitive(&text, ctx);
    let ast = parser::parse(&text).map_err(|error| invalid(&error))?;
    Ok(Box::new(Expression(compile::compile(&ast, &name, ctx).map_err(|error| invalid(&error))?)))
}

/// If the expression looks at a value from the environment, whatever else it looks at may be compared
/// with that, and carry a key.
fn mark_sensitive(text: &str, ctx: &mut Provision<'_>) {
    let names = || text.split('{').filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    let secret = names().any(|name| name.starts_with("env.") || name.starts_with("file."));
    if secret || is_environment_value(text.as_bytes()) {
        names().filter_map(Placeholder::parse).for_each(|placeholder| ctx.mark_sensitive(&placeholder));
    }
}

impl Matcher for Expression {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        self.0.truth(&mut Scope::new(x)).map_err(|error| error.into_handler_error())
    }

    fn cost_ns(&self) -> u32 {
        1000
    }
}

#[cfg(test)]
mod tests;
