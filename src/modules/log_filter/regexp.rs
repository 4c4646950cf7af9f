//! `regexp` and `multi_regexp`: what matches a regular expression, replaced; one or several in turn.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{NAMESPACE, change_texts};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::logging::FILTER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, is_default};
use crate::http::regexp::{Regexp, Replacement};
use crate::log::{self, FieldFilter, FilterType, LogError, Visitor};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_filters: &[
        FilterType { id: SINGLE, provision: provision_single },
        FilterType { id: MULTI, provision: provision_multi },
    ],
    submodules: &[
        SubmoduleSyntax {
            namespace: NAMESPACE,
            name: SINGLE,
            syntax: "<field> regexp <pattern> <replacement>",
            parse: parse_single,
        },
        SubmoduleSyntax {
            namespace: NAMESPACE,
            name: MULTI,
            syntax: "<field> multi_regexp {\n\tregexp <pattern> <replacement>\n}",
            parse: parse_multi,
        },
    ],
    schemas: &[
        ModuleSchema::of::<Operation>("caddy.logging.encoders.filter", SINGLE),
        ModuleSchema::of::<Multi>("caddy.logging.encoders.filter", MULTI),
    ],
    ..Module::EMPTY
};

const SINGLE: &str = "regexp";
const MULTI: &str = "multi_regexp";
/// Caddy's limits.
const OPERATIONS_MAX: usize = 50;
const PATTERN_BYTES_MAX: usize = 1000;
const TEXT_BYTES_MAX: usize = 1_000_000;

/// One replacement; also the JSON form of `regexp`
/// (<https://caddyserver.com/docs/json/logging/logs/encoder/filter/fields/regexp/>).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Operation {
    /// What is replaced.
    #[serde(skip_serializing_if = "is_default")]
    regexp: String,
    /// By what; `$1` and `${name}` stand for groups.
    #[serde(skip_serializing_if = "is_default")]
    value: String,
}

/// The JSON form of `multi_regexp`
/// (<https://caddyserver.com/docs/json/logging/logs/encoder/filter/fields/multi_regexp/>).
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Multi {
    /// Replacements, each of what the one before it left.
    operations: Vec<Operation>,
}

fn parse_single(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let mut operation = Operation::default();
    if cursor.next_arg() {
        operation.regexp = cursor.val().to_owned();
    }
    if cursor.next_arg() {
        operation.value = cursor.val().to_owned();
    }
    Ok(json!(operation))
}

fn parse_multi(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let mut operations = Vec::new();
    while cursor.next_block(0) {
        if cursor.val() != SINGLE {
            return Err(cursor.err(format!("unrecognized subdirective {}", cursor.val())));
        }
        let [regexp, value] = cursor.args()?;
        operations.push(Operation { regexp, value });
        check(&operations).map_err(|problem| cursor.err(problem))?;
    }
    if operations.is_empty() {
        return Err(cursor.err("multi_regexp filter requires at least one regexp operation"));
    }
    Ok(json!(Multi { operations }))
}

/// One filter of all the `regexp` filters of a field.
pub(crate) fn merge(filters: Vec<ModuleJson>) -> Result<ModuleJson, String> {
    if let [single] = filters.as_slice() {
        return Ok(single.clone());
    }
    let operation = |filter: &ModuleJson| filter.decode(FILTER_TAG).map_err(|error| error.to_string());
    let operations: Vec<Operation> = filters.iter().map(operation).collect::<Result<_, _>>()?;
    check(&operations)?;
    Ok(ModuleJson::new(FILTER_TAG, MULTI, &Multi { operations }))
}

fn check(operations: &[Operation]) -> Result<(), String> {
    if operations.len() > OPERATIONS_MAX {
        return Err(format!("too many regexp operations (maximum {OPERATIONS_MAX} allowed)"));
    }
    for Operation { regexp, .. } in operations {
        if regexp.is_empty() {
            return Err("regexp pattern cannot be empty".into());
        }
        if regexp.len() > PATTERN_BYTES_MAX {
            return Err(format!("regexp pattern too long (maximum {PATTERN_BYTES_MAX} characters)"));
        }
    }
    Ok(())
}

struct Replacements(Box<[(Regexp, Replacement)]>);

fn provision_single(json: &ModuleJson) -> Result<Box<dyn FieldFilter>, LogError> {
    let operation: Operation = json.decode(FILTER_TAG)?;
    replacements(&[operation])
}

fn provision_multi(json: &ModuleJson) -> Result<Box<dyn FieldFilter>, LogError> {
    let Multi { operations } = json.decode(FILTER_TAG)?;
    if operations.is_empty() {
        return Err(LogError::invalid("multi_regexp filter requires at least one operation"));
    }
    check(&operations).map_err(LogError::invalid)?;
    replacements(&operations)
}

fn replacements(operations: &[Operation]) -> Result<Box<dyn FieldFilter>, LogError> {
    let compiled = operations.iter().map(|Operation { regexp, value }| {
        let invalid = |error| LogError::invalid(format!("compiling regexp pattern ({regexp}): {error}"));
        Ok((Regexp::new(regexp).map_err(invalid)?, Replacement::literal(value)))
    });
    Ok(Box::new(Replacements(compiled.collect::<Result<_, LogError>>()?)))
}

impl FieldFilter for Replacements {
    fn filter(&self, key: &str, value: log::Value<'_>, next: &mut dyn Visitor) {
        change_texts(key, value, next, |text| {
            let mut text = Cow::Borrowed(&text[..text.len().min(TEXT_BYTES_MAX)]);
            for (regexp, with) in &self.0 {
                if let Cow::Owned(mut replaced) = regexp.replace_all_plainly(&text, with) {
                    replaced.truncate(TEXT_BYTES_MAX);
                    text = Cow::Owned(replaced);
                }
            }
            text.into_owned()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::filtered;
    use super::*;

    #[test]
    fn matches_are_replaced() {
        let json = json!({"filter": "regexp", "regexp": "b([a-z]+)", "value": "<$1>"});
        let texts = log::Value::Texts(&[b"a bad big cat", b"cat"]);
        assert_eq!(filtered(&MODULE, json.clone(), texts), json!({"f": ["a <ad> <ig> cat", "cat"]}));
        assert_eq!(filtered(&MODULE, json, log::Value::Int(1)), json!({"f": 1}));
    }

    #[test]
    fn each_operation_sees_what_the_one_before_it_left() {
        let operations = json!([{"regexp": "a", "value": "b"}, {"regexp": "b+", "value": "c"}]);
        let json = json!({"filter": "multi_regexp", "operations": operations});
        assert_eq!(filtered(&MODULE, json, log::Value::text("aab")), json!({"f": "c"}));
    }

    #[test]
    fn several_filters_become_one() {
        let single = |pattern: &str| {
            let operation = Operation { regexp: pattern.into(), value: String::new() };
            ModuleJson::new(FILTER_TAG, SINGLE, &operation)
        };
        assert_eq!(merge(vec![single("a")]).unwrap(), single("a"));
        let merged = merge(vec![single("a"), single("b")]).unwrap();
        assert_eq!(
            json!(merged),
            json!({"filter": "multi_regexp", "operations": [{"regexp": "a"}, {"regexp": "b"}]})
        );
        assert!(merge(vec![single("a"), single("")]).is_err());
    }
}
