//! Tokens of the Common Expression Language (<https://github.com/google/cel-spec>), and Caddy's
//! placeholders among them.

use std::iter::Peekable;
use std::str::CharIndices;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Int(i64),
    /// The magnitude of the least integer, which only a minus sign makes one.
    IntMin,
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Word(String),
    /// `{name}`
    Placeholder(String),
    Symbol(&'static str),
}

/// Why an expression is none.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("compiling CEL program: {0}")]
pub(super) struct CelError(pub(super) String);

pub(super) fn error<T>(message: impl Into<String>) -> Result<T, CelError> {
    Err(CelError(message.into()))
}

/// Longer symbols stand before those that they begin with.
const SYMBOLS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ",", ".", "(", ")",
    "[", "]", "{", "}",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, CelError> {
    Lexer { text, rest: text.char_indices().peekable() }.run()
}

struct Lexer<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
}

impl Lexer<'_> {
    fn run(&mut self) -> Result<Vec<Token>, CelError> {
        let mut tokens = Vec::new();
        while let Some(&(at, char)) = self.rest.peek() {
            if char.is_whitespace() {
                self.rest.next();
            } else if self.text[at..].starts_with("//") {
                while self.rest.next_if(|(_, char)| *char != '\n').is_some() {}
            } else {
                tokens.push(self.token(at, char)?);
            }
        }
        Ok(tokens)
    }

    fn token(&mut self, at: usize, char: char) -> Result<Token, CelError> {
        let rest = &self.text[at..];
        if char == '{'
            && let Some(name) = placeholder(rest)
        {
            self.skip(name.len() + 2);
            return Ok(Token::Placeholder(name.to_owned()));
        }
        if char.is_ascii_digit() || (char == '.' && rest[1..].starts_with(|next: char| next.is_ascii_digit()))
        {
            return self.number(rest);
        }
        if char.is_alphabetic() || char == '_' || matches!(char, '"' | '\'') {
            return self.word_or_text(rest);
        }
        match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            Some(symbol) => {
                self.skip(symbol.len());
                Ok(Token::Symbol(symbol))
            }
            None => error(format!("Syntax error: token recognition error at: '{char}'")),
        }
    }

    /// Passes over so many bytes.
    fn skip(&mut self, bytes: usize) {
        if let Some(&(from, _)) = self.rest.peek() {
            while self.rest.next_if(|(at, _)| *at < from + bytes).is_some() {}
        }
    }

    fn number(&mut self, rest: &str) -> Result<Token, CelError> {
        let hexadecimal = rest.strip_prefix("0x").or(rest.strip_prefix("0X"));
        let digits = match hexadecimal {
            Some(digits) => 2 + digits.find(|char: char| !char.is_ascii_hexdigit()).unwrap_or(digits.len()),
            None => decimal_len(rest),
        };
        let text = &rest[..digits];
        let is_uint = rest[digits..].starts_with(['u', 'U']);
        self.skip(digits + usize::from(is_uint));
        let parsed = match hexadecimal {
            Some(hexadecimal) => u64::from_str_radix(&hexadecimal[..digits - 2], 16).ok(),
            None => text.parse().ok(),
        };
        let token = match parsed {
            Some(number) if is_uint => Some(Token::Uint(number)),
            Some(number) if number == i64::MIN.unsigned_abs() => Some(Token::IntMin),
            Some(number) => i64::try_from(number).ok().map(Token::Int),
            None if hexadecimal.is_none() && text.contains(['.', 'e', 'E']) => {
                text.parse().ok().map(Token::Double)
            }
            None => None,
        };
        token.map_or_else(|| error(format!("invalid number '{text}'")), Ok)
    }

    fn word_or_text(&mut self, rest: &str) -> Result<Token, CelError> {
        let word = rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len());
        let (prefix, after) = rest.split_at(word);
        let flags = prefix.to_ascii_lowercase();
        if !after.starts_with(['"', '\'']) || !matches!(flags.as_str(), "" | "r" | "b" | "br" | "rb") {
            self.skip(word);
            return Ok(Token::Word(prefix.to_owned()));
        }
        self.skip(word);
        let (raw, bytes) = (flags.contains('r'), flags.contains('b'));
        let quote =
            ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| after.starts_with(quote)).unwrap_or("'");
        let body = &after[quote.len()..];
        let Some(end) = closing(body, quote, raw) else {
            return error("Syntax error: unterminated string");
        };
        self.skip(end + 2 * quote.len());
        let text = if raw { body.as_bytes()[..end].to_vec() } else { unescaped(&body[..end], bytes)? };
        if bytes {
            return Ok(Token::Bytes(text));
        }
        String::from_utf8(text).map(Token::Text).or_else(|_| error("Syntax error: string is not UTF-8"))
    }
}

/// The name in `{name}`, if that is what the text begins with.
fn placeholder(text: &str) -> Option<&str> {
    let name = &text[1..text.find('}')?];
    let (first, rest) = name.split_at_checked(1)?;
    let valid = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-');
    (first.starts_with(|char: char| char.is_ascii_alphabetic())
        && !rest.is_empty()
        && rest.chars().all(valid))
    .then_some(name)
}

/// How far a decimal number goes: digits, a fraction, an exponent.
fn decimal_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits((end + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

/// Where the closing quote is.
fn closing(body: &str, quote: &str, raw: bool) -> Option<usize> {
    let mut at = 0;
    while at < body.len() {
        let rest = &body[at..];
        if rest.starts_with(quote) {
            return Some(at);
        }
        if quote.len() == 1 && rest.starts_with('\n') {
            return None;
        }
        let escaped = !raw && rest.starts_with('\\');
        at += rest.chars().take(1 + usize::from(escaped)).map(char::len_utf8).sum::<usize>();
    }
    None
}

fn unescaped(text: &str, bytes: bool) -> Result<Vec<u8>, CelError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let Some(char) = rest.chars().next() else { return error("Syntax error: unterminated escape") };
        rest = &rest[char.len_utf8()..];
        let simple = match char {
            'a' => Some('\x07'),
            'b' => Some('\x08'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            // The brace is Caddy's: text that would be a placeholder.
            '\\' | '"' | '\'' | '`' | '?' | '{' => Some(char),
            _ => None,
        };
        if let Some(simple) = simple {
            out.extend_from_slice(simple.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let (digits, radix) = match char {
            'x' | 'X' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='3' => (2, 8),
            _ => return error(format!("Syntax error: unable to unescape '\\{char}'")),
        };
        let code = rest.get(..digits).and_then(|text| u32::from_str_radix(text, radix).ok());
        let Some(mut code) = code else { return error("Syntax error: unable to unescape string") };
        rest = &rest[digits..];
        if radix == 8 {
            code += char.to_digit(8).unwrap_or(0) * 64;
        }
        match (u8::try_from(code), char::from_u32(code)) {
            (Ok(byte), _) if bytes => out.push(byte),
            (_, Some(char)) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => return error("Syntax error: escape is no character"),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Token {
        let tokens = tokens(text).unwrap();
        assert_eq!(tokens.len(), 1, "{text}: {tokens:?}");
        tokens.into_iter().next().unwrap()
    }

    #[test]
    fn literals_are_read() {
        for (text, token) in [
            ("12", Token::Int(12)),
            ("0xff", Token::Int(255)),
            ("9223372036854775808", Token::IntMin),
            ("1u", Token::Uint(1)),
            ("1.5e3", Token::Double(1500.0)),
            (".5", Token::Double(0.5)),
            ("1e2", Token::Double(100.0)),
            (r#""a\n\"\x41\101\u00e9""#, Token::Text("a\n\"AAé".into())),
            (r#"r"a\n""#, Token::Text(r"a\n".into())),
            (r"'it''s'", Token::Text("it".into())),
            (r#""""a"b""""#, Token::Text("a\"b".into())),
            (r"b'\xff'", Token::Bytes(vec![0xff])),
            (r"'\{http.vars.a}'", Token::Text("{http.vars.a}".into())),
            ("a_1", Token::Word("a_1".into())),
            ("{http.request.header.X-A}", Token::Placeholder("http.request.header.X-A".into())),
        ] {
            if text == r"'it''s'" {
                assert_eq!(tokens(text).unwrap(), [token, Token::Text("s".into())]);
            } else {
                assert_eq!(one(text), token, "{text}");
            }
        }
    }

    #[test]
    fn braces_may_also_be_a_map() {
        assert_eq!(tokens("{'a':1} // x").unwrap().len(), 5);
        assert_eq!(tokens("{a}").unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["#", "'a", "'a\nb'", "'\\q'", "99999999999999999999", "'\\ud800'"] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }
}
