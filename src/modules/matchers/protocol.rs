//! `protocol`: requests by `http`, `https`, `grpc`, or a version such as `http/1.1` or `http/2+`.
//!
//! ```caddyfile
//! :8080 {
//! 	@plain protocol http
//! 	respond @plain "No TLS here"
//! }
//! ```

use http::Version;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::decode;
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::{Exchange, HandlerError, Matcher, MatcherType, Provision, ProvisionError};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax {
        name: NAME,
        syntax: "protocol http|https|grpc|http/<version>[+]",
        parse,
    }],
    schemas: &[ModuleSchema::of::<String>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "protocol";

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut protocol = String::new();
    while cursor.next() {
        if !cursor.next_arg() {
            return Err(cursor.err("expected exactly one protocol"));
        }
        cursor.val().clone_into(&mut protocol);
    }
    Ok(json!(protocol))
}

enum Protocol {
    Tls(bool),
    Grpc,
    Exactly(Version),
    AtLeast(Version),
    /// Caddy takes any word, and one that it doesn't know matches nothing.
    Nothing,
}

fn provision(json: &Value, _: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let name: String = decode(NAME, json)?;
    let version = |text: &str| match text {
        "http/1.0" => Some(Version::HTTP_10),
        "http/1.1" => Some(Version::HTTP_11),
        "http/2" => Some(Version::HTTP_2),
        "http/3" => Some(Version::HTTP_3),
        _ => None,
    };
    Ok(Box::new(match (name.as_str(), name.strip_suffix('+')) {
        ("http", _) => Protocol::Tls(false),
        ("https", _) => Protocol::Tls(true),
        ("grpc", _) => Protocol::Grpc,
        (_, Some(least)) => version(least).map_or(Protocol::Nothing, Protocol::AtLeast),
        (exact, None) => version(exact).map_or(Protocol::Nothing, Protocol::Exactly),
    }))
}

impl Matcher for Protocol {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        Ok(match self {
            Self::Tls(tls) => x.conn.tls.is_some() == *tls,
            Self::Grpc => {
                let content = x.headers.get(CONTENT_TYPE);
                content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
            }
            Self::Exactly(version) => x.version == *version,
            Self::AtLeast(version) => x.version >= *version,
            Self::Nothing => false,
        })
    }

    fn cost_ns(&self) -> u32 {
        3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{matches, routes};

    #[test]
    fn it_is_written_as_in_caddy() {
        assert_eq!(
            routes("@m protocol http/1.1+\nrespond @m ok")[0]["match"],
            json!([{"protocol": "http/1.1+"}])
        );
    }

    #[test]
    fn versions_and_tls_are_told_apart() {
        for (protocol, v10, v11, v2) in [
            ("http", true, true, true),
            ("https", false, false, false),
            ("http/1.0", true, false, false),
            ("http/1.0+", true, true, true),
            ("http/1.1", false, true, false),
            ("http/1.1+", false, true, true),
            ("http/2", false, false, true),
            ("http/2+", false, false, true),
            ("http/3+", false, false, false),
            ("http/1", false, false, false),
            ("grpc", true, true, true),
        ] {
            for (version, expected) in
                [(Version::HTTP_10, v10), (Version::HTTP_11, v11), (Version::HTTP_2, v2)]
            {
                let mut x = Exchange::get("/", &[("content-type", "application/grpc+proto")]);
                x.version = version;
                assert_eq!(matches(NAME, &json!(protocol), &mut x), expected, "{protocol} {version:?}");
            }
        }
    }
}
