//! Text with placeholders, compiled once: a request only fills it in.

use std::borrow::Cow;

use http::HeaderValue;

use super::{Exchange, Placeholder};

/// What an unknown placeholder turns into, which in Caddy depends on where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It stays as it was written (header, respond, redir, `header_up`).
    Keep,
    /// It vanishes (rewrite, vars, matchers).
    Empty,
}

/// Text with placeholders, compiled.
///
/// Values are data: what a placeholder yields is never looked through for placeholders again, so
/// nothing that a client sends can name one.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Box<[Part]>,
    unknown: Unknown,
}

/// A piece of a [`Template`].
#[derive(Debug, Clone)]
pub enum Part {
    /// Text that was written in the configuration.
    Literal(Box<str>),
    /// A value that is known since load: environment, system.
    Known(Box<[u8]>),
    /// Something to look up for each request; with the text as it was written.
    Dynamic(Placeholder, Box<str>),
}

/// A placeholder that must have a value has none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// There is no placeholder of that name.
    #[error("unrecognized placeholder {0}")]
    Unknown(String),
    /// There is one, but it is empty.
    #[error("evaluated placeholder {0} is empty")]
    Empty(String),
}

impl Part {
    /// Whether the value comes from the environment or a file, so that it may be a key: compared in
    /// constant time, and matching nothing if it is empty.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Known(_) | Self::Dynamic(Placeholder::File(_), _))
    }
}

impl Template {
    /// Compiles `text`. `\{` and `\}` stand for braces; a brace without its partner is just text.
    pub fn compile(text: &str, unknown: Unknown) -> Self {
        Self { parts: Scanner { text, unknown, parts: Vec::new(), literal: String::new() }.scan(), unknown }
    }

    /// A template of these parts.
    pub(super) fn from_parts(parts: Vec<Part>, unknown: Unknown) -> Self {
        Self { parts: parts.into(), unknown }
    }

    /// The parts, for those who must tell written text from values (wildcards count only in text).
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The text, if it is the same for every request.
    pub fn constant(&self) -> Option<Cow<'_, [u8]>> {
        match &*self.parts {
            [] => Some(Cow::Borrowed(b"")),
            [Part::Literal(text)] => Some(Cow::Borrowed(text.as_bytes())),
            [Part::Known(value)] => Some(Cow::Borrowed(value)),
            parts => {
                let mut all = Vec::new();
                for part in parts {
                    match part {
                        Part::Literal(text) => all.extend_from_slice(text.as_bytes()),
                        Part::Known(value) => all.extend_from_slice(value),
                        Part::Dynamic(..) => return None,
                    }
                }
                Some(Cow::Owned(all))
            }
        }
    }

    /// The text for one request. Borrows where it can.
    pub fn render<'a>(&'a self, x: &'a Exchange) -> Cow<'a, [u8]> {
        self.render_with(x, |_, value, _| value)
    }

    /// The text for one request as the value of a header field, made fit for it: control characters
    /// become spaces, and spaces around it go, as Go's server does it.
    pub fn render_header(&self, x: &Exchange) -> HeaderValue {
        // A field that is passed on as it came needs no copy.
        if let [Part::Dynamic(Placeholder::Header(name), _)] = &*self.parts {
            let mut values = x.headers.get_all(name).iter();
            if let (Some(value), None) = (values.next(), values.next()) {
                return value.clone();
            }
        }
        header_value(&self.render(x))
    }

    /// The text for one request, with a mark for each byte that was written in the configuration; the
    /// others came out of placeholders.
    pub fn render_marked(&self, x: &Exchange) -> Vec<(u8, bool)> {
        let mut all = Vec::new();
        for part in &self.parts {
            let written = matches!(part, Part::Literal(_));
            all.extend(self.value(part, x).iter().map(|byte| (*byte, written)));
        }
        all
    }

    /// The text for one request, with each value of a placeholder as `change` makes it.
    pub fn render_with<'a>(
        &'a self,
        x: &'a Exchange,
        change: impl Fn(&Part, Cow<'a, [u8]>, &'a Exchange) -> Cow<'a, [u8]>,
    ) -> Cow<'a, [u8]> {
        let value = |part: &'a Part| match part {
            Part::Literal(text) => Cow::Borrowed(text.as_bytes()),
            part => change(part, self.value(part, x), x),
        };
        match &*self.parts {
            [] => Cow::Borrowed(b""),
            [part] => value(part),
            parts => {
                let mut all = Vec::new();
                for part in parts {
                    all.extend_from_slice(&value(part));
                }
                Cow::Owned(all)
            }
        }
    }

    /// As [`Template::render_marked`], if the text is the same for every request.
    pub fn constant_marked(&self) -> Option<Vec<(u8, bool)>> {
        let mut all = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => all.extend(text.bytes().map(|byte| (byte, true))),
                Part::Known(value) => all.extend(value.iter().map(|byte| (*byte, false))),
                Part::Dynamic(..) => return None,
            }
        }
        Some(all)
    }

    /// The text for one request, if all of its placeholders have values.
    ///
    /// # Errors
    /// The first placeholder that is unknown or empty.
    pub fn render_required<'a>(&'a self, x: &'a Exchange) -> Result<Cow<'a, [u8]>, TemplateError> {
        for part in &self.parts {
            match part {
                Part::Known(value) if value.is_empty() => return Err(TemplateError::Empty("{env.*}".into())),
                Part::Dynamic(placeholder, written) => match placeholder.value(x) {
                    None => return Err(TemplateError::Unknown(written.to_string())),
                    Some(value) if value.is_empty() => return Err(TemplateError::Empty(written.to_string())),
                    Some(_) => {}
                },
                _ => {}
            }
        }
        Ok(self.render(x))
    }

    fn value<'a>(&self, part: &'a Part, x: &'a Exchange) -> Cow<'a, [u8]> {
        match part {
            Part::Literal(text) => Cow::Borrowed(text.as_bytes()),
            Part::Known(value) => Cow::Borrowed(value),
            Part::Dynamic(placeholder, written) => match (placeholder.value(x), self.unknown) {
                (Some(value), _) => value,
                (None, Unknown::Keep) => Cow::Borrowed(written.as_bytes()),
                (None, Unknown::Empty) => Cow::Borrowed(b""),
            },
        }
    }
}

/// Bytes as the value of a header field: control characters become spaces, and spaces around it go.
pub fn header_value(bytes: &[u8]) -> HeaderValue {
    let bytes = bytes.trim_ascii();
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        return value;
    }
    let control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    let safe: Vec<u8> = bytes.iter().map(|&byte| if control(byte) { b' ' } else { byte }).collect();
    HeaderValue::from_bytes(safe.trim_ascii()).expect("invariant: no control characters are left")
}

struct Scanner<'a> {
    text: &'a str,
    unknown: Unknown,
    parts: Vec<Part>,
    literal: String,
}

impl Scanner<'_> {
    fn scan(mut self) -> Box<[Part]> {
        let bytes = self.text.as_bytes();
        // Up to `done` the text has been dealt with. All marks are ASCII, so slices are whole characters.
        let (mut at, mut done) = (0, 0);
        while at < bytes.len() {
            let brace = matches!(bytes[at], b'{' | b'}');
            if brace && at > 0 && bytes[at - 1] == b'\\' {
                self.literal.push_str(&self.text[done..at - 1]);
                done = at;
            } else if bytes[at] == b'{'
                && let Some(end) = self.closing_brace(at)
            {
                self.literal.push_str(&self.text[done..at]);
                if self.placeholder(&self.text[at..=end]) {
                    at = end;
                    done = end + 1;
                } else {
                    // It is text after all, and may have a placeholder inside.
                    done = at;
                }
            }
            at += 1;
        }
        self.literal.push_str(&self.text[done..]);
        self.flush();
        self.parts.into()
    }

    /// The first brace behind `open` that closes and is not escaped.
    fn closing_brace(&self, open: usize) -> Option<usize> {
        let find = |from: usize| self.text[from..].find('}').map(|at| from + at);
        let mut end = find(open)?;
        while end < self.text.len() - 1 && self.text.as_bytes()[end - 1] == b'\\' {
            end = find(end + 1)?;
        }
        Some(end)
    }

    /// Takes in `{name}`; false if it can't be one and is to stay as it is written.
    fn placeholder(&mut self, written: &str) -> bool {
        let name = &written[1..written.len() - 1];
        match Part::parse(name, written) {
            Some(Part::Literal(text)) => self.literal.push_str(&text),
            Some(part) => {
                self.flush();
                self.parts.push(part);
            }
            None => return self.unknown == Unknown::Empty,
        }
        true
    }

    fn flush(&mut self) {
        if !self.literal.is_empty() {
            self.parts.push(Part::Literal(std::mem::take(&mut self.literal).into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Value;

    fn exchange() -> Exchange {
        let mut x = Exchange::get("/p?q={http.request.method}", &[("x-v", "v")]);
        x.vars.set("set", Value::Text(Cow::Borrowed(b"{http.request.method}")));
        x.named.set("my_name", Value::Int(7));
        x
    }

    fn render(text: &str, unknown: Unknown) -> String {
        String::from_utf8(Template::compile(text, unknown).render(&exchange()).into_owned()).unwrap()
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn unknown_names_stay_or_vanish() {
        for (text, kept, emptied) in [
            ("plain", "plain", "plain"),
            ("", "", ""),
            ("{http.request.method}", "GET", "GET"),
            ("[{nope.nope}]", "[{nope.nope}]", "[]"),
            ("[{http.vars.nope}]", "[]", "[]"),
            ("{ {} {{http.request.method}} }", "{ {} {GET} }", " } }"),
            ("{http.request.method", "{http.request.method", "{http.request.method"),
            (r"\{m\} {http.request.method}", "{m} GET", "{m} GET"),
            ("{ http.request.method }", "{ http.request.method }", ""),
            ("{nope{http.request.method}}", "{nopeGET}", "}"),
            (r"{a\}b}", "{a}b}", ""),
            ("{http.vars.a{b}", "", ""),
            ("a}b", "a}b", "a}b"),
            (r"a\b\\c", r"a\b\\c", r"a\b\\c"),
            ("{my_name}", "7", "7"),
        ] {
            assert_eq!(render(text, Unknown::Keep), kept, "{text}");
            assert_eq!(render(text, Unknown::Empty), emptied, "{text}");
        }
    }

    #[test]
    fn values_are_never_filled_in_again() {
        assert_eq!(
            render("{http.vars.set} {http.request.uri.query}", Unknown::Keep),
            "{http.request.method} q={http.request.method}"
        );
    }

    #[test]
    fn text_of_one_part_is_borrowed() {
        let x = exchange();
        for text in ["plain", "{http.request.header.X-V}", "{http.request.method}", "{http.vars.set}"] {
            let template = Template::compile(text, Unknown::Keep);
            assert!(matches!(template.render(&x), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn required_values_must_be_there() {
        let x = exchange();
        let required =
            |text| Template::compile(text, Unknown::Empty).render_required(&x).map(|text| text.into_owned());
        assert_eq!(required("a{http.request.method}"), Ok(b"aGET".to_vec()));
        assert_eq!(required("{nope}"), Err(TemplateError::Unknown("{nope}".into())));
        assert_eq!(required("{http.vars.nope}"), Err(TemplateError::Empty("{http.vars.nope}".into())));
    }

    #[test]
    fn header_values_cannot_break_out_of_their_line() {
        assert_eq!(header_value(b" a\r\nX: 1 ").as_bytes(), b"a  X: 1");
        assert_eq!(header_value(b"a\0\x7fb\tc\xff").as_bytes(), b"a  b\tc\xff");
        assert_eq!(header_value(b"\r\n").as_bytes(), b"");
    }
}
