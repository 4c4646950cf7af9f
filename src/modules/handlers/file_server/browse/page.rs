//! A list for people: a page without scripts, which needs nothing from anywhere else.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::forms::{human_size, timestamp};
use super::listing::{Item, Listing};
use crate::http::target;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#6a6f78;--link:#0b57d0}\
@media(prefers-color-scheme:dark){:root{--soft:#9aa3af;--link:#8ab4f8}}\
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:0 auto;padding:1.5rem 1rem}\
h1{font-size:1.25rem;font-weight:600;margin:0;overflow-wrap:anywhere}\
p{color:var(--soft);margin:.25rem 0 1rem}\
a{color:var(--link);text-decoration:none}a:hover,a:focus-visible{text-decoration:underline}\
table{width:100%;border-collapse:collapse}\
th,td{padding:.35rem .5rem;text-align:left;border-bottom:1px solid var(--line)}\
th{font-weight:600}th a{color:inherit}\
td:first-child{overflow-wrap:anywhere;width:100%}\
td:nth-child(2),td:nth-child(3),th:nth-child(2){white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums}\
td small{color:var(--soft)}tbody tr:hover{background:#8881}\
@media(max-width:40rem){th:nth-child(3),td:nth-child(3){display:none}}";

/// The page may use its own style, and nothing else.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    let hash = STANDARD.encode(hash.as_ref());
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
});

/// The page as a template, for those who want one like it.
pub fn template() -> String {
    include_str!("page.html").replace("@policy@", &POLICY).replace("@style@", STYLE)
}

/// The columns: how each is sorted by, and what it is called.
const COLUMNS: [(&str, &str); 3] = [("name", "Name"), ("size", "Size"), ("time", "Modified")];

/// A list as a page. `path` is the folder's path as it was asked for.
pub(super) fn html(listing: &Listing, path: &[u8]) -> Vec<u8> {
    let title = escape(&target::lossy(path)).into_owned();
    let mut out = String::with_capacity(4096 + listing.items.len() * 256);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n<header>\n<nav aria-label=\"Folders\">\n<h1>{}</h1>\n</nav>\n<p>{}</p>\n</header>\n\
         <main>\n<table>\n<thead>\n<tr>{}</tr>\n</thead>\n<tbody>\n",
        breadcrumbs(path),
        summary(listing),
        heads(listing)
    );
    if path != b"/" {
        out.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    listing.items.iter().for_each(|item| row(&mut out, item));
    out.push_str("</tbody>\n</table>\n</main>\n</body>\n</html>\n");
    out.into_bytes()
}

/// The folders above, each a link; relative, because a prefix of the path may have been taken off.
fn breadcrumbs(path: &[u8]) -> String {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    let mut out = String::new();
    for (index, name) in std::iter::once(&b""[..]).chain(names.iter().copied()).enumerate() {
        let link = match names.len() - index {
            0 => "./".to_owned(),
            above => "../".repeat(above),
        };
        let current = if index == names.len() { " aria-current=\"page\"" } else { "" };
        let _ = write!(out, "<a href=\"{link}\"{current}>{}/</a>", escape(&target::lossy(name)));
    }
    out
}

fn summary(listing: &Listing) -> String {
    let count =
        |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let mut out = format!(
        "{}, {}, {}",
        count(listing.folders, "folder", "folders"),
        count(listing.files, "file", "files"),
        human_size(listing.bytes_behind_links)
    );
    if listing.items.len() < listing.folders + listing.files {
        let first = listing.offset + 1;
        let _ = write!(out, "; {first} to {} are shown", listing.offset + listing.items.len());
    }
    if listing.is_cut {
        out.push_str("; there is more than is listed");
    }
    out
}

/// The heads of the columns, which sort by them, and the other way round if they do already.
fn heads(listing: &Listing) -> String {
    let mut out = String::new();
    for (by, title) in COLUMNS {
        let is_sorted = listing.sort == by || (by == "name" && listing.sort == "namedirfirst");
        let is_down = listing.order == "desc";
        let (sorted, mark) = match (is_sorted, is_down) {
            (false, _) => ("", ""),
            (true, false) => (" aria-sort=\"ascending\"", " <span aria-hidden=\"true\">\u{2191}</span>"),
            (true, true) => (" aria-sort=\"descending\"", " <span aria-hidden=\"true\">\u{2193}</span>"),
        };
        let by = if is_sorted && by == "name" { &listing.sort } else { by };
        let order = if is_sorted && !is_down { "desc" } else { "asc" };
        let _ = write!(
            out,
            "<th scope=\"col\"{sorted}><a href=\"?sort={by}&amp;order={order}\">{title}{mark}</a></th>"
        );
    }
    out
}

fn row(out: &mut String, item: &Item) {
    let name = item.name();
    let (url, name) = (escape(&item.url()).into_owned(), escape(&name));
    let link = match &item.link_target {
        Some(target) => format!(" <small>\u{2192} {}</small>", escape(&target::lossy(target))),
        None if item.is_link => " <small>link</small>".to_owned(),
        None => String::new(),
    };
    let size = if item.is_folder { "\u{2014}".to_owned() } else { human_size(item.bytes) };
    let time = timestamp(item.modified);
    let _ = writeln!(
        out,
        "<tr><td><a href=\"{url}\">{name}</a>{link}</td><td>{size}</td>\
         <td><time datetime=\"{}\">{}</time></td></tr>",
        time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        time.strftime("%Y-%m-%d %H:%M")
    );
}

/// Text as it may stand in a page, and in its attributes.
fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '>', '"', '\'', '&']) && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            char if char.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            char => out.push(char),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::super::listing::View;
    use super::*;
    use crate::http::files::Modified;

    fn page(names: &[&str], sort: &str, order: &str, path: &str) -> String {
        let modified = Modified { seconds: 1_700_000_000, nanos: 0 };
        let items = names.iter().map(|name| Item {
            name: name.as_bytes().to_vec(),
            bytes: 1,
            modified,
            mode: 0,
            is_folder: name.ends_with('/'),
            is_link: name.starts_with("link"),
            link_target: name.starts_with("link<").then(|| b"<there>".to_vec()),
        });
        let mut listing = Listing {
            items: items.collect(),
            modified,
            folders: 1,
            files: names.len(),
            bytes: 3,
            bytes_behind_links: 2048,
            is_cut: names.len() == 3,
            sort: String::new(),
            order: String::new(),
            offset: 0,
            limit: 0,
        };
        listing.arrange(&View { sort: sort.into(), order: order.into(), ..View::default() });
        String::from_utf8(html(&listing, path.as_bytes())).unwrap()
    }

    #[test]
    fn names_are_text() {
        let page = page(&["<script>'\"&", "link<b>", "a\nb"], "name", "asc", "/x<y/");
        assert!(
            page.contains("<a href=\"./%3Cscript%3E%27%22&amp;\">&lt;script&gt;&#39;&quot;&amp;</a>"),
            "{page}"
        );
        assert!(page.contains("link&lt;b&gt;</a> <small>\u{2192} &lt;there&gt;</small>"), "{page}");
        assert!(page.contains(">a\u{fffd}b</a>") && page.contains("there is more"), "{page}");
        assert!(page.contains("<title>/x&lt;y/</title>") && !page.contains("<script"), "{page}");
    }

    #[test]
    fn a_page_shows_the_way_and_the_order() {
        let sorted = page(&["a/", "b"], "namedirfirst", "asc", "/one/two/");
        assert!(sorted.contains(
            "<a href=\"../../\">/</a><a href=\"../\">one/</a><a href=\"./\" aria-current=\"page\">two/</a>"
        ));
        assert!(
            sorted.contains("aria-sort=\"ascending\"><a href=\"?sort=namedirfirst&amp;order=desc\">Name")
        );
        assert!(sorted.contains("<a href=\"?sort=size&amp;order=asc\">Size</a>"));
        assert!(sorted.contains("1 folder, 2 files, 2.0 KiB") && sorted.contains("<a href=\"../\">../</a>"));
        let root = page(&["a/"], "time", "desc", "/");
        assert!(root.contains("aria-sort=\"descending\"><a href=\"?sort=time&amp;order=asc\">Modified"));
        assert!(!root.contains(">../</a>") && root.contains("aria-current=\"page\">/</a>"));
    }

    #[test]
    fn the_page_allows_its_own_style_only() {
        assert!(POLICY.starts_with("default-src 'none'; style-src 'sha256-") && !STYLE.contains("url("));
    }
}
