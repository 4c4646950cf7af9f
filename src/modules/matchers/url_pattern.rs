//! `url_pattern`: requests whose URL fits a pattern of the URL Pattern standard. It can be written so far, and not
//! run.

use serde::Serialize;
use serde_json::{Value, json};

use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::is_default;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher_syntax: &[MatcherSyntax {
        name: "url_pattern",
        syntax: "url_pattern <pattern> {
	base_url <url>
	ignore_case
}",
        parse,
    }],
    ..Module::EMPTY
};

/// The JSON form.
#[derive(Default, Serialize)]
struct UrlPattern {
    #[serde(skip_serializing_if = "is_default")]
    pattern: String,
    #[serde(skip_serializing_if = "is_default")]
    base_url: String,
    #[serde(skip_serializing_if = "is_default")]
    ignore_case: bool,
}

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut pattern = UrlPattern::default();
    while cursor.next() {
        if !cursor.next_arg() {
            return Err(cursor.err("expected exactly one URL pattern"));
        }
        cursor.val().clone_into(&mut pattern.pattern);
        while cursor.next_block(0) {
            match cursor.val() {
                "base_url" => [pattern.base_url] = cursor.args()?,
                "ignore_case" => {
                    if cursor.next_arg() {
                        return Err(cursor.arg_err());
                    }
                    pattern.ignore_case = true;
                }
                word => {
                    return Err(cursor
                        .err(format!("unrecognized url_pattern option '{word}'"))
                        .did_you_mean(word, ["base_url", "ignore_case"]));
                }
            }
        }
    }
    Ok(json!(pattern))
}
