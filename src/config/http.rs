//! `apps.http`: servers, routes and matcher sets.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ModuleJson;

/// An ordered list of routes; Caddy's `RouteList`.
pub type RouteList = Vec<Route>;

/// A set of matchers by module name, all of which must match (AND). A list of sets matches when one
/// of them does (OR).
pub type MatcherSet = Map<String, Value>;

/// The tag under which a handler's name stands.
pub const HANDLER_TAG: &str = "handler";

/// Matchers, and what to do with the requests that they match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Of the routes with the same non-empty group, only the first that matches runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// One of these sets must match; no set at all matches everything.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matcher_sets: Vec<MatcherSet>,
    /// The handlers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handle: Vec<ModuleJson>,
    /// Whether no further route runs after this one has matched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
}
