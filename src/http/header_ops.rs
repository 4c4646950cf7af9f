//! Changes to header fields, compiled once; for requests and answers, here and at proxies.

use std::borrow::Cow;

use http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, UPGRADE};
use smallvec::SmallVec;

use super::regexp::{Regexp, Replacement};
use super::template::{Part, Template, Unknown, header_value};
use super::{AnswerMatcher, Exchange, FieldValue, Fields, Placeholder, ProvisionError, Response, target};
use crate::config::headers as config;

/// Changes to header fields: all deleted, added, set, deleted, replaced, in this order.
#[derive(Debug, Default)]
pub struct HeaderOps {
    add: Box<[(FieldName, Value)]>,
    set: Box<[(FieldName, Value)]>,
    delete: Box<[Template]>,
    replace: Box<[(FieldName, Box<[Replace]>)]>,
}

/// A field's name.
#[derive(Debug)]
enum FieldName {
    Fixed(HeaderName),
    /// With placeholders. What they make may be no name; then nothing is done.
    Dynamic(Template),
}

#[derive(Debug)]
enum Value {
    Fixed(HeaderValue),
    Dynamic(Template),
}

/// A replacement within values.
#[derive(Debug)]
enum Replace {
    Text(Template, Template),
    Regexp(Regexp, Replacement),
    /// A regular expression with placeholders; their values stand for themselves in it.
    DynamicRegexp(Template, Replacement),
}

/// The name that stands for all fields where values are replaced, and where fields are deleted.
const ALL: &str = "*";

impl FieldName {
    fn compile(name: &str) -> Self {
        match name.parse() {
            Ok(name) => Self::Fixed(name),
            Err(_) => Self::Dynamic(Template::compile(name, Unknown::Keep)),
        }
    }

    fn name(&self, x: &Exchange) -> Option<HeaderName> {
        match self {
            Self::Fixed(name) => Some(name.clone()),
            Self::Dynamic(template) => HeaderName::from_bytes(&template.render(x)).ok(),
        }
    }
}

impl Value {
    fn compile(text: &str) -> Self {
        let template = Template::compile(text, Unknown::Keep);
        match template.constant() {
            Some(text) => Self::Fixed(header_value(&text)),
            None => Self::Dynamic(template),
        }
    }

    fn value<'a>(&'a self, x: &'a Exchange) -> FieldValue<'a> {
        match self {
            Self::Fixed(value) => FieldValue::Fixed(value),
            Self::Dynamic(template) => FieldValue::Text(template.render(x)),
        }
    }
}

impl HeaderOps {
    /// Compiles what the configuration says.
    ///
    /// # Errors
    /// A regular expression is malformed, or a replacement has both a text and an expression.
    pub fn compile(config: &config::HeaderOps) -> Result<Self, ProvisionError> {
        let mut replace = Vec::new();
        for (name, replacements) in &config.replace {
            let compiled =
                replacements.iter().enumerate().map(|(index, one)| Replace::compile(one, name, index));
            replace.push((FieldName::compile(name), compiled.collect::<Result<_, _>>()?));
        }
        let added =
            config.add.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        Ok(Self {
            add: added.map(|(name, value)| (FieldName::compile(name), Value::compile(value))).collect(),
            set: config
                .set
                .iter()
                .map(|(name, values)| (FieldName::compile(name), Value::compile(&values.join(","))))
                .collect(),
            delete: config.delete.iter().map(|name| Template::compile(name, Unknown::Keep)).collect(),
            replace: replace.into(),
        })
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.set.is_empty() && self.delete.is_empty() && self.replace.is_empty()
    }

    /// Makes the changes. Placeholders are looked up in `x`.
    pub fn apply<'a>(&'a self, fields: &mut impl Fields<'a>, x: &'a Exchange) {
        let deleted: SmallVec<[Cow<'_, str>; 4]> =
            self.delete.iter().map(|name| lower(name.render(x))).collect();
        // Otherwise what is added would be deleted with the rest.
        if deleted.iter().any(|name| name == ALL) {
            for name in fields.names() {
                fields.remove(&name);
            }
        }
        for (name, value) in &self.add {
            if let Some(name) = name.name(x) {
                fields.append(name, value.value(x));
            }
        }
        for (name, value) in &self.set {
            if let Some(name) = name.name(x) {
                fields.set(name, value.value(x));
            }
        }
        for pattern in deleted.iter().filter(|name| *name != ALL) {
            delete(fields, pattern);
        }
        for (name, replacements) in &self.replace {
            replace(fields, name, replacements, x);
        }
    }

    /// Makes the changes to the request itself. Of several hosts the last one counts, and what is set
    /// here is for the upstream, whatever the client's `Connection` says.
    pub fn apply_to_request(&self, x: &mut Exchange) {
        let mut headers =
            if self.uses(|_| true) { x.headers.clone() } else { std::mem::take(&mut x.headers) };
        self.apply(&mut headers, x);
        if headers.contains_key(CONNECTION) {
            self.claim(&mut headers, x);
        }
        let mut hosts = headers.get_all(HOST).iter();
        if let (Some(_), Some(last)) = (hosts.next(), hosts.next_back().cloned()) {
            headers.insert(HOST, last);
        }
        x.headers = headers;
    }

    /// Takes the fields that are set here out of `Connection`. A client that names one there would
    /// have the proxy remove what an authentication service, say, has found out about it.
    fn claim(&self, headers: &mut HeaderMap, x: &Exchange) {
        let set = self.add.iter().chain(&self.set).filter_map(|(name, _)| name.name(x));
        // These mean nothing without `Connection`.
        let ours: SmallVec<[HeaderName; 4]> = set.filter(|name| *name != UPGRADE && *name != TE).collect();
        let is_ours = |option: &[u8]| {
            ours.iter().any(|name| option.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
        };
        let options = |value: &HeaderValue| value.as_bytes().split(|byte| *byte == b',').any(is_ours);
        if ours.contains(&CONNECTION) || !headers.get_all(CONNECTION).iter().any(options) {
            return;
        }
        let kept: Vec<&[u8]> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter(|option| !is_ours(option))
            .collect();
        match HeaderValue::from_bytes(&kept.join(&b',')) {
            Ok(kept) => drop(headers.insert(CONNECTION, kept)),
            Err(_) => drop(headers.remove(CONNECTION)),
        }
    }

    /// Whether a change depends on a placeholder that is `meant`, or may do so.
    fn uses(&self, meant: impl Fn(&Placeholder) -> bool) -> bool {
        let values = self.add.iter().chain(&self.set).filter_map(|(_, value)| match value {
            Value::Fixed(_) => None,
            Value::Dynamic(template) => Some(template),
        });
        let names = self.add.iter().chain(&self.set).filter_map(|(name, _)| match name {
            FieldName::Fixed(_) => None,
            FieldName::Dynamic(template) => Some(template),
        });
        let mut parts = values.chain(names).chain(&self.delete).flat_map(Template::parts);
        !self.replace.is_empty()
            || parts.any(|part| match part {
                Part::Dynamic(placeholder, _) => meant(placeholder),
                _ => false,
            })
    }
}

fn lower(name: Cow<'_, [u8]>) -> Cow<'_, str> {
    match name {
        Cow::Borrowed(name) => match target::lower_case(name) {
            Cow::Borrowed(name) => target::lossy(name),
            Cow::Owned(name) => Cow::Owned(target::lossy(&name).into_owned()),
        },
        Cow::Owned(name) => Cow::Owned(target::lossy(&target::lower_case(&name)).into_owned()),
    }
}

fn delete<'a>(fields: &mut impl Fields<'a>, pattern: &str) {
    let (first, last) = (pattern.starts_with('*'), pattern.ends_with('*'));
    let text = pattern.trim_matches('*');
    if !first && !last {
        if let Ok(name) = HeaderName::from_bytes(pattern.as_bytes()) {
            fields.remove(&name);
        }
        return;
    }
    for name in fields.names() {
        let meant = match (first, last) {
            (true, true) => name.as_str().contains(text),
            (true, false) => name.as_str().ends_with(text),
            _ => name.as_str().starts_with(text),
        };
        if meant {
            fields.remove(&name);
        }
    }
}

fn replace<'a>(fields: &mut impl Fields<'a>, name: &FieldName, replacements: &'a [Replace], x: &'a Exchange) {
    let all = match name {
        FieldName::Fixed(name) => name.as_str() == ALL,
        FieldName::Dynamic(template) => *template.render(x) == *ALL.as_bytes(),
    };
    let names = if all { fields.names() } else { name.name(x).into_iter().collect() };
    for name in names {
        let old = fields.values(&name);
        let mut new = old.clone();
        for replacement in replacements {
            for value in &mut new {
                if let Cow::Owned(replaced) = replacement.replace(value, x) {
                    *value = replaced;
                }
            }
        }
        if new == old {
            continue;
        }
        fields.remove(&name);
        for value in new {
            fields.append(name.clone(), FieldValue::Text(Cow::Owned(value)));
        }
    }
}

impl Replace {
    fn compile(config: &config::HeaderReplacement, name: &str, index: usize) -> Result<Self, ProvisionError> {
        if config.search_regexp.is_empty() {
            let [search, replace] =
                [&config.search, &config.replace].map(|text| Template::compile(text, Unknown::Keep));
            return Ok(Self::Text(search, replace));
        }
        if !config.search.is_empty() {
            return Err(ProvisionError::invalid(format!(
                "cannot specify both a substring search and a regular expression search for field '{name}'"
            )));
        }
        let with = Replacement::compile(&config.replace, Unknown::Keep);
        let pattern = Template::compile(&config.search_regexp, Unknown::Keep);
        // In a pattern, `{3}` is no placeholder but a repetition.
        let dynamic = |part: &Part| matches!(part, Part::Dynamic(placeholder, _) if !matches!(placeholder, Placeholder::Named(_)));
        if pattern.parts().iter().any(|part| dynamic(part) || matches!(part, Part::Known(_))) {
            return Ok(Self::DynamicRegexp(pattern, with));
        }
        let regexp = Regexp::new(&config.search_regexp).map_err(|error| {
            ProvisionError::invalid(format!("replacement {index} for header field '{name}': {error}"))
        })?;
        Ok(Self::Regexp(regexp, with))
    }

    fn replace<'v>(&self, value: &'v [u8], x: &Exchange) -> Cow<'v, [u8]> {
        match self {
            Self::Text(search, with) => {
                target::replace(value, &search.render(x), &with.render(x), usize::MAX)
            }
            Self::Regexp(regexp, with) => regexp.replace_all(value, with, x),
            Self::DynamicRegexp(pattern, with) => {
                let mut text = String::new();
                for part in pattern.parts() {
                    match part {
                        Part::Literal(literal) => text.push_str(literal),
                        Part::Dynamic(Placeholder::Named(_), written) => text.push_str(written),
                        Part::Known(value) => text.push_str(&regex::escape(&target::lossy(value))),
                        Part::Dynamic(placeholder, _) => {
                            let value = placeholder.value(x).unwrap_or_default();
                            text.push_str(&regex::escape(&target::lossy(&value)));
                        }
                    }
                }
                match Regexp::new(&text) {
                    Ok(regexp) => Cow::Owned(regexp.replace_all(value, with, x).into_owned()),
                    Err(_) => Cow::Borrowed(value),
                }
            }
        }
    }
}

/// Changes to an answer's header fields, and when they are made.
#[derive(Debug)]
pub struct ResponseHeaderOps {
    ops: HeaderOps,
    require: Option<AnswerMatcher>,
    deferred: bool,
}

impl ResponseHeaderOps {
    /// Compiles what the configuration says.
    ///
    /// # Errors
    /// As [`HeaderOps::compile`].
    pub fn compile(config: &config::ResponseHeaderOps) -> Result<Self, ProvisionError> {
        Ok(Self {
            ops: HeaderOps::compile(&config.ops())?,
            require: config.require.as_ref().map(|matcher| matcher.compile()).transpose()?,
            deferred: config.deferred,
        })
    }

    /// Whether the changes wait until the answer is about to be sent.
    pub fn is_deferred(&self) -> bool {
        self.deferred || self.require.is_some()
    }

    /// Makes the changes to the fields gathered for the answer so far.
    pub fn apply_now(&self, x: &mut Exchange) {
        let reads = |placeholder: &Placeholder| {
            matches!(placeholder, Placeholder::ResponseHeader(_) | Placeholder::Named(_))
        };
        let mut headers = match self.ops.uses(reads) {
            true => x.response_headers.clone(),
            false => std::mem::take(&mut x.response_headers),
        };
        self.ops.apply(&mut headers, x);
        x.response_headers = headers;
    }

    /// Makes the changes to an answer, if it is one that they are meant for.
    pub fn apply_to(&self, x: &mut Exchange, response: &mut Response) {
        if self
            .require
            .as_ref()
            .is_some_and(|require| !require.matches(response.status(), response.headers()))
        {
            return;
        }
        // `{http.response.header.*}` is looked up in the exchange.
        x.response_headers = std::mem::take(response.headers_mut());
        self.apply_now(x);
        *response.headers_mut() = std::mem::take(&mut x.response_headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields after the changes, in order of their names.
    fn changed(ops: serde_json::Value, before: &[(&str, &str)]) -> Vec<String> {
        let ops = HeaderOps::compile(&serde_json::from_value(ops).unwrap()).unwrap();
        let x = Exchange::get("/p?q=$1&name=X-Q&star=*", &[("x-v", "v.1")]);
        let mut map = HeaderMap::new();
        for (name, value) in before {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        ops.apply(&mut map, &x);
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut all: Vec<_> = map.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
        all.sort_by(|a, b| a.split(':').next().cmp(&b.split(':').next()));
        all
    }

    #[test]
    fn each_change_is_made() {
        use serde_json::json;
        let before = [("x-a", "old"), ("x-a", "older")];
        for (ops, after) in [
            (json!({"set": {"X-A": ["new"]}}), vec!["x-a: new"]),
            (json!({"set": {"X-A": ["1", "2"]}}), vec!["x-a: 1,2"]),
            (json!({"set": {"X-A": ["{http.request.method} {nope}"]}}), vec!["x-a: GET {nope}"]),
            (json!({"add": {"X-A": ["3", "4"]}}), vec!["x-a: old", "x-a: older", "x-a: 3", "x-a: 4"]),
            (json!({"delete": ["X-A"]}), vec![]),
            (json!({"add": {"{http.request.uri.query.name}": ["1"]}, "delete": ["X-A"]}), vec!["x-q: 1"]),
            (json!({"add": {"no name": ["1"]}, "set": {"": ["1"]}, "delete": ["X-A", "no name"]}), vec![]),
            (
                json!({"replace": {"X-A": [{"search": "old", "replace": "new"}]}}),
                vec!["x-a: new", "x-a: newer"],
            ),
        ] {
            assert_eq!(changed(ops.clone(), &before), after, "{ops}");
        }
    }

    #[test]
    fn names_to_delete_have_wildcards() {
        let before = [("x-foo-1", "a"), ("x-foo-2", "b"), ("x-bar", "c")];
        for (name, left) in [
            ("X-Foo*", vec!["x-bar: c"]),
            ("*-1", vec!["x-bar: c", "x-foo-2: b"]),
            ("*FOO*", vec!["x-bar: c"]),
            ("*", vec!["x-new: 1"]),
        ] {
            let mut ops = serde_json::json!({"delete": [name]});
            if name == "*" {
                ops["set"] = serde_json::json!({"X-New": ["1"]});
            }
            assert_eq!(changed(ops, &before), left, "{name}");
        }
    }

    #[test]
    fn values_are_replaced_by_regular_expressions() {
        let replaced = |name: &str, search: &str, with: &str| {
            let ops = serde_json::json!({"replace": {name: [{"search_regexp": search, "replace": with}]}});
            changed(ops, &[("x-t", "aabbv.1"), ("x-u", "v21")])
        };
        assert_eq!(replaced("X-T", "(a+)(b+)", "$2$1"), ["x-t: bbaav.1", "x-u: v21"]);
        assert_eq!(replaced("*", "v", "w"), ["x-t: aabbw.1", "x-u: w21"]);
        assert_eq!(replaced("X-T", "^a{2}", "-"), ["x-t: -bbv.1", "x-u: v21"]);
        // A value stands for itself, in the pattern and in what takes its place.
        assert_eq!(replaced("*", "{http.request.header.X-V}", "-"), ["x-t: aabb-", "x-u: v21"]);
        assert_eq!(replaced("X-U", "(2)1", "{http.request.uri.query.q}"), ["x-t: aabbv.1", "x-u: v$1"]);
    }

    #[test]
    fn bad_replacements_are_refused() {
        let error = |replacement: serde_json::Value| {
            let ops = serde_json::json!({"replace": {"X-A": [replacement]}});
            HeaderOps::compile(&serde_json::from_value(ops).unwrap()).unwrap_err().to_string()
        };
        assert!(
            error(serde_json::json!({"search_regexp": "("}))
                .starts_with("replacement 0 for header field 'X-A': ")
        );
        assert!(
            error(serde_json::json!({"search": "a", "search_regexp": "b"}))
                .starts_with("cannot specify both")
        );
    }

    #[test]
    fn a_new_host_is_the_requests() {
        let mut x = Exchange::get("/", &[("host", "old")]);
        let ops = serde_json::json!({"add": {"Host": ["new"]}});
        HeaderOps::compile(&serde_json::from_value(ops).unwrap()).unwrap().apply_to_request(&mut x);
        assert_eq!(x.host(), "new");
        assert_eq!(x.headers.get_all(HOST).iter().count(), 1);
    }

    #[test]
    fn answers_are_changed_if_they_are_meant() {
        let ops = serde_json::json!({
            "set": {"X-Old": ["{http.response.header.X-A}"]},
            "require": {"status_code": [4]},
        });
        let ops = ResponseHeaderOps::compile(&serde_json::from_value(ops).unwrap()).unwrap();
        assert!(ops.is_deferred());
        for (status, changed) in [(404, true), (200, false)] {
            let mut x = Exchange::get("/", &[]);
            let mut response = Response::default();
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert("x-a", HeaderValue::from_static("1"));
            ops.apply_to(&mut x, &mut response);
            assert_eq!(response.headers().get("x-old").is_some_and(|value| value == "1"), changed);
        }
    }
}
