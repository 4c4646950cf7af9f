//! Lists for programs: as JSON, and as text.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::listing::{Item, Listing};
use crate::http::files::Modified;

/// An item as Caddy writes it.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    size: u64,
    url: &'a str,
    mod_time: String,
    mode: u32,
    is_dir: bool,
    is_symlink: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    symlink_path: Option<String>,
}

/// A list as JSON.
pub(super) fn json(listing: &Listing) -> serde_json::Result<Vec<u8>> {
    let mut out = b"[".to_vec();
    for (index, item) in listing.items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let link = item.link_target.as_ref().filter(|link| !link.is_empty());
        let entry = Entry {
            name: &item.name(),
            size: item.bytes,
            url: &item.url(),
            mod_time: timestamp(item.modified).to_string(),
            mode: item.mode,
            is_dir: item.is_folder,
            is_symlink: item.is_link,
            symlink_path: link.map(|link| String::from_utf8_lossy(link).into_owned()),
        };
        out.extend_from_slice(safe_in_html(&serde_json::to_string(&entry)?).as_bytes());
    }
    out.extend_from_slice(b"]\n");
    Ok(out)
}

/// JSON without what a page could take for markup, as Go writes it.
fn safe_in_html(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | char::REPLACEMENT_CHARACTER => {
                _ = write!(out, "\\u{:04x}", u32::from(char))
            }
            char => out.push(char),
        }
    }
    out
}

/// A list as a table of text.
pub(super) fn text(listing: &Listing) -> Vec<u8> {
    let mut rows = vec![
        ["Name".to_owned(), "Size".to_owned(), "Modified".to_owned()],
        ["----".to_owned(), "----".to_owned(), "--------".to_owned()],
    ];
    rows.extend(listing.items.iter().map(|item| {
        let time = timestamp(item.modified).strftime("%B %-d, %Y at %H:%M:%S").to_string();
        [printable(item), human_size(item.bytes), time]
    }));
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (widest + 1).next_multiple_of(TAB)
    };
    let widths = [width(0), width(1)];
    let mut out = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            out.push_str(cell);
            let tabs = (width - cell.chars().count()).div_ceil(TAB);
            out.extend(std::iter::repeat_n('\t', tabs));
        }
        out.push_str(&row[2]);
        out.push('\n');
    }
    out.into_bytes()
}

/// The columns of a table of text stand so far apart, or a multiple of it.
const TAB: usize = 8;

/// A name in one line.
fn printable(item: &Item) -> String {
    item.name()
        .chars()
        .map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char })
        .collect()
}

/// A time as far as times can be written.
pub(super) fn timestamp(modified: Modified) -> Timestamp {
    Timestamp::new(modified.seconds, i32::try_from(modified.nanos).unwrap_or_default()).unwrap_or_default()
}

/// A size for people, in powers of 1024.
pub(in super::super) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let unit = (bytes.ilog2() / 10) as usize;
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let value = (bytes as f64 / (1_u64 << (10 * unit)) as f64 * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&[u8]]) -> Listing {
        let items = names.iter().map(|name| Item {
            name: name.to_vec(),
            bytes: 1536,
            modified: Modified { seconds: 1_700_000_000, nanos: 120_000_000 },
            mode: 0o644,
            is_folder: name.ends_with(b"/"),
            is_link: false,
            link_target: None,
        });
        Listing {
            items: items.collect(),
            modified: Modified { seconds: 0, nanos: 0 },
            folders: 0,
            files: 0,
            bytes: 0,
            bytes_behind_links: 0,
            is_cut: false,
            sort: String::new(),
            order: String::new(),
            offset: 0,
            limit: 0,
        }
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn json_is_caddys() {
        let json = |names: &[&[u8]]| String::from_utf8(json(&listing(names)).unwrap()).unwrap();
        assert_eq!(json(&[]), "[]\n");
        let item = |name: &str, url: &str, is_folder: bool| {
            format!(
                "{{\"name\":\"{name}\",\"size\":1536,\"url\":\"./{url}\",\
                 \"mod_time\":\"2023-11-14T22:13:20.12Z\",\"mode\":420,\"is_dir\":{is_folder},\
                 \"is_symlink\":false}}"
            )
        };
        let expected = [
            item(r"a\u003cb\u003e\u0026ü:c", r"a%3Cb%3E\u0026%C3%BC:c", false),
            item(r"\ufffd/", "%FF/", true),
        ];
        assert_eq!(json(&["a<b>&ü:c".as_bytes(), b"\xff/"]), format!("[{}]\n", expected.join(",")));
    }

    #[test]
    fn text_has_columns_of_tabs() {
        assert_eq!(
            String::from_utf8(text(&listing(&[b"a", b"long-name.txt", b"x\ny"]))).unwrap(),
            "Name\t\tSize\tModified\n----\t\t----\t--------\n\
             a\t\t1.5 KiB\tNovember 14, 2023 at 22:13:20\n\
             long-name.txt\t1.5 KiB\tNovember 14, 2023 at 22:13:20\n\
             x\u{fffd}y\t\t1.5 KiB\tNovember 14, 2023 at 22:13:20\n"
        );
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, expected) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_240, "10 KiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(human_size(bytes), expected);
        }
    }
}
