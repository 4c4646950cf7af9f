//! Row types: what a module says about how it is written in a Caddyfile.

use serde_json::Value;

use super::{ConfigValue, Error, Helper, MatcherReader, OptionReader, SubmoduleReader};
use crate::config::ModuleJson;

/// A directive of a site block.
pub struct Directive {
    /// How it is called.
    pub name: &'static str,
    /// How it is written; shown in errors and in the documentation.
    pub syntax: &'static str,
    /// What it means.
    pub parse: Parse,
}

/// How a directive's tokens become configuration.
#[derive(Clone, Copy)]
pub enum Parse {
    /// It gives one handler. A matcher as first argument is already taken off, and the cursor stands before the
    /// directive's name.
    Handler(fn(&mut Helper<'_>) -> Result<ModuleJson, Error>),
    /// It gives routes, and looks for a matcher itself. The cursor stands before the directive's name.
    Routes(fn(&mut Helper<'_>) -> Result<Vec<ConfigValue>, Error>),
    /// It says something about the site, such as where it listens, and is no part of the order of handlers.
    Site(fn(&mut Helper<'_>) -> Result<Vec<ConfigValue>, Error>),
}

/// A matcher of a named matcher, `@name { path /x }`.
pub struct MatcherSyntax {
    /// How it is called, in JSON too.
    pub name: &'static str,
    /// How it is written; shown in errors and in the documentation.
    pub syntax: &'static str,
    /// Gives the JSON that stands under its name.
    ///
    /// The cursor stands before the matcher's name. If a set holds the matcher several times, all of them come at
    /// once, one after another.
    pub parse: fn(&mut MatcherReader<'_>) -> Result<Value, Error>,
}

/// An option of the global block.
pub struct GlobalOption {
    /// How it is called.
    pub name: &'static str,
    /// How it is written; shown in errors and in the documentation.
    pub syntax: &'static str,
    /// Reads it into the options. The cursor stands before the option's name.
    pub parse: fn(&mut OptionReader<'_>) -> Result<(), Error>,
}

/// A module that is written inside a directive or an option, such as a transport or a log's output.
pub struct SubmoduleSyntax {
    /// Caddy's namespace, `caddy.logging.writers` for instance.
    pub namespace: &'static str,
    /// How it is called, in JSON too.
    pub name: &'static str,
    /// How it is written; shown in errors and in the documentation.
    pub syntax: &'static str,
    /// Gives its JSON object, without the tag that names the module.
    ///
    /// The cursor stands before the module's name, and holds its tokens alone.
    pub parse: fn(&mut SubmoduleReader<'_>) -> Result<Value, Error>,
}
