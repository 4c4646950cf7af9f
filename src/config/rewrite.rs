//! Changes to a request's method and target.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;

/// Changes to a request's method and target, made in the order of the fields here
/// (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/rewrite/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rewrite {
    /// The new method.
    #[serde(skip_serializing_if = "is_default")]
    pub method: String,
    /// The new target; what it does not name (path, query) stays.
    #[serde(skip_serializing_if = "is_default")]
    pub uri: String,
    /// What is taken off the path's beginning.
    #[serde(skip_serializing_if = "is_default")]
    pub strip_path_prefix: String,
    /// What is taken off the path's end.
    #[serde(skip_serializing_if = "is_default")]
    pub strip_path_suffix: String,
    /// Replacements in path and query.
    #[serde(skip_serializing_if = "is_default")]
    pub uri_substring: Vec<UriSubstring>,
    /// Replacements in the path.
    #[serde(skip_serializing_if = "is_default")]
    pub path_regexp: Vec<PathReplacement>,
    /// Changes to the query.
    #[serde(skip_serializing_if = "is_default")]
    pub query: Option<QueryOps>,
}

/// A text that takes the place of another in path and query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UriSubstring {
    /// What to look for.
    #[serde(skip_serializing_if = "is_default")]
    pub find: String,
    /// What takes its place.
    #[serde(skip_serializing_if = "is_default")]
    pub replace: String,
    /// So many are replaced, in path and query each; 0 or less is no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub limit: i64,
}

/// A text that takes the place of what a regular expression finds in the path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PathReplacement {
    /// The regular expression.
    #[serde(skip_serializing_if = "is_default")]
    pub find: String,
    /// What takes its place; `$1` and the like stand for groups.
    #[serde(skip_serializing_if = "is_default")]
    pub replace: String,
}

/// Changes to the query, made in the order of the fields here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueryOps {
    /// New names of keys.
    #[serde(skip_serializing_if = "is_default")]
    pub rename: Vec<QueryArgument>,
    /// Values that take the place of those that are there.
    #[serde(skip_serializing_if = "is_default")]
    pub set: Vec<QueryArgument>,
    /// Values that are added to those that are there.
    #[serde(skip_serializing_if = "is_default")]
    pub add: Vec<QueryArgument>,
    /// Replacements within values.
    #[serde(skip_serializing_if = "is_default")]
    pub replace: Vec<QueryReplacement>,
    /// Keys to take away.
    #[serde(skip_serializing_if = "is_default")]
    pub delete: Vec<String>,
}

/// A key of the query, and its value or new name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueryArgument {
    /// The key.
    #[serde(skip_serializing_if = "is_default")]
    pub key: String,
    /// The value, or the new name.
    #[serde(skip_serializing_if = "is_default")]
    pub val: String,
}

/// A replacement within the values of a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueryReplacement {
    /// The key; `*` is every key.
    #[serde(skip_serializing_if = "is_default")]
    pub key: String,
    /// The text to look for, or
    #[serde(skip_serializing_if = "is_default")]
    pub search: String,
    /// the regular expression.
    #[serde(skip_serializing_if = "is_default")]
    pub search_regexp: String,
    /// What takes its place.
    #[serde(skip_serializing_if = "is_default")]
    pub replace: String,
}
