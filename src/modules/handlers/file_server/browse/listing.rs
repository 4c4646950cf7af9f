//! What is in a folder, in the order that the client wants it. This runs on the blocking pool.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

use super::super::find::Rules;
use super::super::hide::Pattern;
use crate::http::files::{Modified, as_path};
use crate::http::target;

/// A folder's contents.
#[derive(Debug)]
pub(in super::super) struct Listing {
    /// What is in it, without what is hidden.
    pub(in super::super) items: Vec<Item>,
    /// When the folder, or anything in it, was changed last.
    pub(in super::super) modified: Modified,
    /// How many folders, and how many files, there are in all.
    pub(in super::super) folders: usize,
    pub(in super::super) files: usize,
    /// How many bytes all files have, and how many with the files that links lead to.
    pub(in super::super) bytes: u64,
    pub(in super::super) bytes_behind_links: u64,
    /// Whether there is more than is listed.
    pub(in super::super) is_cut: bool,
    /// How it is sorted, as the client says it.
    pub(in super::super) sort: String,
    pub(in super::super) order: String,
    /// So many items were left out before the first, and so many are shown; 0 if nobody asked.
    pub(in super::super) offset: usize,
    pub(in super::super) limit: usize,
}

/// A file or folder in a folder.
#[derive(Clone, Debug)]
pub(in super::super) struct Item {
    /// Its name, with a slash at its end if it is a folder.
    pub(in super::super) name: Vec<u8>,
    pub(in super::super) bytes: u64,
    pub(in super::super) modified: Modified,
    /// What it is and who may use it, as Go writes it.
    pub(in super::super) mode: u32,
    pub(in super::super) is_folder: bool,
    pub(in super::super) is_link: bool,
    /// Where a link leads, if that may be told.
    pub(in super::super) link_target: Option<Vec<u8>>,
}

impl Item {
    /// Where it is, from the folder on.
    pub(in super::super) fn url(&self) -> String {
        // A name with a colon would look like a scheme by itself.
        let path = [b"./", &*self.name].concat();
        String::from_utf8_lossy(&target::escape_path(&path)).into_owned()
    }

    /// Its name as text.
    pub(in super::super) fn name(&self) -> Cow<'_, str> {
        target::lossy(&self.name)
    }

    /// Its mode as Go writes it: `-rw-r--r--`, `drwxr-xr-x`.
    pub(in super::super) fn mode_text(&self) -> String {
        let is_set = |bit: u32| self.mode & 1 << bit != 0;
        let mut text: String = "dalTLDpSugct?"
            .chars()
            .zip((19..32).rev())
            .filter(|(_, bit)| is_set(*bit))
            .map(|(letter, _)| letter)
            .collect();
        if text.is_empty() {
            text.push('-');
        }
        text.extend(
            "rwxrwxrwx".chars().zip((0..9).rev()).map(|(letter, bit)| if is_set(bit) { letter } else { '-' }),
        );
        text
    }
}

/// Which folder is read, and what of it is told.
pub(in super::super) struct Folder {
    pub(in super::super) path: Vec<u8>,
    /// So many entries are looked at.
    pub(in super::super) entries_max: usize,
    pub(in super::super) reveals_links: bool,
    /// What this request hides.
    pub(in super::super) hide: Vec<Pattern>,
}

/// Reads a folder.
pub(in super::super) fn read(rules: &Rules, folder: &Folder) -> io::Result<Listing> {
    let path = as_path(&folder.path);
    let mut entries = fs::read_dir(path)?;
    let mut listing = Listing {
        items: Vec::new(),
        modified: modified(&fs::metadata(path)?),
        folders: 0,
        files: 0,
        bytes: 0,
        bytes_behind_links: 0,
        is_cut: false,
        sort: String::new(),
        order: String::new(),
        offset: 0,
        limit: 0,
    };
    for entry in entries.by_ref().take(folder.entries_max) {
        let name = entry?.file_name();
        let full = [&*folder.path, b"/", name.as_bytes()].concat();
        if rules.hide.hides(&full, &folder.hide) {
            continue;
        }
        // It may be gone by now.
        if let Ok(found) = fs::symlink_metadata(as_path(&full)) {
            listing.add(item(name.as_bytes(), &full, &found, folder.reveals_links), found.len());
        }
    }
    listing.is_cut = entries.next().is_some();
    Ok(listing)
}

fn item(name: &[u8], full: &[u8], found: &Metadata, reveals_links: bool) -> Item {
    let is_link = found.file_type().is_symlink();
    // A link that leads nowhere is a file of its own length.
    let behind = if is_link { fs::metadata(as_path(full)).ok() } else { None };
    let is_folder = found.is_dir() || behind.as_ref().is_some_and(Metadata::is_dir);
    let link_target = (is_link && reveals_links).then(|| fs::read_link(as_path(full)).ok()).flatten();
    let mut name = name.to_vec();
    if is_folder {
        name.push(b'/');
    }
    Item {
        name,
        bytes: behind.as_ref().unwrap_or(found).len(),
        modified: modified(found),
        mode: mode(found),
        is_folder,
        is_link,
        link_target: link_target.map(|path| path.into_os_string().into_encoded_bytes()),
    }
}

fn modified(found: &Metadata) -> Modified {
    Modified { seconds: found.mtime(), nanos: u32::try_from(found.mtime_nsec()).unwrap_or_default() }
}

/// A file's mode as Go's `fs.FileMode` has it.
fn mode(found: &Metadata) -> u32 {
    let (kind, bits) = (found.file_type(), found.permissions().mode());
    let flags = [
        (kind.is_dir(), 31),
        (kind.is_symlink(), 27),
        (kind.is_block_device() || kind.is_char_device(), 26),
        (kind.is_fifo(), 25),
        (kind.is_socket(), 24),
        (bits & 0o4000 != 0, 23),
        (bits & 0o2000 != 0, 22),
        (kind.is_char_device(), 21),
        (bits & 0o1000 != 0, 20),
    ];
    flags.iter().filter(|(is, _)| *is).fold(bits & 0o777, |mode, (_, bit)| mode | 1 << bit)
}

impl Listing {
    fn add(&mut self, item: Item, own_bytes: u64) {
        self.modified = self.modified.max(item.modified);
        if item.is_folder {
            self.folders += 1;
        } else {
            self.files += 1;
            self.bytes += own_bytes;
            self.bytes_behind_links += item.bytes;
        }
        self.items.push(item);
    }

    /// Puts the items into an order, and takes some of them.
    pub(in super::super) fn arrange(&mut self, view: &View) {
        let mut keyed: Vec<(Vec<u8>, Item)> =
            self.items.drain(..).map(|item| (target::lower_case(&item.name).into_owned(), item)).collect();
        if let Some(compare) = comparison(&view.sort) {
            match view.order.as_str() {
                "desc" => keyed.sort_by(|a, b| compare(b, a)),
                _ => keyed.sort_by(compare),
            }
        }
        self.items = keyed.into_iter().map(|(_, item)| item).collect();
        if (1..=self.items.len()).contains(&view.offset) {
            self.items.drain(..view.offset);
            self.offset = view.offset;
        }
        if (1..=self.items.len()).contains(&view.limit) {
            self.items.truncate(view.limit);
            self.limit = view.limit;
        }
        self.sort.clone_from(&view.sort);
        self.order.clone_from(&view.order);
    }
}

/// What of a folder a client wants to see.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct View {
    pub(in super::super) sort: String,
    pub(in super::super) order: String,
    pub(in super::super) layout: String,
    pub(in super::super) offset: usize,
    pub(in super::super) limit: usize,
}

type Keyed = (Vec<u8>, Item);

fn comparison(sort: &str) -> Option<fn(&Keyed, &Keyed) -> Ordering> {
    Some(match sort {
        "name" => |a, b| a.0.cmp(&b.0),
        "namedirfirst" => |a, b| b.1.is_folder.cmp(&a.1.is_folder).then_with(|| a.0.cmp(&b.0)),
        // What the size of a folder means differs between file systems.
        "size" => |a, b| match (a.1.is_folder, b.1.is_folder) {
            (true, true) => a.0.cmp(&b.0),
            (false, false) => a.1.bytes.cmp(&b.1.bytes),
            (a, b) => b.cmp(&a),
        },
        "time" => |a, b| a.1.modified.cmp(&b.1.modified),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::hide::Hide;
    use super::*;

    fn listing(hide: &str, view: View) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("b", 1), ("C", 3), ("a", 2), ("secret", 1)] {
            fs::write(dir.path().join(name), vec![0; bytes]).unwrap();
        }
        fs::create_dir(dir.path().join("z")).unwrap();
        std::os::unix::fs::symlink("z", dir.path().join("Y")).unwrap();
        std::os::unix::fs::symlink("C", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("none", dir.path().join("lost")).unwrap();
        let path = dir.path().as_os_str().as_bytes().to_vec();
        let hide = hide.replace("DIR", &dir.path().display().to_string());
        let rules = Rules { hide: Hide::compile(&[hide], b"/"), etag_extensions: Box::default() };
        let folder = Folder { path, entries_max: 100, reveals_links: true, hide: Vec::new() };
        let mut listing = read(&rules, &folder).unwrap();
        assert_eq!((listing.folders, listing.files), (2, 5));
        assert_eq!((listing.bytes, listing.bytes_behind_links), (6 + 1 + 4, 6 + 3 + 4));
        listing.arrange(&view);
        listing.items.iter().map(|item| item.name().into_owned()).collect()
    }

    fn view(sort: &str, order: &str) -> View {
        View { sort: sort.into(), order: order.into(), ..View::default() }
    }

    #[test]
    fn items_are_sorted_and_hidden_ones_left_out() {
        assert_eq!(listing("secret", view("name", "")), ["a", "b", "C", "link", "lost", "Y/", "z/"]);
        assert_eq!(listing("DIR/secret", view("namedirfirst", "asc"))[..3], ["Y/", "z/", "a"]);
        assert_eq!(listing("secret", view("name", "desc"))[..2], ["z/", "Y/"]);
        assert_eq!(listing("secret", view("size", ""))[..4], ["Y/", "z/", "b", "a"]);
        let some = View { offset: 1, limit: 2, ..view("name", "") };
        assert_eq!(listing("secret", some), ["b", "C"]);
        let beyond = View { offset: 9, limit: 9, ..view("name", "") };
        assert_eq!(listing("secret", beyond).len(), 7);
    }

    #[test]
    fn more_than_may_be_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        (0..5).for_each(|name| fs::write(dir.path().join(name.to_string()), "").unwrap());
        let rules = Rules { hide: Hide::default(), etag_extensions: Box::default() };
        let path = dir.path().as_os_str().as_bytes().to_vec();
        let read = |entries_max| {
            let folder = Folder { path: path.clone(), entries_max, reveals_links: false, hide: Vec::new() };
            let listing = read(&rules, &folder).unwrap();
            (listing.items.len(), listing.is_cut)
        };
        assert_eq!((read(3), read(5)), ((3, true), (5, false)));
    }
}
