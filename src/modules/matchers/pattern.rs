//! What the matchers with regular expressions share.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapt::{Error, MatcherReader};
use crate::http::ProvisionError;
use crate::http::regexp::{Captures, Regexp};

/// A regular expression in JSON.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PatternJson {
    /// The name under which placeholders know what it has found.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    /// The expression, in Go's syntax.
    pub(super) pattern: String,
}

/// A compiled expression with its name.
pub(super) struct Pattern {
    regexp: Regexp,
    name: Arc<str>,
}

impl Pattern {
    pub(super) fn compile(json: &PatternJson) -> Result<Self, ProvisionError> {
        let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
        if !json.name.chars().all(is_word) {
            let message = format!("invalid regexp name (must contain only word characters): {}", json.name);
            return Err(ProvisionError::invalid(message));
        }
        let regexp = Regexp::new(&json.pattern).map_err(|error| {
            ProvisionError::invalid(format!("compiling matcher regexp {}: {error}", json.pattern))
        })?;
        Ok(Self { regexp, name: json.name.as_str().into() })
    }

    /// The first match in `text`, if there is one.
    pub(super) fn find(&self, text: &[u8]) -> Option<Captures> {
        self.regexp.captures(text, &self.name)
    }
}

/// Reads `[<name>] <field> <regexp>` after the matcher's name.
pub(super) fn parse_field(reader: &mut MatcherReader<'_>) -> Result<(String, PatternJson), Error> {
    let [first, second] = reader.cursor.args()?;
    let (name, field, pattern) = if reader.cursor.next_arg() {
        (first, second, reader.cursor.val().to_owned())
    } else {
        (String::new(), first, second)
    };
    let name = if name.is_empty() { reader.matcher_name().to_owned() } else { name };
    Ok((field, PatternJson { name, pattern }))
}
