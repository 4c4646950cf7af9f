//! Reading a directive's tokens one by one.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use crate::env::Env;
use crate::lexer::tokenize;
use crate::report::Error;
use crate::source::SourceMap;
use crate::token::{Origin, Quote, Token};

/// A directive: its name, and everything up to the end of its line or block.
pub type Segment = Vec<Token>;

/// A bare token as the scalar it looks like; quoted text is always a string.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// An integer.
    Int(i64),
    /// A number that is no integer.
    Float(f64),
    /// `true` or `false`, and Go's other spellings of them.
    Bool(bool),
    /// Anything else.
    String(String),
}

/// Walks over tokens with a sense of lines and blocks.
///
/// At first no token is current; [`Cursor::next`] loads the first one. A block is read by
///
/// ```ignore
/// let nesting = cursor.nesting();
/// while cursor.next_block(nesting) {
///     match cursor.val() { ... }
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    /// Tokens already passed; the last one is current.
    passed: Vec<Token>,
    /// Tokens to come, in reverse.
    coming: Vec<Token>,
    nesting: usize,
}

impl Cursor {
    /// A cursor before the first of `tokens`.
    pub fn new(mut tokens: Vec<Token>) -> Cursor {
        tokens.reverse();
        Cursor { passed: Vec::new(), coming: tokens, nesting: 0 }
    }

    /// A cursor over a text that is not parsed into blocks, as tests of a directive need it.
    pub fn from_text(name: &str, text: &str, env: &dyn Env) -> Result<Cursor, Error> {
        let file = SourceMap::new().add(name, text);
        let origin = Arc::new(Origin { file, snippet: None, chain: Vec::new(), trail: Vec::new() });
        Ok(Cursor::new(tokenize(&origin, env)?))
    }

    // ---- moving ------------------------------------------------------------------------------------------------

    /// Loads the next token; false at the end, where the last token stays current.
    #[expect(clippy::should_implement_trait, reason = "it loads a token, it does not yield one")]
    pub fn next(&mut self) -> bool {
        let token = self.coming.pop();
        let found = token.is_some();
        self.passed.extend(token);
        found
    }

    /// Goes back by one token; false if then no token is current.
    pub fn prev(&mut self) -> bool {
        self.coming.extend(self.passed.pop());
        !self.passed.is_empty()
    }

    /// Loads the next token if it is an argument: on the same line and not a `{` that opens a block.
    pub fn next_arg(&mut self) -> bool {
        if !self.next_on_same_line() {
            return false;
        }
        if self.token().is_some_and(Token::is_open_brace) {
            self.prev();
            return false;
        }
        true
    }

    /// Loads the next token if it stands on a later line.
    pub fn next_line(&mut self) -> bool {
        (self.passed.is_empty() || self.is_next_on_new_line()) && self.next()
    }

    fn next_on_same_line(&mut self) -> bool {
        (self.passed.is_empty() || !self.is_next_on_new_line()) && self.next()
    }

    /// Loads the next token of a block deeper than `nesting`, which a `{` on the current line opens.
    ///
    /// The braces around the block are passed over; those of blocks inside it are not.
    pub fn next_block(&mut self, nesting: usize) -> bool {
        if self.nesting > nesting {
            if !self.next() {
                return false;
            }
            let (opens, closes) = (self.is_at(Token::is_open_brace), self.is_at(Token::is_close_brace));
            // A brace counts only at the end of its line. When it does not, the token after it is loaded in its
            // place, and may be a `{` itself.
            if closes && !self.next_on_same_line() {
                self.nesting -= 1;
            } else if (opens || closes && self.is_at(Token::is_open_brace)) && !self.next_on_same_line() {
                self.nesting += 1;
            }
            return self.nesting > nesting;
        }
        if !self.next_on_same_line() {
            return false;
        }
        if !self.is_at(Token::is_open_brace) {
            self.prev();
            return false;
        }
        self.next();
        if self.is_at(Token::is_close_brace) {
            return false;
        }
        self.nesting += 1;
        true
    }

    /// How deep in blocks the cursor is, as counted by [`Cursor::next_block`].
    pub fn nesting(&self) -> usize {
        self.nesting
    }

    /// Goes back before the first token.
    pub fn reset(&mut self) {
        while let Some(token) = self.passed.pop() {
            self.coming.push(token);
        }
        self.nesting = 0;
    }

    /// Removes the current token; the one before it becomes current.
    pub fn delete(&mut self) -> Option<Token> {
        self.passed.pop()
    }

    /// Removes `count` tokens, the current one last; none if there are fewer.
    pub fn delete_n(&mut self, count: usize) {
        if let Some(left) = self.passed.len().checked_sub(count) {
            self.passed.truncate(left);
        }
    }

    /// Puts tokens before the next one, so that they come next.
    pub fn insert_next(&mut self, tokens: impl IntoIterator<Item = Token, IntoIter: DoubleEndedIterator>) {
        self.coming.extend(tokens.into_iter().rev());
    }

    // ---- looking -----------------------------------------------------------------------------------------------

    /// The current token.
    pub fn token(&self) -> Option<&Token> {
        self.passed.last()
    }

    /// The token that [`Cursor::next`] would load.
    pub fn peek(&self) -> Option<&Token> {
        self.coming.last()
    }

    /// The current token's text, or nothing.
    pub fn val(&self) -> &str {
        self.token().map_or("", |token| &token.text)
    }

    /// The current token's text with its quotes; a heredoc has none.
    pub fn val_raw(&self) -> String {
        self.token().map(Token::raw).unwrap_or_default()
    }

    /// The current token as the scalar it looks like.
    pub fn scalar_val(&self) -> Option<Scalar> {
        let token = self.token()?;
        Some(if token.quote == Quote::None {
            scalar(&token.text)
        } else {
            Scalar::String(token.text.to_string())
        })
    }

    /// The current token's line as Caddy counts it, or 0.
    pub fn line(&self) -> u32 {
        self.token().map_or(0, |token| token.line)
    }

    /// The current token's file, or nothing.
    pub fn file(&self) -> &str {
        self.token().map_or("", |token| &token.origin.file.name)
    }

    /// How many tokens were passed, the current one among them.
    pub fn position(&self) -> usize {
        self.passed.len()
    }

    /// All tokens, in order.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.passed.iter().chain(self.coming.iter().rev())
    }

    /// How many tokens there are in all.
    pub fn len(&self) -> usize {
        self.passed.len() + self.coming.len()
    }

    /// Are there no tokens at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_at(&self, test: fn(&Token) -> bool) -> bool {
        self.token().is_some_and(test)
    }

    /// Is the current token the first one of its line?
    pub fn is_new_line(&self) -> bool {
        match self.passed.as_slice() {
            [.., before, current] => before.is_followed_on_new_line_by(current),
            _ => true,
        }
    }

    /// Does the next token, if any, stand on a later line than the current one?
    pub fn is_next_on_new_line(&self) -> bool {
        match (self.token(), self.peek()) {
            (Some(current), Some(next)) => current.is_followed_on_new_line_by(next),
            (None, _) => false,
            (_, None) => true,
        }
    }

    // ---- arguments ---------------------------------------------------------------------------------------------

    /// Loads exactly `N` arguments, or says what is wrong with their number.
    pub fn all_args<const N: usize>(&mut self) -> Result<[String; N], Error> {
        let args = self.args::<N>()?;
        if !self.next_arg() {
            return Ok(args);
        }
        let extra = self.token().cloned();
        self.prev();
        let error = self.arg_err();
        Err(match extra {
            Some(extra) => error.shown_at(&extra),
            None => error,
        })
    }

    /// Loads `N` arguments, after which nothing may stand on the line. Unlike [`Cursor::all_args`] the error names what is
    /// too much, and not what stands before it: Caddy has both, and which one it is depends on who asks.
    pub fn last_args<const N: usize>(&mut self) -> Result<[String; N], Error> {
        let args = self.args::<N>()?;
        if self.next_arg() { Err(self.arg_err()) } else { Ok(args) }
    }

    /// Loads `N` arguments; further ones may follow.
    pub fn args<const N: usize>(&mut self) -> Result<[String; N], Error> {
        let mut args = [const { String::new() }; N];
        for arg in &mut args {
            if !self.next_arg() {
                return Err(self.arg_err());
            }
            *arg = self.val().to_owned();
        }
        Ok(args)
    }

    /// How many arguments follow on this line.
    pub fn count_remaining_args(&self) -> usize {
        let mut count = 0;
        let mut last = self.token();
        for token in self.coming.iter().rev() {
            if last.is_some_and(|last| last.is_followed_on_new_line_by(token)) || token.is_open_brace() {
                break;
            }
            count += 1;
            last = Some(token);
        }
        count
    }

    /// Loads the arguments that follow on this line.
    pub fn remaining_args(&mut self) -> Vec<String> {
        self.remaining_args_as_tokens().iter().map(|token| token.text.to_string()).collect()
    }

    /// Loads the arguments that follow on this line, with their quotes.
    pub fn remaining_args_raw(&mut self) -> Vec<String> {
        self.remaining_args_as_tokens().iter().map(Token::raw).collect()
    }

    /// Loads the arguments that follow on this line, as tokens.
    pub fn remaining_args_as_tokens(&mut self) -> Vec<Token> {
        let mut args = Vec::new();
        while self.next_arg() {
            args.extend(self.token().cloned());
        }
        args
    }

    // ---- segments ----------------------------------------------------------------------------------------------

    /// The tokens from the current one to the end of its line, or of the block that its line opens.
    ///
    /// The closing brace of such a block becomes current.
    pub fn next_segment(&mut self) -> Segment {
        let mut tokens: Segment = self.token().cloned().into_iter().collect();
        tokens.extend(self.remaining_args_as_tokens());
        let nesting = self.nesting();
        let mut opened = false;
        while self.next_block(nesting) {
            if !opened {
                tokens.extend(self.passed.len().checked_sub(2).map(|brace| self.passed[brace].clone()));
                opened = true;
            }
            tokens.extend(self.token().cloned());
        }
        if opened {
            tokens.extend(self.token().cloned());
        }
        tokens
    }

    /// A cursor over [`Cursor::next_segment`].
    pub fn new_from_next_segment(&mut self) -> Cursor {
        Cursor::new(self.next_segment())
    }

    // ---- errors ------------------------------------------------------------------------------------------------

    /// An error at the current token.
    ///
    /// Values that environment variables brought into any token here do not appear in it.
    pub fn err(&self, message: impl Into<String>) -> Error {
        let error = match self.token().or_else(|| self.peek()) {
            Some(token) => Error::at(token, message),
            None => Error::new(message),
        };
        self.without_secrets(error)
    }

    /// Too few or too many arguments, or a block where an argument should be.
    pub fn arg_err(&self) -> Error {
        if self.is_at(Token::is_open_brace) {
            return self.err("unexpected token '{', expecting argument");
        }
        let shown = self.token().map(Token::excerpt).unwrap_or_default();
        self.err(format!("wrong argument count or unexpected line ending after '{shown}'"))
    }

    /// The current token is not what must stand here.
    pub fn syntax_err(&self, expected: &str) -> Error {
        let Some(token) = self.token() else {
            return Error::new(format!("syntax error: unexpected token '', expecting '{expected}'"));
        };
        let message = format!("syntax error: unexpected token '{}', expecting '{expected}'", token.excerpt());
        let error = self.without_secrets(Error::syntax(token, message));
        if token.is_cut_off() { error.help("this quote is never closed") } else { error }
    }

    /// The tokens ended inside something.
    pub fn eof_err(&self) -> Error {
        self.err("unexpected EOF")
    }

    fn without_secrets(&self, error: Error) -> Error {
        let mut seen = HashSet::new();
        let pieces = self.tokens().flat_map(|token| token.env().iter().map(move |piece| (token, piece)));
        pieces.fold(error, |error, (token, piece)| {
            let value = &token.text[piece.range.clone()];
            if value.len() < SECRET_BYTES_MIN || !seen.insert(value) {
                return error;
            }
            error.hide(value, &format!("{{${}}}", piece.name))
        })
    }
}

/// Shorter values of environment variables (ports, names) may appear in errors.
const SECRET_BYTES_MIN: usize = 8;

/// Reads a bare word as Go's `strconv` would: integer, else number, else boolean, else text.
///
/// What JSON has no number for, such as `inf` or `1e999`, stays text.
fn scalar(text: &str) -> Scalar {
    if let Ok(int) = text.parse() {
        return Scalar::Int(int);
    }
    if let Some(float) = without_separators(text).parse().ok().filter(|float: &f64| float.is_finite()) {
        return Scalar::Float(float);
    }
    match text {
        "t" | "T" | "true" | "TRUE" | "True" => Scalar::Bool(true),
        "f" | "F" | "false" | "FALSE" | "False" => Scalar::Bool(false),
        _ => Scalar::String(text.to_owned()),
    }
}

/// The text of a number without the underscores between its digits.
fn without_separators(text: &str) -> Cow<'_, str> {
    let is_digit =
        |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_digit);
    let between = |at: usize| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1));
    if !text.contains('_') || !text.match_indices('_').all(|(at, _)| between(at)) {
        return text.into();
    }
    text.replace('_', "").into()
}

#[cfg(test)]
mod tests;
