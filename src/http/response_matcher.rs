//! Conditions on an answer: its status and header fields.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, StatusCode};

use super::ProvisionError;
use crate::adapt::{Cursor, Error};
pub use crate::config::headers::ResponseMatcher;
use crate::config::{IntegerError, canonical_header_name, parse_integer};

impl ResponseMatcher {
    /// Reads a matcher's definition, whose name is the cursor's current token. Name and matcher are
    /// the result.
    ///
    /// ```text
    /// @name [status <code>...] [header [!]<field> [<value>]]
    /// @name {
    ///     status <code>...
    ///     header [!]<field> [<value>]
    /// }
    /// ```
    ///
    /// # Errors
    /// It says something else.
    pub fn parse(cursor: &mut Cursor) -> Result<(String, Self), Error> {
        let mut cursor = cursor.new_from_next_segment();
        cursor.next();
        let name = cursor.val().to_owned();
        let mut matcher = Self::default();
        let nesting = cursor.nesting();
        while cursor.next_arg() || cursor.next_block(nesting) {
            match cursor.val() {
                "header" => parse_header(cursor.new_from_next_segment(), &mut matcher.headers)?,
                "status" => {
                    let codes = cursor.remaining_args();
                    if codes.is_empty() {
                        return Err(cursor.arg_err());
                    }
                    let statuses = matcher.status_code.get_or_insert_default();
                    for code in codes {
                        statuses
                            .push(parse_status(&code).map_err(|error| {
                                cursor.err(format!("bad status value '{code}': {error}"))
                            })?);
                    }
                }
                other => {
                    let message = format!("unrecognized response matcher {other}");
                    return Err(cursor.err(message).did_you_mean(cursor.val(), ["header", "status"]));
                }
            }
        }
        Ok((name, matcher))
    }

    /// The matcher made ready.
    ///
    /// # Errors
    /// A field has no possible name.
    pub fn compile(&self) -> Result<AnswerMatcher, ProvisionError> {
        let mut fields = Vec::with_capacity(self.headers.len());
        for (name, values) in &self.headers {
            let name: HeaderName =
                name.parse().map_err(|_| ProvisionError::invalid(format!("invalid header name '{name}'")))?;
            fields.push((name, Expected::new(values.as_deref())));
        }
        Ok(AnswerMatcher { statuses: self.status_code.clone().map(Into::into), fields: fields.into() })
    }
}

/// `404`, or `4xx` for all that begin with 4.
///
/// # Errors
/// It is no number.
pub fn parse_status(text: &str) -> Result<i64, IntegerError> {
    let class = text.strip_suffix("xx").filter(|class| class.len() == 1);
    parse_integer(class.unwrap_or(text))
}

/// Whether `status` is `expected`, or of that class if it is a class's digit.
pub fn status_matches(status: StatusCode, expected: i64) -> bool {
    let status = i64::from(status.as_u16());
    status == expected || (expected < 100 && status / 100 == expected)
}

fn parse_header(
    mut cursor: Cursor,
    headers: &mut BTreeMap<String, Option<Vec<String>>>,
) -> Result<(), Error> {
    // The word `header` itself, and what follows on its line as further ones.
    while cursor.next() {
        if !cursor.next_arg() {
            return Err(cursor.err("malformed header matcher: expected field"));
        }
        let field = cursor.val().to_owned();
        if let Some(absent) = field.strip_prefix('!') {
            if absent.is_empty() {
                return Err(
                    cursor.err("malformed header matcher: must have field name following ! character")
                );
            }
            headers.insert(absent.to_owned(), None);
            if cursor.next_arg() {
                let message = "malformed header matcher: null matching headers cannot have a field value";
                return Err(cursor.err(message));
            }
        } else {
            if !cursor.next_arg() {
                return Err(cursor.err("malformed header matcher: expected both field and value"));
            }
            let value = cursor.val().to_owned();
            let values = headers.entry(canonical_header_name(&field).into_owned()).or_default();
            values.get_or_insert_default().push(value);
        }
        if cursor.next_block(0) {
            return Err(cursor.err("malformed header matcher: blocks are not supported"));
        }
    }
    Ok(())
}

/// A [`ResponseMatcher`] made ready.
#[derive(Debug)]
pub struct AnswerMatcher {
    statuses: Option<Box<[i64]>>,
    fields: Box<[(HeaderName, Expected)]>,
}

#[derive(Debug)]
enum Expected {
    Present,
    Absent,
    OneOf(Box<[Pattern]>),
}

#[derive(Debug)]
enum Pattern {
    Any,
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Part(Box<[u8]>),
}

impl AnswerMatcher {
    /// Whether an answer of this status and these fields is meant.
    pub fn matches(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let statuses = self.statuses.as_deref();
        statuses.is_none_or(|all| all.iter().any(|expected| status_matches(status, *expected)))
            && self.fields.iter().all(|(name, expected)| expected.accepts(headers, name))
    }
}

impl Expected {
    fn new(values: Option<&[String]>) -> Self {
        match values {
            None => Self::Absent,
            Some([]) => Self::Present,
            Some(values) => Self::OneOf(values.iter().map(|value| Pattern::new(value)).collect()),
        }
    }

    fn accepts(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        match self {
            Self::Present => headers.contains_key(name),
            Self::Absent => !headers.contains_key(name),
            Self::OneOf(patterns) => headers
                .get_all(name)
                .iter()
                .any(|value| patterns.iter().any(|pattern| pattern.matches(value.as_bytes()))),
        }
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let bytes = |text: &str| text.as_bytes().into();
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            _ if text == "*" => Self::Any,
            (Some(rest), Some(_)) => Self::Part(bytes(&rest[..rest.len() - 1])),
            (Some(suffix), None) => Self::Suffix(bytes(suffix)),
            (None, Some(prefix)) => Self::Prefix(bytes(prefix)),
            (None, None) => Self::Exact(bytes(text)),
        }
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) => value == &**text,
            Self::Prefix(text) => value.starts_with(text),
            Self::Suffix(text) => value.ends_with(text),
            Self::Part(text) => memchr::memmem::find(value, text).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_grammar::{NoFiles, ProcessEnv};

    use super::*;

    fn read(text: &str) -> Result<serde_json::Value, String> {
        let file = format!(":80 {{\n{text}\n}}");
        let parsed = tollgate_grammar::parse("Caddyfile", &file, &ProcessEnv, &NoFiles).unwrap();
        let mut cursor = Cursor::new(parsed.server_blocks[0].segments[0].clone());
        cursor.next();
        let (name, matcher) = ResponseMatcher::parse(&mut cursor).map_err(|error| error.message())?;
        assert_eq!(name, "@m");
        Ok(serde_json::to_value(matcher).unwrap())
    }

    #[test]
    fn definitions_are_read() {
        let json = serde_json::json!({
            "status_code": [404, 5],
            "headers": {"X-A": ["1", "2*"], "x-b": null},
        });
        assert_eq!(
            read("@m {\n\tstatus 404 5xx\n\theader x-a 1\n\theader x-a 2*\n\theader !x-b\n}"),
            Ok(json)
        );
        assert_eq!(read("@m status 2xx"), Ok(serde_json::json!({"status_code": [2]})));
        assert_eq!(read("@m header X-A *"), Ok(serde_json::json!({"headers": {"X-A": ["*"]}})));
    }

    #[test]
    fn other_definitions_are_not() {
        for (text, says) in [
            ("@m status", "wrong argument count"),
            ("@m status abc", "bad status value 'abc'"),
            ("@m header", "expected field"),
            ("@m header X-A", "expected both field and value"),
            ("@m header ! x", "must have field name"),
            ("@m header !X-A x", "cannot have a field value"),
            ("@m path /x", "unrecognized response matcher path"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    fn matches(matcher: serde_json::Value, status: u16, headers: &[(&'static str, &'static str)]) -> bool {
        let matcher: ResponseMatcher = serde_json::from_value(matcher).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        matcher.compile().unwrap().matches(StatusCode::from_u16(status).unwrap(), &map)
    }

    #[test]
    fn statuses_match_by_number_or_class() {
        let matcher = || serde_json::json!({"status_code": [404, 5]});
        for (status, expected) in [(404, true), (403, false), (500, true), (599, true), (200, false)] {
            assert_eq!(matches(matcher(), status, &[]), expected, "{status}");
        }
        assert!(matches(serde_json::json!({}), 200, &[]));
        assert!(!matches(serde_json::json!({"status_code": []}), 200, &[]));
    }

    #[test]
    fn fields_match_by_value_presence_or_absence() {
        let one = |values: serde_json::Value| serde_json::json!({"headers": {"X-A": values}});
        let two = [("x-a", "first"), ("x-a", "second")];
        for (values, expected) in [
            (serde_json::json!(["first"]), true),
            (serde_json::json!(["third", "sec*"]), true),
            (serde_json::json!(["*cond"]), true),
            (serde_json::json!(["*irs*"]), true),
            (serde_json::json!(["*"]), true),
            (serde_json::json!(["*x*", "first, second"]), false),
            (serde_json::json!([]), true),
            (serde_json::json!(null), false),
        ] {
            assert_eq!(matches(one(values.clone()), 200, &two), expected, "{values}");
        }
        assert!(matches(one(serde_json::json!(null)), 200, &[]));
        assert!(!matches(one(serde_json::json!([])), 200, &[]));
        assert!(!matches(one(serde_json::json!(["*"])), 200, &[]));
    }
}
