//! Files: how a request's path becomes one below a root, and what is looked at on the blocking pool.

mod body;
mod glob;
mod kept;
mod open;
mod types;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

pub use body::{FileBody, Piece};
pub use glob::{Glob, escape, expand};
pub use kept::{find_kept, keep};
pub use open::{Identity, Info, Kind, Modified, Wait, open, read_all, read_at, stat};
pub use types::{by_extension, load as load_types};

use super::{Exchange, Part, Template, target};

/// The name of the file system that is there without being configured: that of the machine.
const DEFAULT_FILE_SYSTEM: &[u8] = b"default";

/// Whether there is a file system of this name; an empty one is the machine's.
pub fn is_file_system(name: &[u8]) -> bool {
    let name = name.trim_ascii();
    name.is_empty() || name == DEFAULT_FILE_SYSTEM
}

/// These bytes as a path.
pub fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A root for one request; what is empty in it stands for the working directory.
pub fn render_root<'a>(root: &'a Template, x: &'a Exchange) -> Cow<'a, [u8]> {
    render_below(root, x, b".")
}

/// A path for one request, with `empty` for placeholders without a value.
///
/// A placeholder among other text may come from a client, as in `/srv/{host}`. Then it names something
/// below that text, and never leads up from there.
pub fn render_below<'a>(path: &'a Template, x: &'a Exchange, empty: &'static [u8]) -> Cow<'a, [u8]> {
    let is_all = path.parts().len() == 1;
    path.render_with(x, |part, value, _| match part {
        _ if value.is_empty() => Cow::Borrowed(empty),
        Part::Dynamic(..) if !is_all && leads_up(&value) => {
            let inside = clean(&[b"/", &*value].concat()).into_owned();
            Cow::Owned(inside[1..].to_vec())
        }
        _ => value,
    })
}

fn leads_up(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|segment| segment == b"..")
}

/// The shortest form of a path without a slash at its end, as Go's `path.Clean`; links are not looked at.
pub fn clean(path: &[u8]) -> Cow<'_, [u8]> {
    if path.is_empty() {
        return Cow::Borrowed(b".");
    }
    let without_slash =
        |path: &[u8]| if path.len() > 1 && path.ends_with(b"/") { path.len() - 1 } else { path.len() };
    match target::clean_path(path, true) {
        Cow::Borrowed(path) => Cow::Borrowed(&path[..without_slash(path)]),
        Cow::Owned(mut path) => {
            if path == b"./" {
                path.pop();
            }
            path.truncate(without_slash(&path));
            Cow::Owned(path)
        }
    }
}

/// A path below `root`. Whatever stands in `path`, it never leads out of there; a slash at its end stays, but
/// for one that is all of it, which is the root as it is written.
pub fn join(root: &[u8], path: &[u8]) -> Vec<u8> {
    let inside = clean(&[b"/", path].concat()).into_owned();
    let root = if root.is_empty() { b".".as_slice() } else { root };
    let inside = if inside == b"/" { b"".as_slice() } else { &inside };
    let mut joined = match (&*clean(root), inside) {
        (b".", [_, relative @ ..]) => relative.to_vec(),
        (b"/", [_, ..]) => inside.to_vec(),
        (root, inside) => [root, inside].concat(),
    };
    if path.len() > 1 && path.ends_with(b"/") && !joined.ends_with(b"/") {
        joined.push(b'/');
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    // What Go's path.Clean makes of them.
    #[test]
    fn paths_are_cleaned() {
        for (path, expected) in [
            ("", "."),
            ("/", "/"),
            ("//", "/"),
            ("a/", "a"),
            ("./", "."),
            ("./a", "a"),
            ("/a/../b/", "/b"),
            ("../a", "../a"),
            ("a/..", "."),
            ("/..", "/"),
        ] {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn placeholders_lead_down_only() {
        let root = Template::compile("/srv/{http.request.header.X}/www", crate::http::Unknown::Empty);
        let all = Template::compile("{http.request.header.X}", crate::http::Unknown::Empty);
        for (value, expected) in [
            ("a", "/srv/a/www"),
            ("..", "/srv//www"),
            ("../../etc", "/srv/etc/www"),
            ("a/../../b", "/srv/b/www"),
            ("..a/b..", "/srv/..a/b../www"),
            ("", "/srv/./www"),
        ] {
            let x = Exchange::get("/", &[("x", value)]);
            assert_eq!(render_root(&root, &x), expected.as_bytes(), "{value}");
        }
        assert_eq!(render_root(&all, &Exchange::get("/", &[("x", "../y")])), b"../y".as_slice());
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        for (root, path, expected) in [
            ("/srv", "/a/b", "/srv/a/b"),
            ("/srv/", "a/", "/srv/a/"),
            ("/srv", "/../../etc/passwd", "/srv/etc/passwd"),
            ("/srv", "/..", "/srv"),
            ("/srv", "/a/../../..//etc/", "/srv/etc/"),
            ("/srv", "/..\\..\\x", "/srv/..\\..\\x"),
            (".", "/a", "a"),
            ("", "/", "."),
            ("/", "/a", "/a"),
            ("/", "/", "/"),
            ("sub", "/", "sub"),
            ("sub", "//", "sub/"),
            ("/srv", "/", "/srv"),
        ] {
            assert_eq!(join(root.as_bytes(), path.as_bytes()), expected.as_bytes(), "{root} {path}");
        }
    }
}
