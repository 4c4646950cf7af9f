//! `internal`: our own authority.

use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::tls::InternalIssuer;
use crate::module::Module;
use crate::tls::internal_issuer;
use crate::tls::issuance::IssuerType;

pub(super) static MODULE: Module = Module {
    issuer: Some(IssuerType { id: InternalIssuer::NAME, provision: internal_issuer }),
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: InternalIssuer::NAME,
        syntax: "internal {
	ca <name>
	lifetime <duration>
	sign_with_root
}",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut issuer = InternalIssuer::default();
    cursor.next();
    while cursor.next_block(0) {
        match cursor.val() {
            "ca" => [issuer.ca] = cursor.all_args()?,
            "lifetime" => {
                let [text] = cursor.args()?;
                issuer.lifetime = text.parse().map_err(|error| cursor.err(format!("{error}")))?;
            }
            "sign_with_root" => {
                if cursor.next_arg() {
                    return Err(cursor.arg_err());
                }
                issuer.sign_with_root = true;
            }
            word => {
                return Err(cursor
                    .err(format!("unrecognized subdirective '{word}'"))
                    .did_you_mean(word, ["ca", "lifetime", "sign_with_root"]));
            }
        }
    }
    Ok(json!(issuer))
}
