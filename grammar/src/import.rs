//! `import`: snippets and files put in place of the directive.

use std::collections::HashMap;
use std::sync::Arc;

use crate::args::{self, Arguments};
use crate::cursor::Cursor;
use crate::env::Env;
use crate::files::Files;
use crate::glob;
use crate::graph::ImportGraph;
use crate::lexer::tokenize;
use crate::limits::{ARGUMENT_BYTES_MAX, FILE_BYTES_MAX, IMPORTED_TOKENS_MAX, IMPORTS_MAX, TRAIL_MAX};
use crate::mistakes::Mistakes;
use crate::report::{Error, Place, Warning};
use crate::source::{SourceMap, decode};
use crate::token::{Origin, Token};

/// What reading a file needs.
pub(crate) struct Surroundings<'s> {
    pub(crate) env: &'s dyn Env,
    pub(crate) files: &'s dyn Files,
    pub(crate) source_map: &'s mut SourceMap,
}

/// Carries out imports, and counts what they cost.
pub(crate) struct Imports<'s> {
    surroundings: Surroundings<'s>,
    graph: ImportGraph,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) mistakes: &'s mut Mistakes,
    imports: usize,
    tokens: usize,
    argument_bytes: usize,
}

/// What a block behind `import name` holds: all of it for `{block}`, and its parts for `{blocks.name}`.
#[derive(Default)]
pub(crate) struct Block {
    pub(crate) all: Vec<Token>,
    pub(crate) parts: HashMap<Arc<str>, Vec<Token>>,
}

/// The snippets defined so far.
pub(crate) type Snippets = HashMap<Arc<str>, Arc<[Token]>>;

/// An import directive, taken out of the tokens.
struct Directive {
    /// Its last token, which names its place.
    last: Token,
    pattern: Token,
    args: Vec<Token>,
    block: Block,
}

impl<'s> Imports<'s> {
    pub(crate) fn new(surroundings: Surroundings<'s>, mistakes: &'s mut Mistakes) -> Imports<'s> {
        Imports {
            surroundings,
            graph: ImportGraph::default(),
            warnings: Vec::new(),
            mistakes,
            imports: 0,
            tokens: 0,
            argument_bytes: 0,
        }
    }

    /// Replaces the import directive whose name is current by what it imports, which comes next.
    ///
    /// `nesting` is 0 where a snippet may be defined, else 1. What can't be imported is noted as a mistake, and reading
    /// goes on without it.
    pub(crate) fn expand(
        &mut self,
        cursor: &mut Cursor,
        snippets: &Snippets,
        nesting: usize,
    ) -> Result<(), Error> {
        let directive = take_directive(cursor)?;
        self.imports += 1;
        if self.imports > IMPORTS_MAX {
            return Err(Error::at(&directive.last, format!("more than {IMPORTS_MAX} imports")));
        }
        let (imported, nodes) = match snippets.get(&directive.pattern.text) {
            Some(tokens) => {
                let first = tokens.first();
                (tokens.to_vec(), first.map(|token| node(&token.origin)).into_iter().collect())
            }
            None => match self.files(&directive, snippets) {
                Ok(found) => found,
                Err(error) => {
                    let error = explain(error, &directive, cursor);
                    if !(self.mistakes.snippets_unknown && error.is_about_a_name()) {
                        self.mistakes.import_failed(error)?;
                    }
                    self.mistakes.snippets_unknown |= nesting == 0;
                    return Ok(());
                }
            },
        };
        self.graph
            .connect(&node(&directive.last.origin), &nodes)
            .map_err(|cycle| Error::at_unnamed(&directive.last, cycle.to_string()))?;
        let tokens = self.put_in(imported, &directive, nesting)?;
        cursor.insert_next(tokens);
        Ok(())
    }

    /// Reads the files that the pattern means.
    fn files(
        &mut self,
        directive: &Directive,
        snippets: &Snippets,
    ) -> Result<(Vec<Token>, Vec<Arc<str>>), Error> {
        let at = &directive.last;
        let pattern = directive.pattern.shown();
        let files = self.surroundings.files;
        let importer = &at.origin.file.name;
        let from = files.absolute(importer).map_err(|error| {
            Error::at(at, format!("Failed to get absolute path of file: {importer}: {error}"))
        })?;
        let path = glob::relative_to(&from, &directive.pattern.text);
        if path.matches('*').count() > 1
            || path.matches('?').count() > 1
            || path.contains('[') && path.contains(']')
        {
            return Err(Error::at(
                at,
                format!(
                    "Glob pattern may only contain one wildcard (*), but has others: {}",
                    if directive.pattern.has_env() { &pattern } else { &path }
                ),
            ));
        }
        let matches = glob::matches(files, &path)
            .map_err(|error| Error::at(at, format!("Failed to use import pattern {pattern}: {error}")))?;
        if matches.is_empty() && !path.contains(['*', '?', '[', ']']) {
            return Err(Error::at(at, format!("File to import not found: {pattern}"))
                .about_a_name()
                .did_you_mean(&pattern, snippets.keys().map(|name| &**name)));
        }
        if matches.is_empty() {
            self.warn(at, format!("No files matching import glob pattern: {pattern}"));
        }
        let mut tokens = Vec::new();
        for path in &matches {
            tokens.extend(self.file(path, at)?);
            self.check_tokens(tokens.len(), at)?;
        }
        Ok((tokens, matches))
    }

    /// Reads one file.
    fn file(&mut self, path: &str, at: &Token) -> Result<Vec<Token>, Error> {
        let files = self.surroundings.files;
        let bytes =
            files.read(path).map_err(|error| Error::at(at, format!("Could not import {path}: {error}")))?;
        let text = decode(&bytes);
        if text.trim().is_empty() {
            self.warn(at, format!("Import file is empty: {path}"));
            return Ok(Vec::new());
        }
        if text.len() > FILE_BYTES_MAX {
            return Err(Error::at(at, format!("Could not import {path}: is larger than 16 MiB")));
        }
        let name = files.absolute(path).map_err(|error| {
            Error::at(at, format!("Failed to get absolute path of file: {path}: {error}"))
        })?;
        let file = self.surroundings.source_map.add(name, text);
        let origin = Arc::new(Origin { file, snippet: None, chain: Vec::new(), trail: Vec::new() });
        tokenize(&origin, self.surroundings.env).map_err(|error| {
            let import = format!("at {}:{}", at.origin.file.name, at.line);
            error.context(format!("Could not read tokens while importing {path}")).note("imported", import)
        })
    }

    /// Puts arguments and blocks into the imported tokens, and notes on each where it was imported.
    fn put_in(
        &mut self,
        imported: Vec<Token>,
        directive: &Directive,
        nesting: usize,
    ) -> Result<Vec<Token>, Error> {
        let arguments = Arguments { args: &directive.args, block: &directive.block };
        let mut definitions = Definitions { inside: false, name_seen: false, index: 0, nesting };
        let mut origins = Origins::default();
        let mut tokens: Vec<Token> = Vec::new();
        for mut token in imported {
            token.origin = origins.imported(&token.origin, &directive.last);
            if definitions.contains(tokens.last(), &token) {
                tokens.push(token); // a snippet's own arguments wait for its own import
            } else {
                let mut odd = Vec::new();
                let bytes = args::put(&token, &arguments, &mut tokens, &mut odd);
                for message in odd {
                    self.warn(&token, message);
                }
                self.argument_bytes += bytes;
            }
            self.check_tokens(tokens.len(), &directive.last)?;
            if self.argument_bytes > ARGUMENT_BYTES_MAX {
                return Err(Error::at(&directive.last, "the arguments of imports grow beyond 64 MiB"));
            }
        }
        self.tokens += tokens.len();
        Ok(tokens)
    }

    fn check_tokens(&self, more: usize, at: &Token) -> Result<(), Error> {
        if self.tokens + more <= IMPORTED_TOKENS_MAX {
            return Ok(());
        }
        Err(Error::at(at, format!("imports bring in more than {IMPORTED_TOKENS_MAX} tokens")))
    }

    fn warn(&mut self, at: &Token, mut message: String) {
        const WARNINGS_MAX: usize = 1000;
        const WARNING_CHARS_MAX: usize = 300;
        if let Some((end, _)) = message.char_indices().nth(WARNING_CHARS_MAX) {
            message.truncate(end);
        }
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(Warning { message, place: Some(Place::of(at)) });
        }
    }
}

/// Takes the directive at the cursor out of the tokens; the token before it becomes current.
fn take_directive(cursor: &mut Cursor) -> Result<Directive, Error> {
    let before = cursor.position().saturating_sub(1);
    if !cursor.next_arg() {
        return Err(cursor.arg_err().expected("import <snippet or file> [<argument>...]"));
    }
    let Some(pattern) = cursor.token().cloned() else { return Err(cursor.eof_err()) };
    if pattern.text.is_empty() {
        return Err(cursor.err("Import requires a non-empty filepath"));
    }
    let args = cursor.remaining_args_as_tokens();
    let all = block(cursor)?;
    let parts = parts(&all)?;
    let last = cursor.token().cloned().unwrap_or_else(|| pattern.clone());
    cursor.delete_n(cursor.position() - before);
    Ok(Directive { last, pattern, args, block: Block { all, parts } })
}

/// Says more about an import that was taken for a file and is none.
fn explain(error: Error, directive: &Directive, cursor: &Cursor) -> Error {
    let name = &directive.pattern.text;
    if name.starts_with("{args[") {
        return error.help("arguments exist only inside of what is imported");
    }
    let definition = format!("({name})");
    match cursor.tokens().find(|token| *token.text == *definition) {
        Some(below) => error.help(format!(
            "the snippet {definition} stands further below, at {}:{}; define it before it is imported",
            below.origin.file.name, below.line
        )),
        None => error,
    }
}

/// The tokens of the block behind an import, without its braces.
fn block(cursor: &mut Cursor) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        tokens.extend(cursor.token().cloned());
    }
    if cursor.nesting() > nesting { Err(cursor.eof_err()) } else { Ok(tokens) }
}

/// What the block has for each `{blocks.name}`: the arguments and the block behind `name`.
fn parts(block: &[Token]) -> Result<HashMap<Arc<str>, Vec<Token>>, Error> {
    let mut parts = HashMap::new();
    let mut inside = Cursor::new(block.to_vec());
    while inside.next() {
        let Some(name) = inside.token().cloned() else { break };
        if name.is_open_brace() {
            let error = Error::at(&name, "anonymous blocks are not supported");
            return Err(
                error.help("each block inside the block of an import needs a name, as for `{blocks.name}`")
            );
        }
        let mut tokens = inside.remaining_args_as_tokens();
        let nesting = inside.nesting();
        while inside.next_block(nesting) {
            tokens.extend(inside.token().cloned());
        }
        parts.insert(name.text, tokens);
    }
    Ok(parts)
}

/// The name of a file or snippet in the graph of imports.
fn node(origin: &Origin) -> Arc<str> {
    match &origin.snippet {
        Some(snippet) => format!("{}:{snippet}", origin.file.name).into(),
        None => origin.file.name.clone(),
    }
}

/// The origins of imported tokens, one for each that they had before.
#[derive(Default)]
struct Origins {
    /// Keyed by address; the old origin is kept so that its address stays its own.
    by_address: HashMap<*const Origin, (Arc<Origin>, Arc<Origin>)>,
}

impl Origins {
    fn imported(&mut self, from: &Arc<Origin>, at: &Token) -> Arc<Origin> {
        let (_, to) = self.by_address.entry(Arc::as_ptr(from)).or_insert_with(|| {
            let place = format!("{}:{}", at.origin.file.name, at.line);
            let import = match &from.snippet {
                Some(snippet) => format!("{place} (import {snippet})"),
                None => format!("{place} (import)"),
            };
            let import: Arc<str> = import.into();
            let chain = from.chain.iter().cloned().chain([import.clone()]).collect();
            let mut trail = vec![import];
            for earlier in at.origin.trail.iter().chain(&from.trail) {
                if trail.len() < TRAIL_MAX && !trail.contains(earlier) {
                    trail.push(earlier.clone());
                }
            }
            let origin = Origin { chain, trail, file: from.file.clone(), snippet: from.snippet.clone() };
            (from.clone(), Arc::new(origin))
        });
        to.clone()
    }
}

/// Follows which imported tokens define a snippet: `(name)` at the start of a line outside of blocks, and its block.
struct Definitions {
    inside: bool,
    name_seen: bool,
    /// Number of the token within its line.
    index: usize,
    nesting: usize,
}

impl Definitions {
    /// Takes the next token, `before` being the one put in last. Is it part of a snippet's block?
    fn contains(&mut self, before: Option<&Token>, token: &Token) -> bool {
        if !self.inside && self.nesting == 0 {
            let new_line = before.is_none_or(|before| before.is_followed_on_new_line_by(token));
            self.index = if new_line { 0 } else { self.index + 1 };
            let text = &*token.text;
            if self.index == 0 && text.len() >= 3 && text.starts_with('(') && text.ends_with(')') {
                self.name_seen = true;
            }
        }
        if token.is_open_brace() {
            self.nesting += 1;
            if self.index == 1 && self.name_seen && self.nesting == 1 {
                self.inside = true;
                self.name_seen = false;
            }
        } else if token.is_close_brace() {
            self.nesting = self.nesting.saturating_sub(1);
            if self.nesting == 0 {
                self.inside = false;
            }
        }
        self.inside
    }
}
