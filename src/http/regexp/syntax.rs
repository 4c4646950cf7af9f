//! Go's regular expression syntax, put into that of the `regex` crate.
//!
//! Both come from RE2 and differ in little: Go's `\d`, `\w`, `\s` and `\b` know ASCII only, a `{`
//! that starts no repetition is a brace, `\` before punctuation makes it literal, classes have no
//! set operations, `\Q...\E` quotes, and there are no flags `x`, `u` and `R`.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

/// Why a pattern is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum SyntaxError {
    #[error("invalid escape sequence: `{0}`")]
    Escape(String),
    #[error("missing closing ]")]
    Class,
    #[error("invalid or unsupported Perl syntax: `(?{0}`")]
    Group(String),
    #[error("invalid repeat count: `{0}`")]
    Repeat(String),
}

/// Go's greatest count in `{n,m}`.
const REPEAT_MAX: u32 = 1000;

/// The pattern for the `regex` crate.
pub(super) fn translate(pattern: &str) -> Result<String, SyntaxError> {
    let mut translator = Translator { rest: pattern.chars().peekable(), out: String::new() };
    translator.run()?;
    Ok(translator.out)
}

struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
}

/// What a `\` and what follows it mean.
enum Escape {
    /// One character.
    Char(char),
    /// `\d` and the like: the ASCII members of a class, and whether it is turned round.
    Class(&'static str, bool),
    /// `\pL`, `\P{Greek}`: as written.
    Unicode(String),
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), SyntaxError> {
        while let Some(char) = self.rest.next() {
            match char {
                '\\' => self.escape_outside()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '{' => self.repeat()?,
                _ => self.out.push(char),
            }
        }
        Ok(())
    }

    fn escape_outside(&mut self) -> Result<(), SyntaxError> {
        match self.rest.peek() {
            Some('b') => self.assertion("(?-u:\\b)"),
            Some('B') => self.assertion("(?-u:\\B)"),
            Some('A') => self.assertion("\\A"),
            Some('z') => self.assertion("\\z"),
            Some('Q') => {
                self.rest.next();
                self.quoted();
            }
            _ => match self.escape()? {
                Escape::Char(char) => self.literal(char),
                Escape::Class(members, negated) => {
                    let caret = if negated { "^" } else { "" };
                    let _ = write!(self.out, "[{caret}{members}]");
                }
                Escape::Unicode(class) => self.out.push_str(&class),
            },
        }
        Ok(())
    }

    fn assertion(&mut self, translated: &str) {
        self.rest.next();
        self.out.push_str(translated);
    }

    /// What stands between `\Q` and `\E` (or the end) is literal.
    fn quoted(&mut self) {
        while let Some(char) = self.rest.next() {
            if char == '\\' && self.rest.peek() == Some(&'E') {
                self.rest.next();
                return;
            }
            self.literal(char);
        }
    }

    fn literal(&mut self, char: char) {
        self.out.push_str(&regex::escape(char.encode_utf8(&mut [0; 4])));
    }

    /// What follows a `\`, where it may stand in a class as well as outside.
    fn escape(&mut self) -> Result<Escape, SyntaxError> {
        let Some(char) = self.rest.next() else { return Err(SyntaxError::Escape("\\".into())) };
        Ok(match char {
            'd' => Escape::Class("0-9", false),
            'D' => Escape::Class("0-9", true),
            'w' => Escape::Class("0-9A-Za-z_", false),
            'W' => Escape::Class("0-9A-Za-z_", true),
            's' => Escape::Class(r"\t\n\x0C\r ", false),
            'S' => Escape::Class(r"\t\n\x0C\r ", true),
            'a' => Escape::Char('\x07'),
            'f' => Escape::Char('\x0c'),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            't' => Escape::Char('\t'),
            'v' => Escape::Char('\x0b'),
            'x' => Escape::Char(self.hexadecimal()?),
            'p' | 'P' => Escape::Unicode(self.unicode_class(char)?),
            '0'..='7' => Escape::Char(self.octal(char)?),
            _ if char.is_ascii() && !char.is_ascii_alphanumeric() => Escape::Char(char),
            _ => return Err(SyntaxError::Escape(format!("\\{char}"))),
        })
    }

    fn hexadecimal(&mut self) -> Result<char, SyntaxError> {
        let mut digits = String::new();
        if self.rest.next_if_eq(&'{').is_some() {
            while let Some(digit) = self.rest.next_if(char::is_ascii_hexdigit) {
                digits.push(digit);
            }
            if self.rest.next() != Some('}') {
                digits.clear();
            }
        } else {
            digits.extend(self.rest.next_if(char::is_ascii_hexdigit));
            digits.extend(self.rest.next_if(char::is_ascii_hexdigit));
            if digits.len() != 2 {
                digits.clear();
            }
        }
        let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
        code.ok_or_else(|| SyntaxError::Escape(format!("\\x{digits}")))
    }

    /// `\0`, `\12`, `\123`; a single digit from 1 to 7 would be a back reference, which RE2 has not.
    fn octal(&mut self, first: char) -> Result<char, SyntaxError> {
        let mut code = u32::from(first) - u32::from('0');
        let mut digits = 1;
        while digits < 3
            && let Some(digit) = self.rest.next_if(|char| ('0'..='7').contains(char))
        {
            code = code * 8 + u32::from(digit) - u32::from('0');
            digits += 1;
        }
        if digits == 1 && first != '0' {
            return Err(SyntaxError::Escape(format!("\\{first}")));
        }
        char::from_u32(code).ok_or_else(|| SyntaxError::Escape(format!("\\{code:o}")))
    }

    fn unicode_class(&mut self, letter: char) -> Result<String, SyntaxError> {
        let mut class = format!("\\{letter}");
        match self.rest.next() {
            Some('{') => {
                class.push('{');
                loop {
                    let Some(char) = self.rest.next() else { return Err(SyntaxError::Escape(class)) };
                    class.push(char);
                    if char == '}' {
                        return Ok(class);
                    }
                }
            }
            Some(name) => class.push(name),
            None => return Err(SyntaxError::Escape(class)),
        }
        Ok(class)
    }

    fn class(&mut self) -> Result<(), SyntaxError> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            match self.rest.next().ok_or(SyntaxError::Class)? {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' if self.rest.peek() == Some(&':') => self.posix(),
                char => self.class_item(char)?,
            }
            first = false;
        }
    }

    /// `[:alpha:]`, or just a bracket if that is not how it goes on.
    fn posix(&mut self) {
        let mut ahead = self.rest.clone();
        ahead.next();
        let mut name = String::new();
        for char in ahead.by_ref() {
            if char == ':' || char == ']' {
                break;
            }
            name.push(char);
        }
        if ahead.next() == Some(']') {
            let _ = write!(self.out, "[:{name}:]");
            self.rest = ahead;
        } else {
            self.class_char('[');
        }
    }

    fn class_item(&mut self, char: char) -> Result<(), SyntaxError> {
        let low = match self.class_escape(char)? {
            Escape::Char(char) => char,
            Escape::Class(members, false) => {
                self.out.push_str(members);
                return Ok(());
            }
            Escape::Class(members, true) => {
                let _ = write!(self.out, "[^{members}]");
                return Ok(());
            }
            Escape::Unicode(class) => {
                self.out.push_str(&class);
                return Ok(());
            }
        };
        let mut ahead = self.rest.clone();
        self.class_char(low);
        if ahead.next() == Some('-') && !matches!(ahead.peek(), Some(']') | None) {
            self.rest = ahead;
            let next = self.rest.next().ok_or(SyntaxError::Class)?;
            let Escape::Char(high) = self.class_escape(next)? else {
                return Err(SyntaxError::Escape(format!("{low}-{next}")));
            };
            self.out.push('-');
            self.class_char(high);
        }
        Ok(())
    }

    fn class_escape(&mut self, char: char) -> Result<Escape, SyntaxError> {
        if char == '\\' { self.escape() } else { Ok(Escape::Char(char)) }
    }

    /// A member of a class, written so that it can mean nothing else.
    fn class_char(&mut self, char: char) {
        if char.is_ascii_alphanumeric() {
            self.out.push(char);
        } else {
            let _ = write!(self.out, "\\x{{{:X}}}", u32::from(char));
        }
    }

    /// Passes on the head of a group, unless it has a flag that Go does not know.
    fn group(&mut self) -> Result<(), SyntaxError> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        if matches!(self.rest.peek(), Some('P' | '<')) {
            return Ok(());
        }
        let mut flags = String::new();
        loop {
            let char = self.rest.next();
            flags.extend(char);
            match char {
                Some('i' | 'm' | 's' | 'U' | '-') => {}
                Some(':' | ')') => break,
                _ => return Err(SyntaxError::Group(flags)),
            }
        }
        self.out.push_str(&flags);
        Ok(())
    }

    /// `{n}`, `{n,}` and `{n,m}` are repetitions, any other `{` is a brace.
    fn repeat(&mut self) -> Result<(), SyntaxError> {
        let mut ahead = self.rest.clone();
        let mut inner = String::new();
        loop {
            match ahead.next() {
                Some('}') => break,
                Some(char) if char.is_ascii_digit() || char == ',' => inner.push(char),
                _ => {
                    self.out.push_str("\\{");
                    return Ok(());
                }
            }
        }
        let (least, most) = inner.split_once(',').unwrap_or((&inner, ""));
        if least.is_empty() || most.contains(',') {
            self.out.push_str("\\{");
            return Ok(());
        }
        let mut counts = [least, most].into_iter().filter(|count| !count.is_empty());
        if !counts.all(|count| count.parse::<u32>().is_ok_and(|n| n <= REPEAT_MAX)) {
            return Err(SyntaxError::Repeat(format!("{{{inner}}}")));
        }
        let _ = write!(self.out, "{{{inner}}}");
        self.rest = ahead;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_know_alike_stays() {
        for pattern in [r"^/users/([0-9]+)(?:/([a-z]+))?$", r"(?P<year>\x{41}){2,3}", r"(?i)^/ci$", "a|b*?"] {
            let translated = translate(pattern).unwrap();
            assert!(regex::Regex::new(&translated).is_ok(), "{pattern} -> {translated}");
        }
        assert_eq!(translate("^/a(b+)[a-z]{2}$").unwrap(), "^/a(b+)[a-z]{2}$");
    }

    #[test]
    fn perl_classes_know_ascii_only() {
        for (pattern, translated) in [
            (r"\d", "[0-9]"),
            (r"\W", "[^0-9A-Za-z_]"),
            (r"[\w-]", r"[0-9A-Za-z_\x{2D}]"),
            (r"[^\S]", r"[^[^\t\n\x0C\r ]]"),
            (r"\b", r"(?-u:\b)"),
        ] {
            assert_eq!(translate(pattern).unwrap(), translated);
        }
        assert!(!regex::Regex::new(&translate(r"^\w$").unwrap()).unwrap().is_match("é"));
        assert!(regex::Regex::new(&translate(r"a\B").unwrap()).unwrap().is_match("ab"));
    }

    #[test]
    fn braces_and_brackets_that_mean_nothing_are_literal() {
        for (pattern, text) in [
            (r"^a{$", "a{"),
            (r"^a{,2}$", "a{,2}"),
            (r"^{x}$", "{x}"),
            (r"^\<a\>$", "<a>"),
            (r"^[a&&b]+$", "&ab"),
            (r"^[]a]+$", "]a"),
            (r"^[[a]$", "["),
            (r"^[+--]+$", "+,-"),
            (r"^[a\-z]+$", "-az"),
            (r"^\Qa.b*\E.$", "a.b*x"),
            (r"^\101\x42$", "AB"),
            (r"^[[:alpha:]\d]+$", "a1"),
        ] {
            let translated = translate(pattern).unwrap();
            let regex = regex::Regex::new(&translated).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(regex.is_match(text), "{pattern} -> {translated}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in [r"\y", r"\1", r"(?x)a", "[a", r"a{1001}", r"\", r"\x4", r"(?=a)"] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }
}
