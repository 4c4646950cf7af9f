//! Tokens to server blocks.

use std::sync::Arc;

use crate::cursor::{Cursor, Segment};
use crate::env::Env;
use crate::files::Files;
use crate::import::{Imports, Snippets, Surroundings};
use crate::lexer::tokenize;
use crate::limits::{FILE_BYTES_MAX, NESTING_MAX};
use crate::mistakes::Mistakes;
use crate::report::{Error, Place, Warning};
use crate::source::SourceMap;
use crate::token::{Origin, Token};

/// A site, the global options (a block without keys), or a named route.
#[derive(Debug, Clone, Default)]
pub struct ServerBlock {
    /// The site's addresses, or the name of the named route.
    pub keys: Vec<Token>,
    /// The directives.
    pub segments: Vec<Segment>,
    /// Did a `{` follow the keys on their line?
    pub has_braces: bool,
    /// Is it a named route, `&(name) { ... }`? Then its only segment is its name with its block.
    pub is_named_route: bool,
}

/// A Caddyfile that was read.
#[derive(Debug)]
pub struct Parsed {
    /// Every file that took part.
    pub source_map: SourceMap,
    /// The blocks in the order of the text.
    pub server_blocks: Vec<ServerBlock>,
    /// What is allowed but odd.
    pub warnings: Vec<Warning>,
}

/// Reads a Caddyfile: pastes environment variables, puts imports and snippets in, and groups what is left by blocks.
///
/// `name` is the file's path as errors show it; relative imports start from its directory. `text` is what
/// [`crate::decode`] makes of the file's bytes.
///
/// # Errors
/// All that is wrong with it, the first thing first.
pub fn parse(name: &str, text: &str, env: &dyn Env, files: &dyn Files) -> Result<Parsed, Error> {
    let mut mistakes = Mistakes::default();
    let parsed = parse_on(name, text, env, files, &mut mistakes);
    mistakes.none().map(|()| parsed)
}

/// Like [`parse`], but gives what can be made of a wrong file too, for finding further mistakes: the blocks before
/// the spot from which it can't be understood.
pub fn parse_on(name: &str, text: &str, env: &dyn Env, files: &dyn Files, mistakes: &mut Mistakes) -> Parsed {
    let mut source_map = SourceMap::new();
    let mut parsed = (Vec::new(), Vec::new());
    match parse_into(name, text, Surroundings { env, files, source_map: &mut source_map }, mistakes) {
        Ok(blocks_and_warnings) => parsed = blocks_and_warnings,
        Err(error) => mistakes.add(error),
    }
    let (server_blocks, warnings) = parsed;
    Parsed { source_map, server_blocks, warnings }
}

fn parse_into(
    name: &str,
    text: &str,
    surroundings: Surroundings<'_>,
    mistakes: &mut Mistakes,
) -> Result<(Vec<ServerBlock>, Vec<Warning>), Error> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Error::new(format!("{name} is larger than 16 MiB")));
    }
    let file = surroundings.source_map.add(name, text);
    if text.is_empty() {
        return Err(Error::new("EOF").help(format!("{name} is empty")));
    }
    let origin = Arc::new(Origin { file, snippet: None, chain: Vec::new(), trail: Vec::new() });
    let tokens = tokenize(&origin, surroundings.env)?;
    let mut parser = Parser {
        cursor: Cursor::new(tokens),
        block: ServerBlock::default(),
        snippets: Snippets::new(),
        open: Vec::new(),
        imports: Imports::new(surroundings, mistakes),
    };
    let blocks = parser.blocks();
    Ok((blocks, parser.imports.warnings))
}

struct Parser<'s> {
    cursor: Cursor,
    block: ServerBlock,
    snippets: Snippets,
    /// The braces of the blocks that are open inside the directive that is being read.
    open: Vec<Place>,
    imports: Imports<'s>,
}

/// Where the keys of a block end.
#[derive(PartialEq)]
enum KeysEnd {
    /// A token follows, which is current.
    Token,
    /// The text ended.
    Eof,
}

impl Parser<'_> {
    fn blocks(&mut self) -> Vec<ServerBlock> {
        let mut blocks = Vec::new();
        while self.cursor.next() {
            if let Err(error) = self.one_block() {
                self.imports.mistakes.add(error);
                break;
            }
            let block = std::mem::take(&mut self.block);
            if !block.keys.is_empty() || !block.segments.is_empty() {
                blocks.push(block);
            }
        }
        blocks
    }

    fn one_block(&mut self) -> Result<(), Error> {
        if self.keys()? == KeysEnd::Eof {
            return Ok(());
        }
        if let Some(name) = self.only_key(|key| key.strip_prefix("&(")?.strip_suffix(')')) {
            return self.named_route(&name);
        }
        if let Some(name) = self.only_key(|key| key.strip_prefix('(')?.strip_suffix(')')) {
            return self.snippet(name);
        }
        self.contents()
    }

    /// The name in the block's key, if it has just one and `name` finds a name in it.
    fn only_key(&self, name: impl Fn(&str) -> Option<&str>) -> Option<Arc<str>> {
        let [key] = self.block.keys.as_slice() else { return None };
        name(&key.text).map(Arc::from)
    }

    /// Reads a block's keys: site addresses, or the name of a snippet or named route.
    fn keys(&mut self) -> Result<KeysEnd, Error> {
        let mut another = false;
        loop {
            // After an import that brought in nothing there may be no token.
            let token = self.cursor.token().cloned();
            let text = token.as_ref().map_or("", |token| &token.text);
            if text.starts_with('@') {
                return Err(self.cursor.err(format!(
                    "request matchers may not be defined globally, they must be in a site block; found {}",
                    token.as_ref().map(Token::excerpt).unwrap_or_default()
                )));
            }
            if text == "import" && self.cursor.is_new_line() {
                self.imports.expand(&mut self.cursor, &self.snippets, 0)?;
                if !self.cursor.next() {
                    return if another { Err(self.cursor.eof_err()) } else { Ok(KeysEnd::Eof) };
                }
                continue;
            }
            if token.as_ref().is_some_and(Token::is_open_brace) {
                if another {
                    let message =
                        format!("Expected another address but had '{text}' - check for extra comma");
                    return Err(self.cursor.err(message));
                }
                self.block.has_braces = true;
                return Ok(KeysEnd::Token);
            }
            if let Some(token) = &token {
                if token.is_close_brace() {
                    return Err(self.no_opening_brace());
                }
                self.key(token, &mut another)?;
            }
            if !self.cursor.next() {
                return if another { Err(self.cursor.eof_err()) } else { Ok(KeysEnd::Eof) };
            }
            if !another && self.cursor.is_new_line() {
                return Ok(KeysEnd::Token);
            }
        }
    }

    /// Takes one key. `another` becomes true if it ends in a comma: then a further key follows, even on the next line.
    fn key(&mut self, token: &Token, another: &mut bool) -> Result<(), Error> {
        let text = &*token.text;
        if text.ends_with('{') && !token.is_quoted() {
            return Err(self.cursor.err(format!(
                "Site addresses cannot end with a curly brace: '{}' - put a space between the token and the brace",
                token.excerpt()
            )));
        }
        if text.is_empty() {
            return Ok(());
        }
        *another = text.ends_with(',');
        let key = match text.strip_suffix(',') {
            Some(address) => token.edited(&[(address.len()..text.len(), "")]),
            None => token.clone(),
        };
        let key = match key.text.find(',') {
            Some(comma) => {
                let message = format!(
                    "Site addresses cannot contain a comma ',': '{}' - put a space after the comma to separate site \
                     addresses",
                    key.excerpt()
                );
                self.imports.mistakes.note(self.cursor.err(message))?;
                key.edited(&[(comma..key.text.len(), "")])
            }
            None => key,
        };
        if !key.text.is_empty() {
            self.block.keys.push(key);
        }
        Ok(())
    }

    /// `&(name) { ... }`: its block is kept as it is, braces included, behind its name.
    fn named_route(&mut self, name: &str) -> Result<(), Error> {
        let Some(brace) = self.cursor.token() else { return Err(self.cursor.eof_err()) };
        let span = self.block.keys.first().map_or(brace.span, |key| key.span);
        let name = Token { span, ..brace.with_text(name) };
        let mut segment = vec![name.clone()];
        segment.extend(self.block_tokens(true)?);
        self.block.keys = vec![name];
        self.block.is_named_route = true;
        self.block.segments = vec![segment];
        Ok(())
    }

    /// `(name) { ... }`: kept for later imports.
    fn snippet(&mut self, name: Arc<str>) -> Result<(), Error> {
        if self.snippets.contains_key(&name) {
            let message = format!("redeclaration of previously declared snippet {name}");
            self.imports.mistakes.note(self.cursor.err(message))?;
        }
        let mut tokens = self.block_tokens(false)?;
        // A token remembers its snippet, so that import cycles are told apart within a file.
        let mut last: Option<(Arc<Origin>, Arc<Origin>)> = None;
        for token in &mut tokens {
            token.origin = match last.take() {
                Some((from, to)) if Arc::ptr_eq(&from, &token.origin) => {
                    last = Some((from, to.clone()));
                    to
                }
                _ => {
                    let from = token.origin.clone();
                    let to = Arc::new(Origin {
                        file: from.file.clone(),
                        snippet: Some(name.clone()),
                        chain: from.chain.clone(),
                        trail: from.trail.clone(),
                    });
                    last = Some((from, to.clone()));
                    to
                }
            };
        }
        self.snippets.insert(name, tokens.into());
        self.block.keys.clear();
        Ok(())
    }

    /// The directives of a block. A file with a single site needs no braces.
    fn contents(&mut self) -> Result<(), Error> {
        let brace = self.cursor.token().filter(|token| token.is_open_brace()).map(Place::of);
        if brace.is_none() {
            self.cursor.prev();
        }
        let is_closed = self.directives()?;
        if let Some(brace) = brace.as_ref().filter(|_| !is_closed && self.cursor.val() == "}") {
            // As in Caddy, the brace of its last directive will do.
            let message = "the block that opens here is never closed".to_owned();
            self.imports.warnings.push(Warning { message, place: Some(brace.clone()) });
        }
        match brace {
            Some(brace) if !self.cursor.token().is_some_and(Token::is_close_brace) => {
                Err(never_closed(self.cursor.syntax_err("}"), &brace))
            }
            _ => Ok(()),
        }
    }

    /// Reads directives up to the brace that closes their block; false if the text ends before it.
    fn directives(&mut self) -> Result<bool, Error> {
        while self.cursor.next() {
            if self.cursor.token().is_some_and(Token::is_close_brace) {
                return Ok(true);
            }
            if self.cursor.val() == "import" {
                self.imports.expand(&mut self.cursor, &self.snippets, 1)?;
                continue;
            }
            self.directive()?;
        }
        Ok(false)
    }

    /// Collects a directive: up to the end of its line, or of the block that opens there.
    fn directive(&mut self) -> Result<(), Error> {
        let mut segment: Segment = self.cursor.token().cloned().into_iter().collect();
        while self.cursor.next() {
            let Some(token) = self.cursor.token() else { break };
            if token.is_open_brace() {
                self.open.push(Place::of(token));
                self.check_nesting(self.open.len())?;
                if !self.cursor.is_next_on_new_line() {
                    return Err(self.cursor.err("Unexpected next token after '{' on same line"));
                }
                if self.cursor.is_new_line() {
                    return Err(self.cursor.err(
                        "Unexpected '{' on a new line; did you mean to place the '{' on the previous line?",
                    ));
                }
            } else if &*token.text == "{}" && !token.is_quoted() {
                if self.cursor.is_next_on_new_line() {
                    return Err(self.cursor.err("Unexpected '{}' at end of line"));
                }
            } else if self.open.is_empty() && self.cursor.is_new_line() {
                self.cursor.prev();
                break;
            } else if token.is_close_brace() {
                if self.open.pop().is_none() {
                    return Err(self.no_opening_brace());
                }
            } else if &*token.text == "import" && self.cursor.is_new_line() {
                self.imports.expand(&mut self.cursor, &self.snippets, 1)?;
                continue;
            }
            segment.extend(self.cursor.token().cloned());
        }
        self.block.segments.push(segment);
        match self.open.last() {
            Some(brace) => Err(never_closed(self.cursor.eof_err(), brace)),
            None => Ok(()),
        }
    }

    /// Everything inside the block that opens here, unread.
    fn block_tokens(&mut self, with_braces: bool) -> Result<Vec<Token>, Error> {
        let Some(open) = self.cursor.token().filter(|token| token.is_open_brace()) else {
            return Err(self.no_open_brace());
        };
        let brace = Place::of(open);
        let mut tokens: Vec<Token> = with_braces.then(|| open.clone()).into_iter().collect();
        let mut nesting = 1;
        while self.cursor.next() {
            let Some(token) = self.cursor.token() else { break };
            nesting += usize::from(token.is_open_brace());
            nesting -= usize::from(token.is_close_brace());
            self.check_nesting(nesting)?;
            if nesting > 0 || with_braces {
                tokens.push(token.clone());
            }
            if nesting == 0 {
                return Ok(tokens);
            }
        }
        Err(never_closed(self.cursor.syntax_err("}"), &brace))
    }

    fn no_opening_brace(&self) -> Error {
        let error = self.cursor.err("Unexpected '}' because no matching opening brace");
        if self.cursor.is_new_line() {
            return error;
        }
        error.help("the brace that closes a block stands on a line of its own")
    }

    fn check_nesting(&self, nesting: usize) -> Result<(), Error> {
        if nesting <= NESTING_MAX {
            return Ok(());
        }
        Err(self.cursor.err(format!("more than {NESTING_MAX} blocks inside one another")))
    }

    fn no_open_brace(&self) -> Error {
        let is_snippet = |key: &Token| key.text.starts_with('(') && key.text.ends_with(')');
        let keys = &self.block.keys;
        if self.cursor.val() == "import" && !keys.is_empty() && keys.iter().all(is_snippet) {
            return self.cursor.err(
                "global options block must appear before import directives; move the global options block to the \
                 top of the Caddyfile",
            );
        }
        self.cursor.syntax_err("{")
    }
}

fn never_closed(error: Error, brace: &Place) -> Error {
    error.help(format!(
        "the block that opens at {}:{} is never closed",
        brace.file().name,
        brace.line_col().line
    ))
}
