//! `tls`: requests that came over TLS; with `early_data`, those that came before the handshake's end.
//!
//! ```caddyfile
//! :8080 {
//! 	@secure tls
//! 	respond @secure "over TLS"
//! }
//! ```

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::decode;
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::{Exchange, HandlerError, Matcher, MatcherType, Provision, ProvisionError};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax { name: NAME, syntax: "tls [early_data]", parse }],
    schemas: &[ModuleSchema::of::<Tls>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "tls";

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut tls = json!({});
    while cursor.next() {
        if cursor.next_arg() {
            match cursor.val() {
                "early_data" => tls["handshake_complete"] = json!(false),
                other => {
                    let message = format!("unrecognized option '{other}'");
                    return Err(cursor.err(message).did_you_mean(cursor.val(), ["early_data"]));
                }
            }
        }
        if cursor.next_arg() {
            return Err(cursor.arg_err());
        }
        if cursor.next_block(0) {
            return Err(cursor.err("malformed tls matcher: blocks are not supported yet"));
        }
    }
    Ok(tls)
}

#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Tls {
    /// Whether the handshake must have ended, or must not have.
    handshake_complete: Option<bool>,
}

fn provision(json: &Value, _: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    Ok(Box::new(decode::<Tls>(NAME, json)?))
}

impl Matcher for Tls {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        // A request is read only after the handshake: early data is not taken.
        Ok(x.conn.tls.is_some() && self.handshake_complete != Some(false))
    }

    fn cost_ns(&self) -> u32 {
        3
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::ConnInfo;
    use crate::modules::testing::{matches, routes};

    #[test]
    fn only_requests_over_tls_match() {
        let mut plain = Exchange::get("/", &[]);
        let mut secure = Exchange::get("/", &[]);
        secure.conn = Arc::new(ConnInfo::new(None, None, Some(Arc::default())));
        for (line, expected) in [("tls", true), ("tls early_data", false)] {
            let json = routes(&format!("@m {line}\nrespond @m ok"))[0]["match"][0]["tls"].take();
            assert!(!matches(NAME, &json, &mut plain));
            assert_eq!(matches(NAME, &json, &mut secure), expected, "{line}");
        }
    }
}
