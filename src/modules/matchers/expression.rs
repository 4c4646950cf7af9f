//! `expression`: requests for which a CEL expression is true. It can be written so far, and not run.

use serde_json::{Value, json};

use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher_syntax: &[MatcherSyntax { name: "expression", syntax: "expression <cel...>", parse }],
    ..Module::EMPTY
};

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
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
