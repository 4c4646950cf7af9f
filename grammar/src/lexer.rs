//! Text to tokens.
//!
//! The text has its environment variables pasted already, and every character knows whether it was. That is how a
//! pasted value stays data: it cannot close a quote, heredoc or comment that the file opened, and what it opens it
//! must close itself.

use std::ops::Range;
use std::sync::Arc;

use nom::branch::alt;
use nom::bytes::complete::{take, take_while, take_while1};
use nom::combinator::{map, value};
use nom::error::{ErrorKind, ParseError};
use nom::{Err, IResult, Parser};

use crate::env::{Env, Glyph, Pasted, TooLong, WRITTEN, paste};
use crate::glyphs::Glyphs;
use crate::heredoc::{self, Angle};
use crate::report::{Error, Place};
use crate::source::Span;
use crate::token::{EnvPiece, Origin, Quote, TextBuilder, Token};

/// Splits the text of `origin`'s file into tokens.
pub(crate) fn tokenize(origin: &Arc<Origin>, env: &dyn Env) -> Result<Vec<Token>, Error> {
    let pasted = paste(&origin.file.text, env).map_err(|TooLong(span)| {
        error_at(
            origin,
            span,
            1,
            "the text becomes too long with the values of its environment variables".into(),
        )
    })?;
    let mut lexer = Lexer { origin, pasted: &pasted, place: Lines { row: 1, line: 1, skipped: 0 } };
    // A byte order mark says nothing.
    let start = usize::from(pasted.glyphs.first().is_some_and(|glyph| glyph.ch == '\u{feff}'));
    let mut rest = Glyphs(&pasted.glyphs[start..]);
    let mut tokens = Vec::new();
    loop {
        match lexer.next_token(rest) {
            Ok((after, Some(token))) => {
                tokens.push(token);
                rest = after;
            }
            Ok((_, None)) => return Ok(tokens),
            Err(fault) => return Err(lexer.error(fault)),
        }
    }
}

/// A parser of this language; it either finds something or the text is wrong.
pub(crate) type Lexed<'a, T> = IResult<Glyphs<'a>, T, Fault<'a>>;

/// What is wrong, and where. Without a message it is only nom's "not this alternative".
#[derive(Debug)]
pub(crate) struct Fault<'a> {
    pub(crate) from: Glyphs<'a>,
    pub(crate) count: usize,
    pub(crate) message: Option<String>,
}

impl<'a> ParseError<Glyphs<'a>> for Fault<'a> {
    fn from_error_kind(from: Glyphs<'a>, _: ErrorKind) -> Self {
        Fault { from, count: 1, message: None }
    }

    fn append(_: Glyphs<'a>, _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Ends the reading with a message about the first `count` glyphs of `from`.
pub(crate) fn fail<T>(from: Glyphs<'_>, count: usize, message: String) -> Lexed<'_, T> {
    Err(Err::Failure(Fault { from, count, message: Some(message) }))
}

/// Counts lines, twice: as Caddy reports them, and with the line breaks that pasted values bring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines {
    pub(crate) row: u32,
    pub(crate) line: u32,
    /// Escaped line breaks; they count once a line really ends.
    pub(crate) skipped: u32,
}

impl Lines {
    /// A line ended at `glyph`, which is its line break.
    fn end(&mut self, glyph: Glyph) {
        self.row += 1 + self.skipped;
        self.line += u32::from(glyph.value == WRITTEN) + self.skipped;
        self.skipped = 0;
    }

    fn end_all(&mut self, glyphs: &[Glyph]) {
        for glyph in glyphs.iter().filter(|glyph| glyph.ch == '\n') {
            self.end(*glyph);
        }
    }
}

/// What may stand between tokens.
#[derive(Debug, Clone, Copy)]
enum Trivia {
    Newline(Glyph),
    Blank,
    Comment,
    /// A comment with a backslash as its last character, which continues the line.
    ContinuedComment,
    Backslash(Glyph),
}

struct Lexer<'o> {
    origin: &'o Arc<Origin>,
    pasted: &'o Pasted,
    place: Lines,
}

impl Lexer<'_> {
    /// The next token, or `None` at the end of the text.
    fn next_token<'a>(&mut self, input: Glyphs<'a>) -> Lexed<'a, Option<Token>> {
        let (start, escape) = self.trivia(input)?;
        let Some(first) = start.first() else {
            return Ok((start, None));
        };
        let lines = self.place;
        let (rest, word) = match (first.ch, escape) {
            // A backslash that ends a pasted value escapes nothing outside of it.
            (_, Some(backslash)) if backslash.value != first.value => {
                let mut text = TextBuilder::default();
                push(&mut text, backslash, self.pasted);
                return Ok((start, Some(self.token(&[backslash], Word::bare(text), lines))));
            }
            ('"', _) => self.quoted(start, escape.is_some())?,
            ('`', _) => self.backquoted(start)?,
            ('<', None) => match heredoc::heredoc(start, lines, self.pasted)? {
                (rest, Angle::Heredoc(text)) => {
                    self.place.end_all(start.until(rest));
                    (rest, Word { text, quote: Quote::Heredoc })
                }
                (rest, Angle::Word(text)) => (rest, Word::bare(text)),
                (_, Angle::Neither) => self.word(start, None)?,
            },
            _ => self.word(start, escape)?,
        };
        // An empty quote that the file's end cuts off is no token.
        if word.quote == Quote::None && word.text.is_empty() && rest.is_empty() {
            return Ok((rest, None));
        }
        let text_len = word.text.len();
        let mut token = self.token(start.until(rest), word, lines);
        if token.env.is_none() && !self.pasted.empty.is_empty() {
            token.env = self.empty_value(start, rest, text_len);
        }
        Ok((rest, Some(token)))
    }

    /// Skips what stands between tokens. Returns the backslash that stood right before, if one did.
    fn trivia<'a>(&mut self, mut input: Glyphs<'a>) -> Lexed<'a, Option<Glyph>> {
        let mut escape: Option<Glyph> = None;
        loop {
            if input.is_empty() {
                return Ok((input, None));
            }
            let (rest, found) = match trivia(input) {
                Ok(found) => found,
                Err(Err::Error(_)) => return Ok((input, escape)),
                Err(other) => return Err(other),
            };
            match (found, escape) {
                // A second backslash begins a word, and so does one whose value ended.
                (Trivia::Backslash(_), Some(_)) => return Ok((input, escape)),
                (_, Some(backslash)) if !same_value(backslash, input) => return Ok((input, escape)),
                (Trivia::Backslash(backslash), None) => escape = Some(backslash),
                (Trivia::Newline(_), Some(_)) => {
                    self.place.skipped += 1;
                    escape = None;
                }
                (Trivia::Newline(newline), None) => self.place.end(newline),
                (Trivia::ContinuedComment, None) => escape = input.until(rest).last().copied(),
                (Trivia::Blank | Trivia::Comment | Trivia::ContinuedComment, _) => {}
            }
            input = rest;
        }
    }

    /// `"..."`, in which `\"` is a quote. With `escaped` a backslash stood before the opening quote.
    fn quoted<'a>(&mut self, start: Glyphs<'a>, escaped: bool) -> Lexed<'a, Word> {
        let (mut input, opener) = glyph(start)?;
        let mut text = TextBuilder::default();
        let mut escaped = escaped;
        while let Some(next) = input.first() {
            if opener.value != WRITTEN && next.value != opener.value {
                return self.unclosed(start, opener);
            }
            let (rest, _) = glyph(input)?;
            input = rest;
            let data = next.value != opener.value;
            if escaped {
                if data || next.ch != '"' {
                    text.push('\\');
                }
                escaped = false;
            } else if !data && next.ch == '\\' {
                escaped = true;
                continue;
            } else if !data && next.ch == '"' {
                return Ok((input, Word { text, quote: Quote::Double }));
            }
            if next.ch == '\n' {
                self.place.end(next);
            }
            push(&mut text, next, self.pasted);
        }
        self.cut_off(start, input, opener, text)
    }

    /// `` `...` ``, in which nothing is special.
    fn backquoted<'a>(&mut self, start: Glyphs<'a>) -> Lexed<'a, Word> {
        let (input, opener) = glyph(start)?;
        let own = opener.value;
        let closes = |glyph: Glyph| glyph.value == own && glyph.ch == '`';
        let leaves = |glyph: Glyph| own != WRITTEN && glyph.value != own;
        let (rest, body) = take_while(|glyph| !closes(glyph) && !leaves(glyph)).parse(input)?;
        let mut text = TextBuilder::default();
        for glyph in body.0 {
            push(&mut text, *glyph, self.pasted);
        }
        self.place.end_all(body.0);
        match rest.first() {
            Some(end) if closes(end) => {
                let (rest, _) = glyph(rest)?;
                Ok((rest, Word { text, quote: Quote::Backtick }))
            }
            Some(_) => self.unclosed(start, opener),
            None => self.cut_off(start, rest, opener, text),
        }
    }

    /// The file ended inside quotes: as in Caddy what was read is a bare word.
    fn cut_off<'a>(
        &self,
        start: Glyphs<'a>,
        rest: Glyphs<'a>,
        opener: Glyph,
        text: TextBuilder,
    ) -> Lexed<'a, Word> {
        if opener.value != WRITTEN {
            return self.unclosed(start, opener);
        }
        Ok((rest, Word { text, quote: Quote::None }))
    }

    fn unclosed<'a, T>(&self, start: Glyphs<'a>, opener: Glyph) -> Lexed<'a, T> {
        let name = &self.pasted.values[opener.value as usize].name;
        fail(start, 1, format!("the value of {{${name}}} opens a quote that it does not close"))
    }

    /// A bare word: up to white space. `escape` is the backslash that stood before it.
    fn word<'a>(&mut self, start: Glyphs<'a>, escape: Option<Glyph>) -> Lexed<'a, Word> {
        let mut text = TextBuilder::default();
        let mut input = start;
        if let Some(mark) = escape {
            let (rest, first) = glyph(start)?;
            // `\<` is a `<` that begins no heredoc; before anything else the backslash stands for itself.
            if first.ch != '<' {
                push(&mut text, mark, self.pasted);
            }
            push(&mut text, first, self.pasted);
            input = rest;
        }
        let mut backslash: Option<(Glyphs<'a>, Glyph)> = None;
        while let Some(next) = input.first() {
            let (rest, _) = glyph(input)?;
            // A backslash that ends a pasted value escapes nothing outside of it.
            if let Some((_, mark)) = backslash
                && mark.value != next.value
            {
                push(&mut text, mark, self.pasted);
                backslash = None;
            }
            match (next.ch, backslash) {
                ('\r', _) => {}
                ('\\', None) => backslash = Some((input, next)),
                // The line goes on: left to what reads the space between tokens.
                ('\n', Some((before, _))) => return Ok((before, Word::bare(text))),
                (ch, _) if ch.is_whitespace() => return Ok((input, Word::bare(text))),
                (ch, escape) => {
                    if let Some((_, mark)) = escape
                        && ch != '<'
                    {
                        push(&mut text, mark, self.pasted);
                    }
                    backslash = None;
                    push(&mut text, next, self.pasted);
                }
            }
            input = rest;
        }
        if let Some((_, mark)) = backslash
            && mark.value != WRITTEN
        {
            push(&mut text, mark, self.pasted);
        }
        Ok((input, Word::bare(text)))
    }

    fn token(&self, covered: &[Glyph], word: Word, lines: Lines) -> Token {
        let span = span_of(covered, self.pasted);
        let (text, env) = word.text.finish();
        Token {
            text,
            span: Span { file: self.origin.file.id, start: span.start, end: span.end },
            quote: word.quote,
            line: lines.line,
            rows: (lines.row, self.place.row),
            origin: self.origin.clone(),
            env,
        }
    }

    /// The first variable without a value inside or right at a token.
    fn empty_value(&self, start: Glyphs<'_>, rest: Glyphs<'_>, text_len: usize) -> Option<Arc<[EnvPiece]>> {
        let all = self.pasted.glyphs.len();
        let (from, to) = (all - start.0.len(), all - rest.0.len());
        let index = self.pasted.empty.partition_point(|(at, _)| *at < from);
        let (at, number) = *self.pasted.empty.get(index)?;
        let name = self.pasted.values[number as usize].name.clone();
        let offset = if at == from { 0 } else { text_len };
        (at <= to).then(|| [EnvPiece { range: offset..offset, name }].into())
    }

    fn error(&self, fault: Err<Fault<'_>>) -> Error {
        let (Err::Error(fault) | Err::Failure(fault)) = fault else {
            return Error::new("unexpected end of the text");
        };
        let covered = &fault.from.0[..fault.count.min(fault.from.0.len())];
        let message = fault.message.unwrap_or_else(|| "unreadable text".into());
        error_at(self.origin, span_of(covered, self.pasted), self.place.line, message)
    }
}

fn error_at(origin: &Arc<Origin>, span: Range<u32>, line: u32, message: String) -> Error {
    let span = Span { file: origin.file.id, start: span.start, end: span.end };
    Error::in_place(Place { origin: origin.clone(), span, line }, message)
}

struct Word {
    text: TextBuilder,
    quote: Quote,
}

impl Word {
    fn bare(text: TextBuilder) -> Word {
        Word { text, quote: Quote::None }
    }
}

/// Adds a character to a token's text.
pub(crate) fn push(text: &mut TextBuilder, glyph: Glyph, pasted: &Pasted) {
    match pasted.values.get(glyph.value as usize) {
        Some(value) => text.push_env(glyph.ch.encode_utf8(&mut [0; 4]), &value.name),
        None => text.push(glyph.ch),
    }
}

/// The bytes of the file that glyphs came from.
fn span_of(glyphs: &[Glyph], pasted: &Pasted) -> Range<u32> {
    let (Some(first), Some(last)) = (glyphs.first(), glyphs.last()) else { return 0..0 };
    let end = match pasted.values.get(last.value as usize) {
        Some(value) => value.span.end,
        None => last.at + last.ch.len_utf8() as u32,
    };
    first.at..end
}

fn same_value(glyph: Glyph, input: Glyphs<'_>) -> bool {
    input.first().is_some_and(|first| first.value == glyph.value)
}

/// Any one glyph.
fn glyph(input: Glyphs<'_>) -> Lexed<'_, Glyph> {
    map(take(1usize), |one: Glyphs<'_>| one.0[0]).parse(input)
}

fn one_of(ch: char) -> impl Fn(Glyphs<'_>) -> Lexed<'_, Glyph> {
    move |input| match input.first() {
        Some(first) if first.ch == ch => glyph(input),
        _ => Err(Err::Error(Fault::from_error_kind(input, ErrorKind::Char))),
    }
}

fn trivia(input: Glyphs<'_>) -> Lexed<'_, Trivia> {
    alt((
        map(one_of('\n'), Trivia::Newline),
        value(Trivia::Blank, take_while1(|glyph: Glyph| glyph.ch != '\n' && glyph.ch.is_whitespace())),
        comment,
        map(one_of('\\'), Trivia::Backslash),
    ))
    .parse(input)
}

/// `#` to the end of the line, or of the value that brought it.
fn comment(input: Glyphs<'_>) -> Lexed<'_, Trivia> {
    let (rest, opener) = one_of('#')(input)?;
    let inside = |glyph: Glyph| match opener.value {
        WRITTEN => glyph.value != WRITTEN || glyph.ch != '\n',
        own => glyph.value == own && glyph.ch != '\n',
    };
    let (rest, body) = take_while(inside).parse(rest)?;
    let last = body.0.iter().rev().find(|glyph| glyph.ch != '\r');
    let continued = last.is_some_and(|glyph| glyph.ch == '\\' && same_value(*glyph, rest));
    Ok((rest, if continued { Trivia::ContinuedComment } else { Trivia::Comment }))
}

#[cfg(test)]
mod tests;
