//! Everything that can be written in a Caddyfile.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::expectation::expect;
use super::{
    Cursor, Directive, Error, GlobalOption, MatcherSyntax, Parse, SubmoduleReader, SubmoduleSyntax, Token,
};
use crate::config::ModuleJson;
use crate::config::http::{HANDLER_TAG, Route};

/// The rows of everything that can be written in a Caddyfile, by name.
#[derive(Default)]
pub struct Vocabulary {
    directives: HashMap<&'static str, &'static Directive>,
    matchers: HashMap<&'static str, &'static MatcherSyntax>,
    options: HashMap<&'static str, &'static GlobalOption>,
    submodules: HashMap<(&'static str, &'static str), &'static SubmoduleSyntax>,
    order: Vec<&'static str>,
    runnable_handlers: HashSet<&'static str>,
    runnable_matchers: HashSet<&'static str>,
}

impl Vocabulary {
    /// Adds directives; their position is their default order.
    pub fn add_directives(&mut self, rows: &'static [Directive]) {
        for row in rows {
            self.directives.insert(row.name, row);
            if !matches!(row.parse, Parse::Site(_)) {
                self.order.push(row.name);
            }
        }
    }

    /// Adds matchers.
    pub fn add_matchers(&mut self, rows: &'static [MatcherSyntax]) {
        self.matchers.extend(rows.iter().map(|row| (row.name, row)));
    }

    /// Adds global options.
    pub fn add_options(&mut self, rows: &'static [GlobalOption]) {
        self.options.extend(rows.iter().map(|row| (row.name, row)));
    }

    /// Adds modules that are written inside others.
    pub fn add_submodules(&mut self, rows: &'static [SubmoduleSyntax]) {
        self.submodules.extend(rows.iter().map(|row| ((row.namespace, row.name), row)));
    }

    /// Adds the name of a handler that can run.
    pub fn add_runnable_handler(&mut self, id: &'static str) {
        self.runnable_handlers.insert(id);
    }

    /// Adds the name of a matcher that can run.
    pub fn add_runnable_matcher(&mut self, id: &'static str) {
        self.runnable_matchers.insert(id);
    }

    /// The first handler or matcher of a route that can only be written so far, and not run.
    pub(super) fn not_runnable(&self, route: &Route) -> Option<String> {
        let handlers = route.handle.iter().filter_map(|handler| handler.name(HANDLER_TAG).ok());
        let handler = handlers.into_iter().find(|name| !self.runnable_handlers.contains(name));
        let matchers = route.matcher_sets.iter().flat_map(|set| set.keys());
        let matcher = matchers.into_iter().find(|name| !self.runnable_matchers.contains(name.as_str()));
        match (handler, matcher) {
            (Some(name), _) => Some(format!("handler '{name}'")),
            (None, Some(name)) => Some(format!("matcher '{name}'")),
            (None, None) => None,
        }
    }

    /// The directives that give handlers, in the order they are sorted by unless the configuration says otherwise.
    pub fn order(&self) -> &[&'static str] {
        &self.order
    }

    /// The directive of this name.
    pub fn directive(&self, name: &str) -> Option<&'static Directive> {
        self.directives.get(name).copied()
    }

    /// The global option of this name.
    pub fn option(&self, name: &str) -> Option<&'static GlobalOption> {
        self.options.get(name).copied()
    }

    /// The matcher of this name.
    pub fn matcher(&self, name: &str) -> Option<&'static MatcherSyntax> {
        self.matchers.get(name).copied()
    }

    /// Names of all directives, in alphabetical order.
    pub fn directive_names(&self) -> Vec<&'static str> {
        sorted(self.directives.keys().copied())
    }

    /// Names of all global options, in order.
    pub fn option_names(&self) -> Vec<&'static str> {
        sorted(self.options.keys().copied())
    }

    /// Names of all matchers, in order.
    pub fn matcher_names(&self) -> Vec<&'static str> {
        sorted(self.matchers.keys().copied())
    }

    /// Names of the modules of a namespace, in order.
    pub fn submodule_names(&self, namespace: &str) -> Vec<&'static str> {
        sorted(self.submodules.keys().filter(|(space, _)| *space == namespace).map(|(_, name)| *name))
    }

    /// Reads the module of `namespace` whose name is the cursor's current token, with all that belongs to it on its
    /// line and in its block, and gives its JSON with the name under `tag`.
    ///
    /// # Errors
    /// There is no such module, or its own complaint.
    pub fn submodule(
        &self,
        cursor: &mut Cursor,
        namespace: &'static str,
        tag: &'static str,
    ) -> Result<ModuleJson, Error> {
        let name = cursor.val().to_owned();
        let value = self.submodule_value(cursor, namespace)?;
        Ok(ModuleJson::new(tag, &name, &value))
    }

    /// Like [`Vocabulary::submodule`], without a tag.
    ///
    /// # Errors
    /// There is no such module, or its own complaint.
    pub fn submodule_value(&self, cursor: &mut Cursor, namespace: &'static str) -> Result<Value, Error> {
        let name = cursor.val().to_owned();
        let Some(row) = self.submodules.get(&(namespace, name.as_str())) else {
            let id = format!("{namespace}.{name}");
            return Err(cursor
                .err(format!("getting module named '{id}': module not registered: {id}"))
                .did_you_mean(&name, self.submodule_names(namespace)));
        };
        let mut reader = SubmoduleReader { cursor: cursor.new_from_next_segment(), vocabulary: self };
        (row.parse)(&mut reader).map_err(|error| expect(error, reader.cursor.tokens(), row.syntax))
    }

    /// The error for a directive that there isn't.
    pub(super) fn unknown_directive(&self, token: &Token, message: String) -> Error {
        let error = Error::at_front(token, message).did_you_mean(&token.text, self.directive_names());
        if error.has_help() {
            return error;
        }
        error.help("no standard directive has this name; directives of Caddy's plugins are not there")
    }
}

fn sorted(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}
