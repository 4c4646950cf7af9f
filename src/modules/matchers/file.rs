//! `file`: requests for which a file exists. It can be written so far, and not run.

use serde::Serialize;
use serde_json::{Value, json};

use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher_syntax: &[MatcherSyntax {
        name: "file",
        syntax: "file [<files...>] {
	root <path>
	try_files <files...>
	try_policy first_exist|first_exist_fallback|smallest_size|largest_size|most_recently_modified
	split_path <delimiters...>
}",
        parse,
    }],
    ..Module::EMPTY
};

/// How one of several files is chosen.
pub(in crate::modules) const TRY_POLICIES: &[&str] =
    &["first_exist", "first_exist_fallback", "largest_size", "smallest_size", "most_recently_modified"];

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/match/file/>).
#[derive(Default, Serialize)]
struct File {
    #[serde(skip_serializing_if = "String::is_empty")]
    root: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    try_files: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    try_policy: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    split_path: Vec<String>,
}

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut file = File::default();
    while cursor.next() {
        file.try_files.extend(cursor.remaining_args());
        while cursor.next_block(0) {
            match cursor.val() {
                "root" => [file.root] = cursor.args()?,
                "try_files" => {
                    file.try_files.extend(cursor.remaining_args());
                    if file.try_files.is_empty() {
                        return Err(cursor.arg_err());
                    }
                }
                "try_policy" => [file.try_policy] = cursor.args()?,
                "split_path" => {
                    file.split_path = cursor.remaining_args();
                    if file.split_path.is_empty() {
                        return Err(cursor.arg_err());
                    }
                }
                word => {
                    return Err(cursor
                        .err(format!("unrecognized subdirective: {word}"))
                        .did_you_mean(word, ["root", "try_files", "try_policy", "split_path"]));
                }
            }
        }
    }
    Ok(json!(file))
}
