//! What one file of [`crate::modules`] offers, and the table of all of them.

use std::collections::HashMap;

use crate::http::{HandlerType, MatcherType};

/// One thing that a user can write, under all of its names: what its file registers.
pub struct Module {
    /// The handler that it provides in JSON, if it is one.
    pub handler: Option<HandlerType>,
    /// The matcher that it provides in JSON, if it is one.
    pub matcher: Option<MatcherType>,
}

impl Module {
    /// A module that offers nothing yet; the base of struct update syntax.
    pub const EMPTY: Self = Self { handler: None, matcher: None };
}

/// All modules by their names, looked up while adapting and provisioning and never later.
pub struct Registry {
    /// Handlers by their name in JSON.
    pub handlers: HashMap<&'static str, &'static HandlerType>,
    /// Matchers by their name in JSON.
    pub matchers: HashMap<&'static str, &'static MatcherType>,
}

impl Registry {
    /// The registry of these tables.
    pub fn new(tables: &[&[&'static Module]]) -> Self {
        let modules = || tables.iter().flat_map(|table| table.iter().copied());
        Self {
            handlers: modules().filter_map(|m| m.handler.as_ref()).map(|row| (row.id, row)).collect(),
            matchers: modules().filter_map(|m| m.matcher.as_ref()).map(|row| (row.id, row)).collect(),
        }
    }
}
