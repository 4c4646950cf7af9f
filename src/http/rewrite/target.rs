//! A new target: path, query or both.

use std::borrow::Cow;

use super::super::placeholder::{Placeholder, RequestField};
use super::super::target::{canonical_path, escape_path, escape_query, escape_segments, unescape};
use super::super::template::{Part, Template, Unknown};
use super::super::{Exchange, HandlerError};

/// What the target becomes. Parts that are not named stay.
#[derive(Debug)]
pub(super) struct NewTarget {
    path: Option<Template>,
    query: Option<Vec<Component>>,
}

/// A key or a value of the new query.
#[derive(Debug)]
struct Component {
    text: Template,
    /// Whether it begins a pair; else it is what stands behind a `=`.
    begins_pair: bool,
}

/// The placeholder for the path of a file that was found.
const FILE_FOUND: &str = "http.matchers.file.relative";

impl NewTarget {
    pub(super) fn compile(uri: &str) -> Self {
        // A fragment is never sent.
        let uri = uri.split('#').next().unwrap_or_default();
        let (path, query) = match uri.split_once('?') {
            Some((path, query)) => (path, Some(components(query))),
            None => (uri, None),
        };
        let path = (!path.is_empty()).then(|| Template::compile(path, Unknown::Empty));
        Self { path, query }
    }

    pub(super) fn apply(&self, x: &mut Exchange) -> Result<(), HandlerError> {
        let mut injected = None;
        let path = match &self.path {
            None => canonical_path(x.uri.path().as_bytes()).into_owned(),
            Some(template) => {
                let text = template.render_with(x, path_value);
                let text = text.split(|byte| *byte == b'#').next().unwrap_or_default();
                let (path, query) = match memchr::memchr(b'?', text) {
                    Some(at) => (&text[..at], Some(&text[at + 1..])),
                    None => (text, None),
                };
                injected = query.map(<[u8]>::to_vec);
                let decoded = unescape(path).unwrap_or(Cow::Borrowed(path));
                escape_path(&decoded).into_owned()
            }
        };
        let explicit = self.query.as_ref().map(|components| render(components, x));
        let query = match (explicit, injected) {
            // What is written counts more than what a value brought with it.
            (Some(explicit), None) => Some(explicit),
            (Some(explicit), _) if !explicit.is_empty() => Some(explicit),
            // Braces from a value are no placeholders, here as for whoever reads the query next.
            (_, Some(injected)) => Some(joined(&without_braces(&injected))),
            (None, None) => x.uri.query().map(|query| query.as_bytes().to_vec()),
        };
        x.set_target(&path, query.as_deref().filter(|query| !query.is_empty()))
    }
}

/// The path as a value must be escaped, so that a `?` or `%` in it stays part of it.
fn path_value<'a>(part: &Part, value: Cow<'a, [u8]>, x: &'a Exchange) -> Cow<'a, [u8]> {
    match part {
        Part::Dynamic(Placeholder::Request(RequestField::Path), _) => canonical_path(x.uri.path().as_bytes()),
        Part::Dynamic(Placeholder::Named(name), _) if &**name == FILE_FOUND => {
            Cow::Owned(escape_segments(&value).into_owned())
        }
        _ => value,
    }
}

/// Takes a query apart at `=` and `&`.
fn components(query: &str) -> Vec<Component> {
    let mut components = Vec::new();
    let (mut rest, mut begins_pair) = (query, true);
    while !rest.is_empty() {
        let end = rest.find(['=', '&']).unwrap_or(rest.len());
        let text = Template::compile(&rest[..end], Unknown::Empty);
        components.push(Component { text, begins_pair });
        begins_pair = rest[end..].starts_with('&');
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    components
}

fn render(components: &[Component], x: &Exchange) -> Vec<u8> {
    let rendered = components.iter().map(|component| {
        let value = |part: &Part, value: Cow<'_, [u8]>, _: &Exchange| match part {
            // A whole query is escaped already.
            Part::Dynamic(Placeholder::Request(RequestField::Query), _) if component.begins_pair => {
                value.into_owned()
            }
            _ => escape_query(&value).into_owned(),
        };
        let text = component.text.render_with(x, |part, text, x| Cow::Owned(value(part, text, x)));
        (text.into_owned(), component.begins_pair)
    });
    join(rendered)
}

/// A query that came with a value, without empty pairs.
fn joined(query: &[u8]) -> Vec<u8> {
    let mut components = Vec::new();
    let (mut rest, mut begins_pair) = (query, true);
    while !rest.is_empty() {
        let end = memchr::memchr2(b'=', b'&', rest).unwrap_or(rest.len());
        components.push((rest[..end].to_vec(), begins_pair));
        begins_pair = rest.get(end) == Some(&b'&');
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    join(components.into_iter())
}

fn join(components: impl Iterator<Item = (Vec<u8>, bool)>) -> Vec<u8> {
    let mut query = Vec::new();
    for (text, begins_pair) in components {
        match begins_pair {
            true if !query.is_empty() && !text.is_empty() => query.push(b'&'),
            true => {}
            false => query.push(b'='),
        }
        query.extend_from_slice(&text);
    }
    query
}

fn without_braces(query: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(query.len());
    for byte in query {
        match byte {
            b'{' => out.extend_from_slice(b"%7B"),
            b'}' => out.extend_from_slice(b"%7D"),
            _ => out.push(*byte),
        }
    }
    out
}
