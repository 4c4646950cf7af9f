//! `encode`: answers are compressed. It can be written so far, and not run.
//!
//! ```caddyfile
//! :8080 {
//! 	encode zstd gzip
//! 	respond "text that is long enough"
//! }
//! ```

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::{ModuleJson, is_default};
use crate::http::ResponseMatcher;
use crate::module::Module;
use crate::modules::encoders;

const SYNTAX: &str = "encode [<matcher>] [<formats...>] {
	gzip [<level>]
	zstd [<level>] {
		level <level>
		disable_checksum
	}
	minimum_length <bytes>
	match [status <codes...>] [header <field> [<value>]]
}";

pub(super) static MODULE: Module = Module {
    directives: &[Directive { name: "encode", syntax: SYNTAX, parse: Parse::Handler(parse) }],
    ..Module::EMPTY
};

/// What is said if nothing is: the formats in the order of preference.
const DEFAULT: [&str; 2] = ["zstd", "gzip"];

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/encode/>).
#[derive(Default, Serialize)]
struct Encode {
    encodings: BTreeMap<String, Value>,
    prefer: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    minimum_length: i64,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matcher: Option<ResponseMatcher>,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let vocabulary = h.vocabulary();
    let cursor = &mut h.cursor;
    let mut encode = Encode::default();
    cursor.next();
    let mut formats = cursor.remaining_args();
    while cursor.next_block(0) {
        match cursor.val() {
            "minimum_length" => {
                let [text] = cursor.args()?;
                encode.minimum_length = text
                    .parse()
                    .map_err(|_| cursor.err(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))?;
            }
            "match" => encode.matcher = Some(ResponseMatcher::parse(cursor)?.1),
            name => {
                let name = name.to_owned();
                let encoding = vocabulary.submodule_value(cursor, encoders::NAMESPACE)?;
                encode.encodings.insert(name.clone(), encoding);
                encode.prefer.push(name);
            }
        }
    }
    if encode.prefer.is_empty() && formats.is_empty() {
        formats = DEFAULT.map(str::to_owned).into();
    }
    for format in formats {
        let known = vocabulary.submodule_names(encoders::NAMESPACE);
        if !known.contains(&format.as_str()) {
            let id = format!("{}.{format}", encoders::NAMESPACE);
            let message = format!("finding encoder module '': module not registered: {id}");
            return Err(cursor.err(message).did_you_mean(&format, known));
        }
        encode.encodings.insert(format.clone(), json!({}));
        encode.prefer.push(format);
    }
    Ok(ModuleJson::new(HANDLER_TAG, "encode", &encode))
}
