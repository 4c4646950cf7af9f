//! What a directive's parser has at hand.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use tollgate_grammar::{Env, Files, Mistakes, Place};

use super::expectation::expect;
use super::outline::Outliner;
use super::read_on::{READINGS_MAX, read_on};
use super::routes::build_subroute;
use super::trace::{Trace, TracedOut};
use super::value::Said;
use super::{ConfigValue, Cursor, Error, Options, Parse, Segment, Token, Vocabulary, Warning, oddities};
use crate::config::ModuleJson;
use crate::config::http::{MatcherSet, Route, Subroute};

/// Named matchers by their name, `@` included.
pub(super) type NamedMatchers = BTreeMap<String, MatcherSet>;

/// What is noted besides the result.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) warnings: RefCell<Vec<Warning>>,
    /// See [`super::Adapted::not_runnable`].
    pub(super) not_runnable: RefCell<Vec<Error>>,
    /// What came out of which tokens, if somebody asks.
    pub(super) trace: Option<Trace>,
    /// What was written where, if somebody asks.
    pub(super) outliner: Outliner,
}

/// What adapting one Caddyfile shares from its first directive to its last.
pub(super) struct Session<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) options: &'a Options,
    pub(super) env: &'a dyn Env,
    pub(super) files: &'a dyn Files,
    pub(super) notes: &'a Notes,
    groups: Cell<usize>,
    logs: Cell<usize>,
    certificate_tags: RefCell<HashMap<String, String>>,
    /// How often something was read again in search of further mistakes.
    readings: Cell<usize>,
    /// The named routes invoked since somebody last asked.
    pub(super) invoked: RefCell<BTreeMap<String, Option<Token>>>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        vocabulary: &'a Vocabulary,
        options: &'a Options,
        (env, files): (&'a dyn Env, &'a dyn Files),
        notes: &'a Notes,
    ) -> Self {
        Self {
            vocabulary,
            options,
            env,
            files,
            notes,
            groups: Cell::new(0),
            logs: Cell::new(0),
            certificate_tags: RefCell::default(),
            readings: Cell::new(0),
            invoked: RefCell::default(),
        }
    }

    /// Notes something odd about a token.
    pub(super) fn warn(&self, token: &Token, message: &str) {
        let warning = Warning { message: message.to_owned(), place: Some(Place::of(token)) };
        self.notes.warnings.borrow_mut().push(warning);
    }

    /// Reads `@name ...` and adds it to what is defined.
    pub(super) fn define_matcher(
        &self,
        definition: Segment,
        defined: &mut NamedMatchers,
    ) -> Result<(), Error> {
        let tokens = definition.clone();
        self.vocabulary.define_matcher(definition, defined)?;
        let Some(set) = tokens.first().and_then(|name| defined.get(&*name.text)) else { return Ok(()) };
        oddities::of_matcher(&tokens, set, self);
        if let Some(trace) = &self.notes.trace {
            trace.add(tokens, TracedOut::Matchers(set.clone()));
        }
        Ok(())
    }

    /// Notes what came out of a directive, if somebody asks.
    fn trace_directive(&self, tokens: &Segment, values: &[Said]) {
        let Some(trace) = &self.notes.trace else { return };
        let routes = |said: &Said| match &said.value {
            ConfigValue::Route(route) => vec![route.clone()],
            ConfigValue::Routes(routes) => routes.clone(),
            ConfigValue::ErrorRoutes(subroute) => subroute.routes.clone(),
            _ => Vec::new(),
        };
        let routes: Vec<Route> = values.iter().flat_map(routes).collect();
        let out = if routes.is_empty() { TracedOut::Other } else { TracedOut::Routes(routes) };
        trace.add(tokens.clone(), out);
    }

    /// Whether something may be read again in search of further mistakes; it counts as one reading.
    pub(super) fn may_read_again(&self) -> bool {
        self.readings.set(self.readings.get() + 1);
        self.readings.get() <= READINGS_MAX
    }

    /// The next name of a route group.
    pub(super) fn next_group(&self) -> String {
        let number = self.groups.get();
        self.groups.set(number + 1);
        format!("group{number}")
    }
}

/// What a directive's parser has at hand: its tokens, and what is around them.
pub struct Helper<'a> {
    /// The directive's tokens; at first the cursor stands before its name.
    pub cursor: Cursor,
    pub(super) session: &'a Session<'a>,
    pub(super) matchers: Rc<NamedMatchers>,
    /// The files that the site block came from.
    pub(super) files: Rc<BTreeSet<String>>,
}

/// What the argument of a directive is as a matcher.
#[derive(Clone, Debug, PartialEq)]
pub enum MatcherToken {
    /// No matcher; the argument means something else, or there is none.
    No,
    /// `*`: everything matches.
    All,
    /// A path, or a named matcher.
    Set(MatcherSet),
}

impl<'a> Helper<'a> {
    /// A helper for other tokens at the same place.
    pub fn with_cursor(&self, cursor: Cursor) -> Helper<'a> {
        Helper { cursor, session: self.session, matchers: self.matchers.clone(), files: self.files.clone() }
    }

    /// The global options.
    pub fn options(&self) -> &'a Options {
        self.session.options
    }

    /// Everything that can be written.
    pub fn vocabulary(&self) -> &'a Vocabulary {
        self.session.vocabulary
    }

    /// The files that the tokens of the site block were read from, without repetition, in order.
    pub fn caddyfiles(&self) -> Vec<String> {
        self.files.iter().cloned().collect()
    }

    /// What a file holds, for the few directives that put it into the configuration.
    ///
    /// # Errors
    /// It can't be read, or is too large to be part of a configuration.
    pub fn read_file(&self, path: &str) -> std::io::Result<Vec<u8>> {
        self.session.files.read(path)
    }

    /// The absolute form of a path that may be relative to the working directory.
    ///
    /// # Errors
    /// There is no working directory.
    pub fn absolute_path(&self, path: &str) -> std::io::Result<String> {
        self.session.files.absolute(path)
    }

    /// Notes something odd about the current token.
    pub fn warn(&self, message: impl Into<String>) {
        let place = self.cursor.token().map(Place::of);
        self.session.notes.warnings.borrow_mut().push(Warning { message: message.into(), place });
    }

    /// Notes something odd about a token.
    pub fn warn_at(&self, token: &Token, message: &str) {
        self.session.warn(token, message);
    }

    /// The next group of routes of which only the first that matches runs.
    pub fn next_group(&self) -> String {
        self.session.next_group()
    }

    /// The next name of a log that has none of its own: `log0`, `log1`, ...
    pub fn next_log_name(&self) -> String {
        let number = self.session.logs.get();
        self.session.logs.set(number + 1);
        format!("log{number}")
    }

    /// The tag of a certificate's file, and whether it was given just now, so that the file must be loaded.
    pub fn certificate_tag(&self, file: &str) -> (String, bool) {
        let mut tags = self.session.certificate_tags.borrow_mut();
        if let Some(tag) = tags.get(file) {
            return (tag.clone(), false);
        }
        let tag = format!("cert{}", tags.len());
        tags.insert(file.to_owned(), tag.clone());
        (tag, true)
    }

    /// Remembers that the site invokes a named route, so that its server gets it.
    pub fn invoke(&self, name: &str) {
        let mut invoked = self.session.invoked.borrow_mut();
        invoked.entry(name.to_owned()).or_insert_with(|| self.cursor.token().cloned());
    }

    // ---- matchers ----------------------------------------------------------------------------------------------

    /// Loads the next argument, if there is one, and says what it is as a matcher.
    ///
    /// # Errors
    /// It names a matcher that is not defined.
    pub fn matcher_token(&mut self) -> Result<MatcherToken, Error> {
        if !self.cursor.next_arg() {
            return Ok(MatcherToken::No);
        }
        match self.cursor.token() {
            Some(token) => self.matcher_of(token),
            None => Ok(MatcherToken::No),
        }
    }

    /// What a token is as a matcher.
    ///
    /// # Errors
    /// It names a matcher that is not defined.
    pub fn matcher_of(&self, token: &Token) -> Result<MatcherToken, Error> {
        super::matchers::from_token(token, &self.matchers)
    }

    /// Takes a matcher off the front of the arguments and goes back before the directive's name.
    ///
    /// # Errors
    /// It names a matcher that is not defined.
    pub fn extract_matcher_set(&mut self) -> Result<Option<MatcherSet>, Error> {
        // The directive's name.
        let token = match self.cursor.position() {
            0 => {
                self.cursor.next();
                self.matcher_token()?
            }
            _ => self.matcher_token()?,
        };
        let set = match token {
            MatcherToken::No => None,
            MatcherToken::All => {
                self.cursor.delete();
                None
            }
            MatcherToken::Set(set) => {
                self.cursor.delete();
                Some(set)
            }
        };
        self.cursor.reset();
        Ok(set)
    }

    // ---- what comes out ----------------------------------------------------------------------------------------

    /// A route with one handler.
    pub fn new_route(&self, matchers: Option<MatcherSet>, handler: ModuleJson) -> Vec<ConfigValue> {
        vec![ConfigValue::Route(Route {
            matcher_sets: matchers.into_iter().collect(),
            handle: vec![handler],
            ..Route::default()
        })]
    }

    /// Puts all routes among `values` into one group, if there are at least two.
    pub fn group_routes(&self, values: &mut [ConfigValue]) {
        let is_route = |value: &&mut ConfigValue| matches!(value, ConfigValue::Route(_));
        if values.iter_mut().filter(is_route).count() < 2 {
            return;
        }
        let group = self.next_group();
        for value in values {
            if let ConfigValue::Route(route) = value {
                route.group.clone_from(&group);
            }
        }
    }

    /// Reads a module of `namespace` whose name is the current token, see [`Vocabulary::submodule`].
    ///
    /// # Errors
    /// There is no such module, or its own complaint.
    pub fn submodule(&mut self, namespace: &'static str, tag: &'static str) -> Result<ModuleJson, Error> {
        self.session.vocabulary.submodule(&mut self.cursor, namespace, tag)
    }

    /// Reads a matcher of the current segment that is written like one of a named matcher.
    ///
    /// # Errors
    /// There is no such matcher, or its own complaint.
    pub fn nested_matcher_set(&mut self) -> Result<MatcherSet, Error> {
        self.session.vocabulary.nested_matcher_set(&mut self.cursor)
    }

    // ---- blocks of directives ----------------------------------------------------------------------------------

    /// Reads a block of directives and sorts them, as `handle` does. The cursor stands before the name of the
    /// directive whose block it is.
    ///
    /// # Errors
    /// Something in the block is wrong.
    pub fn parse_segment_as_subroute(&mut self) -> Result<Subroute, Error> {
        let mut said = self.parse_segment_as_config()?;
        build_subroute(&mut said, self.session, true)
    }

    /// Reads a block of directives and leaves them in the order of the text, as `route` does.
    ///
    /// # Errors
    /// Something in the block is wrong, or says something that is no route.
    pub fn parse_segment_as_route(&mut self) -> Result<Subroute, Error> {
        let mut said = self.parse_segment_as_config()?;
        for one in &said {
            if !matches!(one.value, ConfigValue::Route(_) | ConfigValue::Routes(_)) {
                return Err(self.cursor.err(format!(
                    "{} directive returned something other than an HTTP route or subroute (only handler directives \
                     can be used in routes)",
                    one.directive
                )));
            }
        }
        build_subroute(&mut said, self.session, false)
    }

    fn parse_segment_as_config(&mut self) -> Result<Vec<Said>, Error> {
        let mut said = Vec::new();
        let mut mistakes = Mistakes::default();
        while self.cursor.next() {
            if self.cursor.next_arg() {
                return Err(self.cursor.arg_err());
            }
            let mut segments = Vec::new();
            let nesting = self.cursor.nesting();
            while self.cursor.next_block(nesting) {
                segments.push(self.cursor.next_segment());
            }
            let mut matchers = (*self.matchers).clone();
            let (definitions, directives): (Vec<_>, Vec<_>) =
                segments.into_iter().partition(super::matchers::is_definition);
            for definition in definitions {
                self.session.notes.outliner.matcher(&definition);
                if let Err(error) = self.session.define_matcher(definition, &mut matchers) {
                    mistakes.add(error);
                }
            }
            let matchers = Rc::new(matchers);
            for segment in directives {
                match self.nested_directive(segment, &matchers) {
                    Ok(values) => said.extend(values),
                    Err(error) => mistakes.add(error),
                }
                if mistakes.is_full() {
                    break;
                }
            }
        }
        mistakes.none().map(|()| said)
    }

    /// Reads a directive inside this one's block.
    fn nested_directive(&self, segment: Segment, matchers: &Rc<NamedMatchers>) -> Result<Vec<Said>, Error> {
        let Some(token) = segment.first().cloned() else { return Ok(Vec::new()) };
        let vocabulary = self.session.vocabulary;
        let Some(row) = vocabulary.directive(&token.text) else {
            let message = format!(
                "unrecognized directive: {} - are you sure your Caddyfile structure (nesting and braces) is correct?",
                token.shown()
            );
            let error = self.cursor.err(message).shown_at(&token);
            return Err(error
                .expected("a directive")
                .did_you_mean(&token.text, vocabulary.directive_names()));
        };
        let mut nested = self.with_cursor(Cursor::default());
        nested.matchers = matchers.clone();
        nested.directive(row, segment).map_err(|error| match self.cursor.token() {
            Some(token) => error.inside(token),
            None => error,
        })
    }

    /// Reads the directive `row`, whose tokens are `segment`, with all mistakes that are in it.
    pub(super) fn directive(
        &mut self,
        row: &'static super::Directive,
        segment: Segment,
    ) -> Result<Vec<Said>, Error> {
        let session = self.session;
        let tokens = session.notes.trace.as_ref().map(|_| segment.clone());
        let values = read_on(
            segment,
            || session.may_read_again(),
            |segment| {
                self.cursor = Cursor::new(segment);
                self.directive_at_cursor(row)
            },
        )?;
        if let Some(tokens) = tokens {
            session.trace_directive(&tokens, &values);
        }
        Ok(values)
    }

    /// Reads the directive `row`, whose name the cursor stands before.
    fn directive_at_cursor(&mut self, row: &'static super::Directive) -> Result<Vec<Said>, Error> {
        let name = self.cursor.peek().cloned();
        let line = self.session.notes.outliner.line(self.cursor.tokens());
        self.session.notes.outliner.begin();
        let values = match row.parse {
            Parse::Handler(parse) => self.handler_directive(parse),
            Parse::Routes(parse) | Parse::Site(parse) => parse(self),
        };
        let written = self.session.notes.outliner.end_directive(line);
        let values = values.map_err(|error| {
            let error = error.context(format!("parsing caddyfile tokens for '{}'", row.name));
            let error = match &name {
                Some(token) => error.or_at(token),
                None => error,
            };
            expect(error, self.cursor.tokens(), row.syntax)
        })?;
        if let Some(name) = &name {
            self.note_not_runnable(name, &values);
        }
        // `handle_path` is sorted and grouped as if it were `handle`.
        let directive = if row.name == "handle_path" { "handle" } else { row.name };
        Ok(values.into_iter().map(|value| Said { directive, value, written: written.clone() }).collect())
    }

    /// Notes what a directive gives that nothing can run so far.
    fn note_not_runnable(&self, name: &Token, values: &[ConfigValue]) {
        let vocabulary = self.session.vocabulary;
        let missing = values.iter().find_map(|value| match value {
            ConfigValue::Route(route) => vocabulary.not_runnable(route),
            ConfigValue::Routes(routes) | ConfigValue::ErrorRoutes(Subroute { routes, .. }) => {
                routes.iter().find_map(|route| vocabulary.not_runnable(route))
            }
            _ => None,
        });
        if let Some(missing) = missing {
            let message =
                format!("directive '{}' is not supported yet: it needs the {missing}", name.shown());
            self.session.notes.not_runnable.borrow_mut().push(Error::at(name, message));
        }
    }

    fn handler_directive(
        &mut self,
        parse: fn(&mut Helper<'_>) -> Result<ModuleJson, Error>,
    ) -> Result<Vec<ConfigValue>, Error> {
        let matchers = self.extract_matcher_set()?;
        let handler = parse(self)?;
        Ok(self.new_route(matchers, handler))
    }
}

/// The files that the tokens of a block were read from.
pub(super) fn files_of(segments: &[Segment]) -> BTreeSet<String> {
    segments.iter().flatten().map(|token| token.origin.file.name.to_string()).collect()
}
