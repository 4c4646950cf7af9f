//! Tokens: the words of a Caddyfile, and where each came from.

use std::ops::Range;
use std::sync::Arc;

use crate::source::{SourceFile, Span};

/// How a token was enclosed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Quote {
    /// A bare word.
    #[default]
    None,
    /// `"..."`
    Double,
    /// `` `...` ``
    Backtick,
    /// `<<END ... END`
    Heredoc,
}

/// Part of a token's text that an environment variable brought in.
///
/// Such text is data: it never counts as a wildcard or a placeholder, and errors show the variable's name instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvPiece {
    /// Bytes of the token's text; empty if the variable was empty or unset.
    pub range: Range<usize>,
    /// The variable's name.
    pub name: Arc<str>,
}

/// What all tokens of one reading of a file or snippet share. Two tokens stand on one line only if they share it.
#[derive(Debug)]
pub struct Origin {
    /// The file whose text it is.
    pub file: Arc<SourceFile>,
    /// The snippet it was defined in.
    pub snippet: Option<Arc<str>>,
    /// The imports that brought it here, as Caddy words and chooses them: `Caddyfile:12 (import name)`.
    pub chain: Vec<Arc<str>>,
    /// All imports that brought it here, the nearest first; of very many only the nearest.
    pub trail: Vec<Arc<str>>,
}

/// One word of a Caddyfile.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its text: without quotes, with escapes, environment variables and import arguments put in.
    pub text: Arc<str>,
    /// Where it stands, quotes included; for an argument of an import, where the placeholder stands.
    pub span: Span,
    /// How it was enclosed.
    pub quote: Quote,
    /// Its line as Caddy reports it: a line that is continued with `\` keeps the number of its first line.
    pub line: u32,
    /// The lines it begins and ends on for deciding what stands on one line; pasted line breaks count, escaped ones
    /// do not.
    pub(crate) rows: (u32, u32),
    /// File, snippet and import chain.
    pub origin: Arc<Origin>,
    pub(crate) env: Option<Arc<[EnvPiece]>>,
}

impl Token {
    /// Is it a `{` that opens a block?
    pub fn is_open_brace(&self) -> bool {
        self.quote == Quote::None && &*self.text == "{"
    }

    /// Is it a `}` that closes a block?
    pub fn is_close_brace(&self) -> bool {
        self.quote == Quote::None && &*self.text == "}"
    }

    /// Was it enclosed in quotes, backquotes or a heredoc?
    pub fn is_quoted(&self) -> bool {
        self.quote != Quote::None
    }

    /// Its text inside the quotes it was written with; a heredoc counts as unquoted here, as in Caddy.
    pub fn raw(&self) -> String {
        match self.quote {
            Quote::Double => format!("\"{}\"", self.text),
            Quote::Backtick => format!("`{}`", self.text),
            Quote::None | Quote::Heredoc => self.text.to_string(),
        }
    }

    /// The parts of its text that environment variables brought in, in order.
    pub fn env(&self) -> &[EnvPiece] {
        self.env.as_deref().unwrap_or(&[])
    }

    /// Did an environment variable take part in it, even an empty one?
    pub fn has_env(&self) -> bool {
        self.env.is_some()
    }

    /// Was the whole of `range` written in the Caddyfile itself (not brought by an environment variable)?
    pub fn is_written(&self, range: Range<usize>) -> bool {
        let first = self.env().partition_point(|piece| piece.range.end <= range.start);
        self.env().get(first).is_none_or(|piece| range.end <= piece.range.start)
    }

    /// Its text for people: what came out of an environment variable reads `{$NAME}`, since it may be a secret.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        let mut done = 0;
        for piece in self.env() {
            shown.push_str(&self.text[done..piece.range.start]);
            shown.push_str("{$");
            shown.push_str(&piece.name);
            shown.push('}');
            done = piece.range.end;
        }
        shown.push_str(&self.text[done..]);
        shown
    }

    /// The first line of [`Token::shown`], and not too much of it.
    pub(crate) fn excerpt(&self) -> String {
        let shown = self.shown();
        let line = shown.lines().next().unwrap_or_default();
        let end = line.char_indices().nth(EXCERPT_CHARS_MAX).map_or(line.len(), |(at, _)| at);
        if end == shown.len() { shown } else { format!("{}...", &line[..end]) }
    }

    /// Is it a bare word because the file ended before the quote that it began with was closed?
    pub(crate) fn is_cut_off(&self) -> bool {
        let written = &self.origin.file.text[self.span.start as usize..];
        self.quote == Quote::None && written.starts_with(['"', '`'])
    }

    /// A token with other text at the same place. Nothing in it counts as coming from the environment.
    pub fn with_text(&self, text: impl Into<Arc<str>>) -> Token {
        Token { text: text.into(), env: None, ..self.clone() }
    }

    /// Replaces stretches of the text; `edits` are in order and do not overlap.
    ///
    /// What the environment brought in stays marked as such; an edit that touches such a part is marked as a whole.
    pub fn edited(&self, edits: &[(Range<usize>, &str)]) -> Token {
        let mut text = TextBuilder::default();
        let mut done = 0;
        for (range, with) in edits {
            text.push_part(self, done..range.start);
            let first = self.env().partition_point(|piece| piece.range.end <= range.start);
            let touched = self.env().get(first).filter(|piece| piece.range.start < range.end);
            match touched {
                Some(piece) => text.push_env(with, &piece.name),
                None => text.push_str(with),
            }
            done = range.end;
        }
        text.push_part(self, done..self.text.len());
        let (text, env) = text.finish();
        Token { text, env, ..self.clone() }
    }

    /// Does `next` stand on a later line than the end of this token, or in another file or import?
    pub fn is_followed_on_new_line_by(&self, next: &Token) -> bool {
        !Arc::ptr_eq(&self.origin, &next.origin) || self.rows.1 < next.rows.0
    }
}

/// Characters of a token that an error shows.
const EXCERPT_CHARS_MAX: usize = 200;

/// Puts a token's text together while keeping track of what came from the environment.
#[derive(Debug, Default)]
pub(crate) struct TextBuilder {
    text: String,
    env: Vec<EnvPiece>,
}

impl TextBuilder {
    pub(crate) fn push(&mut self, ch: char) {
        self.text.push(ch);
    }

    pub(crate) fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds text that the variable `name` brought in; text of the same variable right before it is continued.
    pub(crate) fn push_env(&mut self, text: &str, name: &Arc<str>) {
        let start = self.text.len();
        self.text.push_str(text);
        let end = self.text.len();
        match self.env.last_mut() {
            Some(last) if last.range.end == start && Arc::ptr_eq(&last.name, name) => last.range.end = end,
            _ => self.env.push(EnvPiece { range: start..end, name: name.clone() }),
        }
    }

    /// Adds part of a token's text, marked as it is there.
    pub(crate) fn push_part(&mut self, token: &Token, part: Range<usize>) {
        let mut done = part.start;
        let first = token.env().partition_point(|piece| piece.range.end < part.start);
        for piece in token.env()[first..].iter().take_while(|piece| piece.range.start <= part.end) {
            let (start, end) = (piece.range.start.max(part.start), piece.range.end.min(part.end));
            if start < end || piece.range.is_empty() {
                self.push_str(&token.text[done..start]);
                self.push_env(&token.text[start..end], &piece.name);
                done = end;
            }
        }
        self.push_str(&token.text[done..part.end]);
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn finish(self) -> (Arc<str>, Option<Arc<[EnvPiece]>>) {
        let env = (!self.env.is_empty()).then(|| self.env.into());
        (self.text.into(), env)
    }
}
