//! `http`: certificates that a service answers with.

use serde::Serialize;
use serde_json::{Value, json};

use super::{NAMESPACE, TAG, unrecognized};
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::{Duration, ModuleJson};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "http",
        syntax: "http [<urls...>] {
	endpoints <urls...>
	tls {
		ca <module> ...
		insecure_skip_verify
		handshake_timeout <duration>
		server_name <name>
		renegotiation never|once|freely
	}
}",
        parse,
    }],
    ..Module::EMPTY
};

/// The JSON form.
#[derive(Default, Serialize)]
struct Pool {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    endpoints: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
}

/// How TLS is spoken with the service.
#[derive(Default, Serialize)]
struct Tls {
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<ModuleJson>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    insecure_skip_verify: bool,
    #[serde(skip_serializing_if = "crate::config::is_default")]
    handshake_timeout: Duration,
    #[serde(skip_serializing_if = "String::is_empty")]
    server_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    renegotiation: String,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    reader.cursor.next();
    let mut pool = Pool { endpoints: reader.cursor.remaining_args(), tls: None };
    let nesting = reader.cursor.nesting();
    while reader.cursor.next_block(nesting) {
        match reader.cursor.val() {
            "endpoints" => {
                let urls = reader.cursor.remaining_args();
                if urls.is_empty() {
                    return Err(reader.cursor.arg_err());
                }
                pool.endpoints.extend(urls);
            }
            "tls" if pool.tls.is_some() => return Err(reader.cursor.err("tls block already defined")),
            "tls" => pool.tls = Some(parse_tls(reader)?),
            _ => return Err(unrecognized(&reader.cursor, &["endpoints", "tls"])),
        }
    }
    Ok(json!(pool))
}

fn parse_tls(reader: &mut SubmoduleReader<'_>) -> Result<Tls, Error> {
    let mut tls = Tls::default();
    let nesting = reader.cursor.nesting();
    while reader.cursor.next_block(nesting) {
        let cursor = &mut reader.cursor;
        match cursor.val() {
            "ca" => {
                if !cursor.next_arg() {
                    return Err(cursor.arg_err());
                }
                tls.ca = Some(reader.submodule(NAMESPACE, TAG)?);
            }
            "insecure_skip_verify" => tls.insecure_skip_verify = true,
            "handshake_timeout" => {
                let [text] = cursor.args()?;
                tls.handshake_timeout = text
                    .parse()
                    .map_err(|error| cursor.err(format!("bad timeout value '{text}': {error}")))?;
            }
            "server_name" => [tls.server_name] = cursor.args()?,
            "renegotiation" => {
                [tls.renegotiation] = cursor.args()?;
                if !["never", "once", "freely"].contains(&tls.renegotiation.as_str()) {
                    let message = format!("unrecognized renegotiation level: {}", tls.renegotiation);
                    return Err(cursor.err(message));
                }
            }
            _ => {
                let known =
                    ["ca", "insecure_skip_verify", "handshake_timeout", "server_name", "renegotiation"];
                return Err(unrecognized(cursor, &known));
            }
        }
    }
    Ok(tls)
}
