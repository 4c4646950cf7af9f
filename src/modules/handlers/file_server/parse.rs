//! How `file_server` is written in a Caddyfile.

use serde_json::json;

use super::browse::Config as Browse;
use super::hide::Pattern;
use super::precompressed::FORMATS;
use super::{FileServer, NAME, SYNTAX};
use crate::adapt::{Cursor, Error, Helper};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::http::files::clean;

/// How a list of files may be sorted, and in which order.
const SORTS: [&str; 6] = ["name", "namedirfirst", "size", "time", "asc", "desc"];

pub(super) fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
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
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &server))
}

fn subdirective(cursor: &mut Cursor, server: &mut FileServer) -> Result<(), Error> {
    match cursor.val() {
        "fs" if !server.fs.is_empty() => return Err(cursor.err("file system already specified")),
        "fs" => [server.fs] = cursor.args()?,
        "root" => [server.root] = cursor.args()?,
        "hide" => server.hide.extend(list(cursor)?),
        "index" => server.index_names = Some(list(cursor)?),
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
        formats = FORMATS.map(|(name, _)| name.to_owned()).into();
    }
    for format in &formats {
        if !FORMATS.iter().any(|(name, _)| name == format) {
            let id = format!("http.precompressed.{format}");
            let message = format!("getting module named '{id}': module not registered: {id}");
            return Err(cursor.err(message).did_you_mean(format, FORMATS.map(|(name, _)| name)));
        }
        server.precompressed.insert(format.clone(), json!({}));
    }
    server.precompressed_order = formats;
    Ok(())
}

/// Hides the files that the configuration was read from, but for those that are hidden already.
fn hide_caddyfiles(h: &Helper<'_>, hide: &mut Vec<String>) {
    for file in h.caddyfiles() {
        let file = String::from_utf8_lossy(&clean(file.as_bytes())).into_owned();
        let absolute = h.absolute_path(&file).unwrap_or_else(|_| file.clone());
        // A relative pattern is compared as it stands: where it begins is known only when it runs.
        if hide.iter().any(|pattern| Pattern::unanchored(pattern).hides(absolute.as_bytes())) {
            continue;
        }
        // Without a slash, every file of that name would be hidden.
        hide.push(if file.contains('/') { file } else { format!("./{file}") });
    }
}
