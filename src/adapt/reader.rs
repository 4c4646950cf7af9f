//! What the parsers of matchers, global options and nested modules have at hand.

use serde_json::Value;

use super::{Cursor, Error, Options, Vocabulary};
use crate::config::ModuleJson;
use crate::config::http::MatcherSet;

/// A module inside a directive or an option.
pub struct SubmoduleReader<'a> {
    /// Its tokens.
    pub cursor: Cursor,
    pub(super) vocabulary: &'a Vocabulary,
}

/// A matcher.
pub struct MatcherReader<'a> {
    /// Its tokens.
    pub cursor: Cursor,
    pub(super) vocabulary: &'a Vocabulary,
    /// The name of the named matcher it belongs to, without `@`; empty if it has none.
    pub(super) matcher_name: String,
}

/// A global option.
pub struct OptionReader<'a> {
    /// Its tokens.
    pub cursor: Cursor,
    /// What was read so far, and where the option goes.
    pub options: &'a mut Options,
    pub(super) vocabulary: &'a Vocabulary,
}

impl<'a> SubmoduleReader<'a> {
    /// Reads a module of `namespace` inside this one, see [`Vocabulary::submodule`].
    ///
    /// # Errors
    /// There is no such module, or its own complaint.
    pub fn submodule(&mut self, namespace: &'static str, tag: &'static str) -> Result<ModuleJson, Error> {
        self.vocabulary.submodule(&mut self.cursor, namespace, tag)
    }

    /// Everything that can be written.
    pub fn vocabulary(&self) -> &'a Vocabulary {
        self.vocabulary
    }
}

impl<'a> MatcherReader<'a> {
    /// The name of the named matcher it belongs to, without `@`; empty if it has none. Regular expressions use it as
    /// the name of their captures.
    pub fn matcher_name(&self) -> &str {
        &self.matcher_name
    }

    /// Reads matchers that stand on the rest of the line or in a block, as after `not`.
    ///
    /// # Errors
    /// There is no such matcher, or its own complaint.
    pub fn nested_matcher_set(&mut self) -> Result<MatcherSet, Error> {
        self.vocabulary.nested_matcher_set(&mut self.cursor)
    }

    /// Reads a module of `namespace` inside this one, see [`Vocabulary::submodule`].
    ///
    /// # Errors
    /// There is no such module, or its own complaint.
    pub fn submodule(&mut self, namespace: &'static str, tag: &'static str) -> Result<ModuleJson, Error> {
        self.vocabulary.submodule(&mut self.cursor, namespace, tag)
    }

    /// Everything that can be written.
    pub fn vocabulary(&self) -> &'a Vocabulary {
        self.vocabulary
    }
}

impl<'a> OptionReader<'a> {
    /// Reads a module of `namespace` inside this option, see [`Vocabulary::submodule`].
    ///
    /// # Errors
    /// There is no such module, or its own complaint.
    pub fn submodule(&mut self, namespace: &'static str, tag: &'static str) -> Result<ModuleJson, Error> {
        self.vocabulary.submodule(&mut self.cursor, namespace, tag)
    }

    /// Like [`OptionReader::submodule`], without a tag.
    ///
    /// # Errors
    /// There is no such module, or its own complaint.
    pub fn submodule_value(&mut self, namespace: &'static str) -> Result<Value, Error> {
        self.vocabulary.submodule_value(&mut self.cursor, namespace)
    }

    /// Everything that can be written.
    pub fn vocabulary(&self) -> &'a Vocabulary {
        self.vocabulary
    }
}
