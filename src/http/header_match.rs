//! Matching of a request's header fields, and of texts with wildcards at their ends.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::HeaderName;
use http::header::HOST;
use memchr::memmem;

use super::constant_time;
use super::sensitive::is_environment_value;
use super::template::{Part, Template, Unknown};
use super::{Exchange, Placeholder};

/// Header fields that must all be as they are said to be.
#[derive(Debug)]
pub struct HeaderMatch(Box<[(Option<HeaderName>, Allowed)]>);

/// What a field may hold.
#[derive(Debug)]
enum Allowed {
    /// It must not be there.
    Absent,
    /// It must be there, with any value.
    Present,
    /// One of its values must match one of these.
    OneOf(Box<[TextPattern]>),
}

/// A text, or the begin, end or middle of one.
///
/// A `*` at either end is a wildcard, but only where it is written in the configuration: one that
/// came out of a placeholder stands for itself. And a key that is not set matches nothing.
#[derive(Debug)]
pub struct TextPattern {
    kind: PatternKind,
    text: PatternText,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatternKind {
    Any,
    Exact,
    Prefix,
    Suffix,
    Contains,
    /// The same, of a text that holds a key.
    ContainsSecret,
}

#[derive(Debug)]
enum PatternText {
    Fixed(Box<[u8]>),
    Dynamic(Template),
    /// It holds the value of an environment variable that is empty.
    Never,
}

impl TextPattern {
    /// Compiles a value with wildcards at its ends, and placeholders.
    pub fn compile(text: &str) -> Self {
        Self::from_parts(Template::compile(text, Unknown::Empty).parts().to_vec(), true)
    }

    /// Compiles a value that may be `*` for any, has placeholders, and no other wildcards.
    pub fn compile_whole(text: &str) -> Self {
        Self::from_parts(Template::compile(text, Unknown::Empty).parts().to_vec(), false)
    }

    fn from_parts(mut parts: Vec<Part>, wildcards: bool) -> Self {
        if let [Part::Literal(text)] = &*parts
            && &**text == "*"
        {
            return Self { kind: PatternKind::Any, text: PatternText::Fixed(Box::default()) };
        }
        let (mut first, mut last) = (false, false);
        if wildcards {
            first = strip(parts.first_mut(), |text| text.strip_prefix('*'));
            last = strip(parts.last_mut(), |text| text.strip_suffix('*'));
        }
        let kind = match (first, last) {
            (true, true) if parts.iter().any(holds_secret) => PatternKind::ContainsSecret,
            (true, true) => PatternKind::Contains,
            (true, false) => PatternKind::Suffix,
            (false, true) => PatternKind::Prefix,
            (false, false) => PatternKind::Exact,
        };
        let unset = |part: &Part| matches!(part, Part::Known(value) if value.is_empty());
        let text = if parts.iter().any(unset) {
            PatternText::Never
        } else {
            let template = Template::from_parts(parts, Unknown::Empty);
            match template.constant() {
                Some(text) => PatternText::Fixed(text.into()),
                None => PatternText::Dynamic(template),
            }
        };
        Self { kind, text }
    }

    /// Whether any value matches.
    pub fn is_any(&self) -> bool {
        self.kind == PatternKind::Any
    }

    /// Whether it holds a value from the environment or a file, as a placeholder or pasted in.
    pub fn is_secret(text: &str) -> bool {
        let template = Template::compile(text, Unknown::Empty);
        template.parts().iter().any(Part::is_secret)
            || template.constant().is_some_and(|text| is_environment_value(&text))
    }

    /// Whether `value` matches; placeholders are looked up in `x`.
    pub fn matches(&self, value: &[u8], x: &Exchange) -> bool {
        let text = match &self.text {
            PatternText::Fixed(text) => Cow::Borrowed(&**text),
            PatternText::Dynamic(template) => {
                if has_empty_file(template) {
                    return false;
                }
                template.render(x)
            }
            PatternText::Never => return false,
        };
        let len = text.len();
        match self.kind {
            PatternKind::Any => true,
            PatternKind::Exact => constant_time::equal(value, &text),
            PatternKind::Prefix => value.get(..len).is_some_and(|part| constant_time::equal(part, &text)),
            PatternKind::Suffix => {
                value.len().checked_sub(len).is_some_and(|at| constant_time::equal(&value[at..], &text))
            }
            PatternKind::Contains => memmem::find(value, &text).is_some(),
            PatternKind::ContainsSecret => constant_time::contains(value, &text),
        }
    }
}

/// Whether a part is, or holds, a value from the environment or a file.
fn holds_secret(part: &Part) -> bool {
    part.is_secret() || matches!(part, Part::Literal(text) if is_environment_value(text.as_bytes()))
}

/// Takes a wildcard off a literal part; false if there is none.
fn strip(part: Option<&mut Part>, strip: impl Fn(&str) -> Option<&str>) -> bool {
    let Some(Part::Literal(text)) = part else { return false };
    let Some(rest) = strip(text).map(Into::into) else { return false };
    *text = rest;
    true
}

/// Whether a file that the text depends on is empty or missing.
fn has_empty_file(template: &Template) -> bool {
    template.parts().iter().any(|part| match part {
        Part::Dynamic(Placeholder::File(file), _) => file.is_empty(),
        _ => false,
    })
}

impl HeaderMatch {
    /// Compiles what the configuration says of a request's fields, with placeholders in the values.
    pub fn compile(fields: &BTreeMap<String, Option<Vec<String>>>) -> Self {
        let field = |(name, values): (&String, &Option<Vec<String>>)| {
            let allowed = match values.as_deref() {
                None => Allowed::Absent,
                Some([]) => Allowed::Present,
                Some(values) => {
                    Allowed::OneOf(values.iter().map(|value| TextPattern::compile(value)).collect())
                }
            };
            // What is no name is never there.
            (name.parse().ok(), allowed)
        };
        Self(fields.iter().map(field).collect())
    }

    /// Whether a request's header fields match.
    pub fn matches(&self, x: &Exchange) -> bool {
        self.0.iter().all(|(name, allowed)| match name {
            // An empty Host is as good as none.
            Some(name) if *name == HOST && x.host().is_empty() => matches!(allowed, Allowed::Absent),
            name => allowed.matches(x, name.as_ref()),
        })
    }
}

impl Allowed {
    fn matches(&self, x: &Exchange, name: Option<&HeaderName>) -> bool {
        let Some(name) = name else { return matches!(self, Self::Absent) };
        match self {
            Self::Absent => !x.headers.contains_key(name),
            Self::Present => x.headers.contains_key(name),
            Self::OneOf(patterns) => {
                let mut values = x.headers.get_all(name).iter();
                values.any(|value| patterns.iter().any(|pattern| pattern.matches(value.as_bytes(), x)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        let x = Exchange::get("/?star=*&empty=", &[("x-v", "v")]);
        TextPattern::compile(pattern).matches(value.as_bytes(), &x)
    }

    #[test]
    fn a_star_at_an_end_is_a_wildcard() {
        for (pattern, yes, no) in [
            ("one", "one", "ONE"),
            ("pre*", "prefix", "apre"),
            ("pre*", "pre", "pr"),
            ("*suf", "a suf", "suffix"),
            ("*in*", "line", "i n"),
            ("a*b", "a*b", "axb"),
            ("{http.request.header.X-V}*", "vw", "wv"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
        assert!(matches("*", "") && matches("**", "") && matches("**", "x"));
    }

    #[test]
    fn a_star_from_a_placeholder_is_a_star() {
        assert!(matches("{http.request.uri.query.star}", "*"));
        assert!(!matches("{http.request.uri.query.star}", "anything"));
        assert!(matches("sk-{literal.*}", "sk-*"));
        assert!(!matches("sk-{literal.*}", "sk-abc"));
        assert!(matches("x{http.request.uri.query.star}*", "x*y"));
        assert!(!matches("x{http.request.uri.query.star}*", "xay"));
    }

    #[test]
    fn an_unset_key_matches_nothing() {
        for pattern in [
            "{env.NOT_SET}",
            "Bearer {env.NOT_SET}",
            "*{env.NOT_SET}",
            "{env.NOT_SET}*",
            "{file./nonexistent}",
        ] {
            for value in ["", "Bearer ", "Bearer", "x"] {
                assert!(!matches(pattern, value), "{pattern} {value:?}");
            }
        }
    }

    #[test]
    fn a_placeholder_without_value_is_empty() {
        assert!(matches("{http.request.uri.query.empty}", ""));
        assert!(matches("a{http.vars.none}", "a"));
        assert!(!matches("a{http.vars.none}", "ab"));
    }

    fn request(fields: serde_json::Value, headers: &[(&str, &str)]) -> bool {
        let fields = serde_json::from_value(fields).unwrap();
        HeaderMatch::compile(&fields).matches(&Exchange::get("/", headers))
    }

    #[test]
    fn fields_are_there_or_not() {
        use serde_json::json;
        assert!(request(json!({"X-A": null}), &[]));
        assert!(!request(json!({"X-A": null}), &[("x-a", "")]));
        assert!(request(json!({"X-A": []}), &[("x-a", "")]));
        assert!(!request(json!({"X-A": []}), &[]));
        assert!(request(
            json!({"X-A": ["1"], "X-B": ["2", "3"]}),
            &[("x-a", "1"), ("x-b", "0"), ("x-b", "3")]
        ));
        assert!(!request(json!({"X-A": ["1"], "X-B": ["2"]}), &[("x-a", "1")]));
        assert!(!request(json!({"X-A": ["one"]}), &[("x-a", "zzz, one")]));
        assert!(request(json!({"no name": null, "Host": ["h"]}), &[("host", "h")]));
        assert!(!request(json!({"no name": ["*"]}), &[]));
    }
}
