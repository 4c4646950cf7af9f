//! `transport fastcgi`: FastCGI, for PHP and the like.
//!
//! ```caddyfile
//! :8080 {
//! 	reverse_proxy unix//run/php/php-fpm.sock {
//! 		transport fastcgi {
//! 			root  /srv/app
//! 			split .php
//! 		}
//! 	}
//! }
//! ```

mod run;
mod variables;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Cursor, Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::schema::ModuleSchema;
use crate::config::{Duration, is_default};
use crate::module::Module;

pub use run::{FastCgiTransport, NoAnswer};

use run::Script;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: NAME, syntax: SYNTAX, parse }],
    schemas: &[ModuleSchema::of::<FastCgi>("http.reverse_proxy.transport", NAME)],
    ..Module::EMPTY
};

/// The name in JSON.
pub const NAME: &str = "fastcgi";

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
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FastCgi {
    /// Where scripts are; the site's root unless given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub root: String,
    /// What a script's name ends with, so that the rest of the path is told from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub split_path: Vec<String>,
    /// Whether the root is named as what its links lead to.
    #[serde(skip_serializing_if = "is_default")]
    pub resolve_root_symlink: bool,
    /// Further variables, with placeholders.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// A connection must stand within this time; 3 seconds unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub dial_timeout: Duration,
    /// The responder must send something within this time whenever we wait for it.
    #[serde(skip_serializing_if = "is_default")]
    pub read_timeout: Duration,
    /// The responder must take something within this time whenever we send.
    #[serde(skip_serializing_if = "is_default")]
    pub write_timeout: Duration,
    /// Whether what it complains of is logged.
    #[serde(skip_serializing_if = "is_default")]
    pub capture_stderr: bool,
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
