//! Placeholders, compiled once: `"Bearer {env.KEY}"` becomes parts, and a request only fills them.

use std::borrow::Cow;

use http::HeaderName;

use super::upstream_info::UpstreamField;
use super::{Exchange, Value};

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

/// A placeholder by what it asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Placeholder {
    /// `{http.request.method}`
    Method,
    /// `{http.request.uri}`
    Uri,
    /// `{http.request.header.NAME}`
    Header(HeaderName),
    /// `{http.reverse_proxy.*}`
    Upstream(UpstreamField),
    /// Anything a handler may have left in [`Exchange::vars`] under this name.
    Named(Box<str>),
}

impl Template {
    /// Compiles `text`. `\{` stands for a brace; a brace without its partner is just text.
    pub fn compile(text: &str, unknown: Unknown) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '\\']) {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix('\\') {
                let brace = after.starts_with(['{', '}']);
                literal.push_str(if brace { &after[..1] } else { "\\" });
                rest = &after[usize::from(brace)..];
                continue;
            }
            let Some(end) = rest.find('}') else { break };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(part(&rest[1..end], &rest[..=end]));
            rest = &rest[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
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
        if let [part] = &*self.parts {
            return self.value(part, x);
        }
        let mut all = Vec::new();
        for part in &self.parts {
            all.extend_from_slice(&self.value(part, x));
        }
        Cow::Owned(all)
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

fn part(name: &str, written: &str) -> Part {
    if let Some(variable) = name.strip_prefix("env.") {
        use std::os::unix::ffi::OsStringExt as _;
        // An unset variable is known to be empty, as in Caddy.
        let value = std::env::var_os(variable).unwrap_or_default();
        return Part::Known(value.into_vec().into());
    }
    Part::Dynamic(Placeholder::parse(name), written.into())
}

impl Placeholder {
    /// The placeholder called `name`, without its braces.
    pub fn parse(name: &str) -> Self {
        match name {
            "http.request.method" => Self::Method,
            "http.request.uri" => Self::Uri,
            _ if let Some(field) = upstream_field(name) => Self::Upstream(field),
            _ => match name.strip_prefix("http.request.header.").map(str::parse) {
                Some(Ok(header)) => Self::Header(header),
                _ => Self::Named(name.into()),
            },
        }
    }

    /// Its value for one request; `None` if there is no such placeholder.
    pub fn value<'a>(&self, x: &'a Exchange) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Method => Some(Cow::Borrowed(x.method.as_str().as_bytes())),
            Self::Uri => Some(
                x.uri
                    .path_and_query()
                    .map_or(Cow::Borrowed(b"/"), |target| Cow::Borrowed(target.as_str().as_bytes())),
            ),
            Self::Header(name) => Some(join(x.headers.get_all(name).iter().map(|value| value.as_bytes()))),
            Self::Upstream(field) => field.value(x.upstream.as_deref()?),
            Self::Named(name) => x.vars.get(name).map(Value::to_text),
        }
    }
}

fn upstream_field(name: &str) -> Option<UpstreamField> {
    UpstreamField::parse(name.strip_prefix("http.reverse_proxy.")?)
}

/// Several values of one header field or query key, joined as Caddy joins them.
pub(super) fn join<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Cow<'a, [u8]> {
    let Some(first) = values.next() else { return Cow::Borrowed(b"") };
    let Some(second) = values.next() else { return Cow::Borrowed(first) };
    let mut all = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        all.push(b',');
        all.extend_from_slice(value);
    }
    Cow::Owned(all)
}
