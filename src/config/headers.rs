//! What is done to header fields, and which answers are meant.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;

/// Header fields by name; Go's `http.Header`.
pub type HeaderFields = BTreeMap<String, Vec<String>>;

/// Changes to header fields. They are made in the order of the fields here, but that deleting all of
/// them comes first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderOps {
    /// Values that are added to those that are there.
    #[serde(skip_serializing_if = "is_default")]
    pub add: HeaderFields,
    /// Values that take the place of those that are there.
    #[serde(skip_serializing_if = "is_default")]
    pub set: HeaderFields,
    /// Names of fields to take away; a `*` at either end, or both, is a wildcard.
    #[serde(skip_serializing_if = "is_default")]
    pub delete: Vec<String>,
    /// Replacements within values, by the field's name or `*` for all fields.
    #[serde(skip_serializing_if = "is_default")]
    pub replace: BTreeMap<String, Vec<HeaderReplacement>>,
}

/// A replacement within a value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderReplacement {
    /// The text to look for, or
    #[serde(skip_serializing_if = "is_default")]
    pub search: String,
    /// the regular expression.
    #[serde(skip_serializing_if = "is_default")]
    pub search_regexp: String,
    /// What takes its place; `$1` and the like stand for groups.
    #[serde(skip_serializing_if = "is_default")]
    pub replace: String,
}

/// Changes to an answer's header fields, see [`HeaderOps`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseHeaderOps {
    /// As in [`HeaderOps`].
    #[serde(skip_serializing_if = "is_default")]
    pub add: HeaderFields,
    /// As in [`HeaderOps`].
    #[serde(skip_serializing_if = "is_default")]
    pub set: HeaderFields,
    /// As in [`HeaderOps`].
    #[serde(skip_serializing_if = "is_default")]
    pub delete: Vec<String>,
    /// As in [`HeaderOps`].
    #[serde(skip_serializing_if = "is_default")]
    pub replace: BTreeMap<String, Vec<HeaderReplacement>>,
    /// Only answers like this are changed, when they are about to be sent.
    #[serde(skip_serializing_if = "is_default")]
    pub require: Option<ResponseMatcher>,
    /// Whether the changes wait until the answer is about to be sent.
    #[serde(skip_serializing_if = "is_default")]
    pub deferred: bool,
}

impl ResponseHeaderOps {
    /// The changes alone.
    pub fn ops(&self) -> HeaderOps {
        HeaderOps {
            add: self.add.clone(),
            set: self.set.clone(),
            delete: self.delete.clone(),
            replace: self.replace.clone(),
        }
    }
}

/// Which answers are meant; what is not said matches every answer
/// (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/intercept/handle_response/match/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseMatcher {
    /// The status must be one of these; a single digit stands for its class.
    #[serde(skip_serializing_if = "is_default")]
    pub status_code: Option<Vec<i64>>,
    /// Each field must have one of these values, where `*` may stand at either end; an empty list
    /// wants it to be there, and `null` not to be.
    #[serde(skip_serializing_if = "is_default")]
    pub headers: BTreeMap<String, Option<Vec<String>>>,
}
