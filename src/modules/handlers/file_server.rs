//! `file_server`: files. It can be written so far, and not run.
//!
//! ```caddyfile
//! :8080 {
//! 	root * /srv
//! 	file_server {
//! 		hide .git
//! 	}
//! }
//! ```

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::adapt::{Cursor, Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::{ModuleJson, WeakString, is_default};
use crate::http::files::Glob;
use crate::module::Module;

const SYNTAX: &str = "file_server [<matcher>] [browse] {
	fs <filesystem>
	root <path>
	hide <files...>
	index <files...>
	browse [<template_file>] {
		reveal_symlinks
		sort <by> [<order>]
		file_limit <count>
	}
	precompressed [<formats...>]
	status <status>
	disable_canonical_uris
	pass_thru
	etag_file_extensions <extensions...>
}";

pub(super) static MODULE: Module = Module {
    directives: &[Directive { name: "file_server", syntax: SYNTAX, parse: Parse::Handler(parse) }],
    ..Module::EMPTY
};

/// The formats that files may lie ready in, in the order that counts unless another one is given.
const PRECOMPRESSED: [&str; 3] = ["br", "zstd", "gzip"];

/// How a list of files may be sorted, and in which order.
const SORTS: [&str; 6] = ["name", "namedirfirst", "size", "time", "asc", "desc"];

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/file_server/>).
#[derive(Default, Serialize)]
struct FileServer {
    #[serde(skip_serializing_if = "is_default")]
    fs: String,
    #[serde(skip_serializing_if = "is_default")]
    root: String,
    #[serde(skip_serializing_if = "is_default")]
    hide: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    index_names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    browse: Option<Browse>,
    #[serde(skip_serializing_if = "is_default")]
    canonical_uris: Option<bool>,
    #[serde(skip_serializing_if = "WeakString::is_empty")]
    status_code: WeakString,
    #[serde(skip_serializing_if = "is_default")]
    pass_thru: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    precompressed: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "is_default")]
    precompressed_order: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    etag_file_extensions: Vec<String>,
}

/// Lists of files.
#[derive(Default, Serialize)]
struct Browse {
    #[serde(skip_serializing_if = "is_default")]
    template_file: String,
    #[serde(skip_serializing_if = "is_default")]
    reveal_symlinks: bool,
    #[serde(skip_serializing_if = "is_default")]
    sort: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    file_limit: i64,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut server = FileServer::default();
    cursor.next();
    match cursor.remaining_args().as_slice() {
        [] => {}
        [word] if word == "browse" => server.browse = Some(Browse::default()),
        _ => return Err(cursor.arg_err()),
    }
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        subdirective(cursor, &mut server)?;
    }
    hide_caddyfiles(h, &mut server.hide);
    Ok(ModuleJson::new(HANDLER_TAG, "file_server", &server))
}

fn subdirective(cursor: &mut Cursor, server: &mut FileServer) -> Result<(), Error> {
    match cursor.val() {
        "fs" if !server.fs.is_empty() => return Err(cursor.err("file system already specified")),
        "fs" => [server.fs] = cursor.args()?,
        "root" => [server.root] = cursor.args()?,
        "hide" => server.hide.extend(list(cursor)?),
        "index" => server.index_names = list(cursor)?,
        "browse" if server.browse.is_some() => return Err(cursor.err("browsing is already configured")),
        "browse" => server.browse = Some(browse(cursor)?),
        "precompressed" => precompressed(cursor, server)?,
        "status" => [server.status_code.0] = cursor.args()?,
        "disable_canonical_uris" => server.canonical_uris = Some(!flag(cursor)?),
        "pass_thru" => server.pass_thru = flag(cursor)?,
        "etag_file_extensions" => server.etag_file_extensions = list(cursor)?,
        _ => {
            let known = SYNTAX.lines().skip(1).filter(|line| !line.starts_with("\t\t"));
            let known = known.filter_map(|line| line.split_whitespace().next());
            return Err(unknown(cursor, known));
        }
    }
    Ok(())
}

fn unknown<'n>(cursor: &Cursor, known: impl IntoIterator<Item = &'n str>) -> Error {
    let word = cursor.val();
    cursor.err(format!("unknown subdirective '{word}'")).did_you_mean(word, known)
}

fn list(cursor: &mut Cursor) -> Result<Vec<String>, Error> {
    let list = cursor.remaining_args();
    if list.is_empty() { Err(cursor.arg_err()) } else { Ok(list) }
}

fn flag(cursor: &mut Cursor) -> Result<bool, Error> {
    if cursor.next_arg() { Err(cursor.arg_err()) } else { Ok(true) }
}

fn browse(cursor: &mut Cursor) -> Result<Browse, Error> {
    let mut browse = Browse::default();
    if cursor.next_arg() {
        cursor.val().clone_into(&mut browse.template_file);
    }
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        match cursor.val() {
            "reveal_symlinks" if browse.reveal_symlinks => {
                return Err(cursor.err("Symlinks path reveal is already enabled"));
            }
            "reveal_symlinks" => browse.reveal_symlinks = true,
            "sort" => {
                while cursor.next_arg() {
                    let by = cursor.val();
                    if !SORTS.contains(&by) {
                        let message = format!("unknown sort option '{by}'");
                        return Err(cursor.err(message).did_you_mean(by, SORTS));
                    }
                    browse.sort.push(by.to_owned());
                }
            }
            "file_limit" => {
                let args = cursor.remaining_args();
                let [count] = args.as_slice() else {
                    return Err(cursor.err("file_limit should have an integer value"));
                };
                if browse.file_limit != 0 {
                    return Err(cursor.err("file_limit is already enabled"));
                }
                browse.file_limit =
                    count.parse().map_err(|_| cursor.err("file_limit should have an integer value"))?;
            }
            _ => return Err(unknown(cursor, ["reveal_symlinks", "sort", "file_limit"])),
        }
    }
    Ok(browse)
}

fn precompressed(cursor: &mut Cursor, server: &mut FileServer) -> Result<(), Error> {
    let mut formats = cursor.remaining_args();
    if formats.is_empty() {
        formats = PRECOMPRESSED.map(str::to_owned).into();
    }
    for format in &formats {
        if !PRECOMPRESSED.contains(&format.as_str()) {
            let id = format!("http.precompressed.{format}");
            let message = format!("getting module named '{id}': module not registered: {id}");
            return Err(cursor.err(message).did_you_mean(format, PRECOMPRESSED));
        }
        server.precompressed.insert(format.clone(), json!({}));
    }
    server.precompressed_order = formats;
    Ok(())
}

/// Hides the files that the configuration was read from, but for those that are hidden already.
fn hide_caddyfiles(h: &Helper<'_>, hide: &mut Vec<String>) {
    for file in h.caddyfiles() {
        let file = clean(&file);
        let absolute = h.absolute_path(&file).unwrap_or_else(|_| file.clone());
        if hide.iter().any(|pattern| hides(pattern, &absolute)) {
            continue;
        }
        // Without a slash, every file of that name would be hidden.
        hide.push(if file.contains('/') { file } else { format!("./{file}") });
    }
}

/// The shortest form of a path, without `.`, `..` and doubled `/`; links are not looked at.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let is_absolute = path.starts_with('/');
    for part in path.split('/') {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", Some(last)) if *last != ".." => drop(parts.pop()),
            ("..", _) if is_absolute => {}
            _ => parts.push(part),
        }
    }
    format!("{}{}", if is_absolute { "/" } else { "" }, parts.join("/"))
}

/// Whether a pattern hides a file: one without a slash by any part of its path, another one by the path or what it
/// begins with.
fn hides(pattern: &str, file: &str) -> bool {
    let glob = Glob::compile(pattern.chars().map(|ch| (ch, true)));
    let matches = |text: &str| glob.as_ref().is_some_and(|glob| glob.matches(text));
    if !pattern.contains('/') {
        return file.split('/').any(matches);
    }
    file.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('/')) || matches(file)
}

#[cfg(test)]
mod tests {
    use super::{clean, hides};

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(clean("./a//b/../c"), "a/c");
        assert_eq!(clean("../x"), "../x");
        assert_eq!(clean("/../x/."), "/x");
    }

    #[test]
    fn names_hide_at_any_depth_and_paths_only_there() {
        assert!(hides("Caddyfile", "/srv/Caddyfile"));
        assert!(hides("*.conf", "/srv/a/b.conf"));
        assert!(hides("/srv", "/srv/Caddyfile"));
        assert!(hides("/srv/*", "/srv/Caddyfile"));
        assert!(!hides("Caddy", "/srv/Caddyfile"));
        assert!(!hides("/sr", "/srv/Caddyfile"));
        assert!(!hides("/srv/*", "/srv/a/Caddyfile"));
    }
}
