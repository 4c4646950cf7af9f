//! `fastcgi`: FastCGI, for PHP and the like. It can be written so far, and not run.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::http::NAMESPACE;
use crate::adapt::{Cursor, Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::{Duration, is_default};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: NAME, syntax: SYNTAX, parse }],
    written_only: &[NAME],
    ..Module::EMPTY
};

/// The name in JSON.
pub(in crate::modules) const NAME: &str = "fastcgi";

const SYNTAX: &str = "fastcgi {
	root <path>
	split <delimiters...>
	env <key> <value>
	resolve_root_symlink
	dial_timeout <duration>
	read_timeout <duration>
	write_timeout <duration>
	capture_stderr
}";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/reverse_proxy/transport/fastcgi/>).
#[derive(Default, Serialize)]
pub(in crate::modules) struct FastCgi {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(in crate::modules) root: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::modules) split_path: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(in crate::modules) resolve_root_symlink: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::modules) env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(in crate::modules) dial_timeout: Duration,
    #[serde(skip_serializing_if = "is_default")]
    pub(in crate::modules) read_timeout: Duration,
    #[serde(skip_serializing_if = "is_default")]
    pub(in crate::modules) write_timeout: Duration,
    #[serde(skip_serializing_if = "is_default")]
    pub(in crate::modules) capture_stderr: bool,
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut transport = FastCgi::default();
    cursor.next();
    while cursor.next_block(0) {
        match cursor.val() {
            "root" => [transport.root] = cursor.args()?,
            "split" => {
                transport.split_path = cursor.remaining_args();
                if transport.split_path.is_empty() {
                    return Err(cursor.arg_err());
                }
            }
            "env" => {
                let [key, value] = cursor.all_args()?;
                transport.env.insert(key, value);
            }
            "resolve_root_symlink" => transport.resolve_root_symlink = flag(cursor)?,
            "dial_timeout" => transport.dial_timeout = timeout(cursor)?,
            "read_timeout" => transport.read_timeout = timeout(cursor)?,
            "write_timeout" => transport.write_timeout = timeout(cursor)?,
            "capture_stderr" => transport.capture_stderr = flag(cursor)?,
            word => {
                let known = SYNTAX.lines().skip(1).filter_map(|line| line.split_whitespace().next());
                return Err(cursor
                    .err(format!("unrecognized subdirective {word}"))
                    .did_you_mean(word, known));
            }
        }
    }
    Ok(json!(transport))
}

fn flag(cursor: &mut Cursor) -> Result<bool, Error> {
    if cursor.next_arg() { Err(cursor.arg_err()) } else { Ok(true) }
}

/// Reads a duration, the next word on the line.
pub(in crate::modules) fn timeout(cursor: &mut Cursor) -> Result<Duration, Error> {
    let [text] = cursor.args()?;
    text.parse().map_err(|error| cursor.err(format!("bad timeout value {text}: {error}")))
}
