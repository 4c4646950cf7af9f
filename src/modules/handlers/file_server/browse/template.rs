//! Pages by a template of the configuration: what its `.` is, besides what it is in all templates.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::super::super::templates::{Data, time_value};
use super::forms::{human_size, timestamp};
use super::listing::{Item, Listing};
use crate::gotemplate::{Error, Object, Value};
use crate::http::files::{Kind, Wait, open, read_all};
use crate::http::target;
use crate::log::Layout;

/// A template may be this long.
const TEMPLATE_BYTES_MAX: u64 = 1 << 20;

/// Reads a template; for the blocking pool. It is read anew for each list, so that a change shows.
pub(super) fn read(path: &str) -> io::Result<Bytes> {
    let (file, info) = open(path.as_bytes(), Wait::AsNeeded)?;
    if info.kind != Kind::File || info.bytes > TEMPLATE_BYTES_MAX {
        return Err(io::Error::other("the template of browse is no file, or too long"));
    }
    read_all(&file, usize::try_from(info.bytes).unwrap_or_default(), Wait::AsNeeded).map(Bytes::from)
}

/// A list as templates see it.
#[derive(Debug)]
pub(super) struct List {
    listing: Arc<Listing>,
    /// The folder's path as it was asked for, without a slash behind it.
    path: Vec<u8>,
    layout: String,
}

impl List {
    pub(super) fn new(listing: Listing, mut path: Vec<u8>, layout: String) -> Self {
        if path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        Self { listing: Arc::new(listing), path, layout }
    }

    /// The folders on the way, each with the text to show and a link that leads there.
    fn breadcrumbs(&self) -> Value {
        let path = target::escape_path(&self.path);
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let crumb = |(index, part): (usize, &&[u8])| {
            let text = match (index, *part) {
                (0, b"") => "/".to_owned(),
                (_, part) => target::lossy(&target::unescape(part).unwrap_or_default()).into_owned(),
            };
            Value::Object(Rc::new(Crumb { link: "../".repeat(parts.len() - index - 1), text }))
        };
        parts.iter().enumerate().map(crumb).collect::<Vec<_>>().into()
    }
}

impl Data for List {
    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        let listing = &self.listing;
        if !arguments.is_empty() {
            return None;
        }
        Some(Ok(match name {
            "Name" => target::lossy(target::base(&self.path)).into_owned().into(),
            "Path" => target::lossy(&target::escape_path(&self.path)).into_owned().into(),
            "CanGoUp" => (self.path.len() > 1).into(),
            "Items" => {
                let item = |index| {
                    Value::Object(Rc::new(Entry { listing: Arc::clone(listing), index }) as Rc<dyn Object>)
                };
                (0..listing.items.len()).map(item).collect::<Vec<_>>().into()
            }
            "Offset" => number(listing.offset as u64),
            "Limit" => number(listing.limit as u64),
            "NumDirs" => number(listing.folders as u64),
            "NumFiles" => number(listing.files as u64),
            "TotalFileSize" => number(listing.bytes),
            "TotalFileSizeFollowingSymlinks" => number(listing.bytes_behind_links),
            "HumanTotalFileSize" => human_size(listing.bytes).into(),
            "HumanTotalFileSizeFollowingSymlinks" => human_size(listing.bytes_behind_links).into(),
            "Sort" => listing.sort.as_str().into(),
            "Order" => listing.order.as_str().into(),
            "Layout" => self.layout.as_str().into(),
            "Breadcrumbs" => self.breadcrumbs(),
            _ => return None,
        }))
    }
}

fn number(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A part of the way to a folder.
#[derive(Debug)]
struct Crumb {
    link: String,
    text: String,
}

impl Object for Crumb {
    fn type_name(&self) -> &'static str {
        "fileserver.crumb"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        match (name, arguments) {
            ("Link", []) => Some(Ok(self.link.as_str().into())),
            ("Text", []) => Some(Ok(self.text.as_str().into())),
            _ => None,
        }
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// A file or folder of a list.
#[derive(Debug)]
struct Entry {
    listing: Arc<Listing>,
    index: usize,
}

impl Entry {
    fn item(&self) -> &Item {
        &self.listing.items[self.index]
    }
}

impl Object for Entry {
    fn type_name(&self) -> &'static str {
        "fileserver.fileInfo"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        let item = self.item();
        Some(Ok(match (name, arguments) {
            ("Name", []) => item.name().into_owned().into(),
            ("Size", []) => number(item.bytes),
            ("URL", []) => item.url().into(),
            ("ModTime", []) => time_value(timestamp(item.modified)),
            ("Mode", []) => item.mode_text().into(),
            ("IsDir", []) => item.is_folder.into(),
            ("IsSymlink", []) => item.is_link.into(),
            ("SymlinkPath", []) => {
                item.link_target.as_deref().map(target::lossy).unwrap_or_default().into_owned().into()
            }
            ("HumanSize", []) => human_size(item.bytes).into(),
            ("HumanModTime", [Value::Str(layout)]) => {
                let layout = Layout::new(&String::from_utf8_lossy(layout));
                layout.format(timestamp(item.modified), &jiff::tz::TimeZone::UTC).into()
            }
            ("HasExt", ends) => {
                let name = target::lower_case(&item.name);
                let is_end = |end: &Value| name.ends_with(&target::lower_case(end.text().as_bytes()));
                ends.iter().any(is_end).into()
            }
            _ => return None,
        }))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
