//! A template's text as tokens.

use super::parse::Delimiters;
use super::{Error, Value};

/// A token, with the line that it begins on.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) line: usize,
    /// Whether white space stands before it.
    pub(super) spaced: bool,
    pub(super) kind: TokenKind,
}

#[derive(Clone, Debug)]
pub(super) enum TokenKind {
    /// Text outside of actions.
    Text(Vec<u8>),
    /// The end of an action.
    End,
    /// A name or keyword.
    Word(String),
    /// `.Name`
    Field(String),
    /// `$name`, with the `$`.
    Variable(String),
    Dot,
    Constant(Value),
    Open,
    Close,
    Pipe,
    Comma,
    Declare,
    Assign,
}

const COMMENT_START: &[u8] = b"/*";
const COMMENT_END: &[u8] = b"*/";

/// Takes a template's text apart.
pub(super) fn lex(text: &[u8], delimiters: &Delimiters) -> Result<Vec<Token>, Error> {
    let mut lexer = Lexer { text, at: 0, line: 1, tokens: Vec::new() };
    let (open, close) = (delimiters.open.as_bytes(), delimiters.close.as_bytes());
    let mut trims = false;
    loop {
        let rest = &text[lexer.at..];
        let found = memchr::memmem::find(rest, open);
        let mut piece = &rest[..found.unwrap_or(rest.len())];
        let passed = piece;
        if trims {
            piece = piece.trim_ascii_start();
        }
        let Some(found) = found else {
            lexer.push_text(piece);
            return Ok(lexer.tokens);
        };
        let inner = lexer.at + found + open.len();
        let trims_left = is_trim_start(&text[inner..]);
        if trims_left {
            piece = piece.trim_ascii_end();
        }
        lexer.push_text(piece);
        lexer.line += memchr::memchr_iter(b'\n', passed).count();
        lexer.at = inner + if trims_left { 1 } else { 0 };
        trims = match lexer.comment(close)? {
            Some(trims) => trims,
            None => lexer.action(close)?,
        };
    }
}

/// `{{- `
fn is_trim_start(text: &[u8]) -> bool {
    matches!(text, [b'-', space, ..] if space.is_ascii_whitespace())
}

struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn push_text(&mut self, text: &[u8]) {
        if !text.is_empty() {
            self.tokens.push(Token { line: self.line, spaced: false, kind: TokenKind::Text(text.into()) });
        }
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        Err(Error::new(format!("{}: {}", self.line, message.into())))
    }

    /// Passes over a comment, if there is one; whether what follows is trimmed.
    fn comment(&mut self, close: &[u8]) -> Result<Option<bool>, Error> {
        let rest = &self.text[self.at..];
        let inner = rest.trim_ascii_start();
        // Only behind a trim marker may space stand before it.
        let may_begin = inner.len() == rest.len() || self.text[..self.at].ends_with(b"-");
        if !may_begin || !inner.starts_with(COMMENT_START) {
            return Ok(None);
        }
        let Some(length) = memchr::memmem::find(inner, COMMENT_END) else {
            return self.fail("unclosed comment");
        };
        let rest = &inner[length + COMMENT_END.len()..];
        let (trims, rest) = match self.close(rest, close) {
            Some((trims, length)) => (trims, &rest[length..]),
            None => return self.fail("comment ends before closing delimiter"),
        };
        let end = self.text.len() - rest.len();
        self.line += memchr::memchr_iter(b'\n', &self.text[self.at..end]).count();
        self.at = end;
        Ok(Some(trims))
    }

    /// Whether an action ends here: whether what follows is trimmed, and the length of the end.
    fn close(&self, rest: &[u8], close: &[u8]) -> Option<(bool, usize)> {
        if rest.starts_with(close) {
            return Some((false, close.len()));
        }
        let marked = rest.trim_ascii_start();
        let space = rest.len() - marked.len();
        let after = marked.strip_prefix(b"-").filter(|after| space > 0 && after.starts_with(close))?;
        Some((true, rest.len() - after.len() + close.len()))
    }

    /// The tokens of one action; whether what follows is trimmed.
    fn action(&mut self, close: &[u8]) -> Result<bool, Error> {
        let mut depth = 0_usize;
        loop {
            let rest = &self.text[self.at..];
            if let Some((trims, length)) = self.close(rest, close) {
                if depth > 0 {
                    return self.fail("unclosed left paren");
                }
                self.line += memchr::memchr_iter(b'\n', &rest[..length]).count();
                self.push(false, TokenKind::End);
                self.at += length;
                return Ok(trims);
            }
            let inner = rest.trim_ascii_start();
            let space = rest.len() - inner.len();
            self.line += memchr::memchr_iter(b'\n', &rest[..space]).count();
            self.at += space;
            if space > 0 && self.close(&self.text[self.at..], close).is_some() {
                continue;
            }
            let kind = self.token()?;
            match kind {
                TokenKind::Open => depth += 1,
                TokenKind::Close if depth == 0 => return self.fail("unexpected right paren"),
                TokenKind::Close => depth -= 1,
                _ => {}
            }
            self.push(space > 0, kind);
        }
    }

    fn push(&mut self, spaced: bool, kind: TokenKind) {
        self.tokens.push(Token { line: self.line, spaced, kind });
    }

    fn token(&mut self) -> Result<TokenKind, Error> {
        let rest = &self.text[self.at..];
        let Some(&first) = rest.first() else { return self.fail("unclosed action") };
        let (kind, length) = match first {
            b'(' => (TokenKind::Open, 1),
            b')' => (TokenKind::Close, 1),
            b'|' => (TokenKind::Pipe, 1),
            b',' => (TokenKind::Comma, 1),
            b':' if rest.starts_with(b":=") => (TokenKind::Declare, 2),
            b'=' => (TokenKind::Assign, 1),
            b'"' => return self.quoted(),
            b'`' => return self.raw(),
            b'\'' => return self.character(),
            b'$' => {
                let length = 1 + word_length(&rest[1..]);
                (TokenKind::Variable(text(&rest[..length])), length)
            }
            b'.' if !rest.get(1).is_some_and(u8::is_ascii_digit) => match word_length(&rest[1..]) {
                0 => (TokenKind::Dot, 1),
                length => (TokenKind::Field(text(&rest[1..=length])), 1 + length),
            },
            b'+' | b'-' | b'.' | b'0'..=b'9' => {
                let length = number_length(rest);
                let Some(value) = number(&text(&rest[..length])) else {
                    return self.fail(format!("bad number syntax: {:?}", text(&rest[..length])));
                };
                (TokenKind::Constant(value), length)
            }
            _ => match word_length(rest) {
                0 => {
                    let character = String::from_utf8_lossy(&rest[..rest.len().min(4)]);
                    let character = character.chars().next().unwrap_or_default();
                    return self.fail(format!("unexpected {character:?} in action"));
                }
                length => (TokenKind::Word(text(&rest[..length])), length),
            },
        };
        self.at += length;
        Ok(kind)
    }

    /// The length of what stands between quotes, up to the closing one.
    fn quoted_length(&self, quote: u8) -> Result<usize, Error> {
        let rest = &self.text[self.at + 1..];
        let mut at = 0;
        while let Some(&byte) = rest.get(at) {
            match byte {
                b'\\' => at += 2,
                b'\n' => break,
                _ if byte == quote => return Ok(at),
                _ => at += 1,
            }
        }
        self.fail("unterminated quoted string or character constant")
    }

    fn quoted(&mut self) -> Result<TokenKind, Error> {
        let length = self.quoted_length(b'"')?;
        let inner = &self.text[self.at + 1..self.at + 1 + length];
        let Some(bytes) = unescape(inner) else { return self.fail("invalid escape in string") };
        self.at += length + 2;
        Ok(TokenKind::Constant(Value::bytes(bytes)))
    }

    fn character(&mut self) -> Result<TokenKind, Error> {
        let length = self.quoted_length(b'\'')?;
        let inner = &self.text[self.at + 1..self.at + 1 + length];
        let character = unescape(inner).and_then(|bytes| {
            let text = String::from_utf8(bytes).ok()?;
            let mut characters = text.chars();
            characters.next().filter(|_| characters.next().is_none())
        });
        let Some(character) = character else { return self.fail("malformed character constant") };
        self.at += length + 2;
        Ok(TokenKind::Constant(Value::Int(u32::from(character).into())))
    }

    fn raw(&mut self) -> Result<TokenKind, Error> {
        let rest = &self.text[self.at + 1..];
        let Some(length) = memchr::memchr(b'`', rest) else {
            return self.fail("unterminated raw quoted string");
        };
        self.line += memchr::memchr_iter(b'\n', &rest[..length]).count();
        self.at += length + 2;
        // Go leaves carriage returns out.
        let bytes: Vec<u8> = rest[..length].iter().copied().filter(|byte| *byte != b'\r').collect();
        Ok(TokenKind::Constant(Value::bytes(bytes)))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How long the name is that stands here; letters of other scripts may be in it.
fn word_length(text: &[u8]) -> usize {
    text.iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80))
        .unwrap_or(text.len())
}

fn number_length(text: &[u8]) -> usize {
    let mut at = usize::from(matches!(text[0], b'+' | b'-'));
    let is_hex = text[at..].len() > 1 && text[at] == b'0' && matches!(text[at + 1], b'x' | b'X');
    while let Some(&byte) = text.get(at) {
        let is_exponent = matches!(byte, b'e' | b'E') && !is_hex || matches!(byte, b'p' | b'P');
        if is_exponent && matches!(text.get(at + 1), Some(b'+' | b'-')) {
            at += 2;
        } else if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') {
            at += 1;
        } else {
            break;
        }
    }
    at
}

/// A number as Go writes them: a float if it has a point or an exponent.
fn number(written: &str) -> Option<Value> {
    let plain: String = written.chars().filter(|character| *character != '_').collect();
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|byte| byte.is_ascii_digit()) => {
            (8, &lower[1..])
        }
        _ => (10, lower.as_str()),
    };
    let signed = if negative { format!("-{body}") } else { body.to_owned() };
    if let Ok(value) = i64::from_str_radix(&signed, radix) {
        return Some(Value::Int(value));
    }
    let is_float =
        radix == 10 && body.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'+' | b'-'));
    let value: f64 = signed.parse().ok().filter(|_| is_float)?;
    Some(Value::Float(value))
}

/// What stands between quotes, with Go's escapes undone.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&escape, after) = rest.split_first()?;
        rest = after;
        let mut digits = |count: usize, radix: u32| {
            let digits = std::str::from_utf8(rest.get(..count)?).ok()?;
            rest = &rest[count..];
            u32::from_str_radix(digits, radix).ok()
        };
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'\\' | b'"' | b'\'' => out.push(escape),
            b'x' => out.push(u8::try_from(digits(2, 16)?).ok()?),
            b'u' | b'U' => {
                let character = char::from_u32(digits(if escape == b'u' { 4 } else { 8 }, 16)?)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            b'0'..=b'7' => {
                let last = digits(2, 8)?;
                out.push(u8::try_from(u32::from(escape - b'0') * 64 + last).ok()?);
            }
            _ => return None,
        }
    }
    Some(out)
}
