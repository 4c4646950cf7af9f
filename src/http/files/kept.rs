//! Small files that are asked for again and again: each worker keeps what they contain.
//!
//! What is kept is sent only after the kernel has said that the path still leads to the same file and that
//! nothing of it has changed, which it says without waiting for a disk; opening and reading are saved. A file
//! counts as the same if its inode, its size and both its times are, of which nobody can set the one that
//! tells of any change.

use std::cell::RefCell;
use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::open::{Info, Kind, stat_now};
use crate::http::clock;

/// A longer file is not kept.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// Each worker keeps twice as much at most: what was asked for lately, and what was before.
const GENERATION_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A file that has been changed within this time may change again without showing it, since the kernel
/// tells times only so exactly.
const REST: Duration = Duration::from_secs(1);
/// A program that writes to a file through its memory is not seen at once; what was kept is read again after
/// this time.
const KEPT_FOR: Duration = Duration::from_secs(10);

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

#[derive(Default)]
struct Kept {
    young: HashMap<Box<[u8]>, Entry, RandomState>,
    old: HashMap<Box<[u8]>, Entry, RandomState>,
    young_bytes: usize,
}

#[derive(Clone)]
struct Entry {
    info: Info,
    content: Bytes,
    /// By [`clock::now`].
    expires: Duration,
}

/// The file that a path leads to, if what it contains is at hand; for workers.
pub fn find_kept(path: &[u8]) -> Option<(Info, Bytes)> {
    KEPT.with_borrow_mut(|kept| {
        let entry = kept.get(path)?;
        let is_same = || stat_now(path).is_ok_and(|info| info == entry.info);
        if entry.expires > clock::now() && is_same() {
            return Some((entry.info, entry.content));
        }
        kept.forget(path);
        None
    })
}

/// Keeps what the file at `path`, of which `info` was known before it was read, contains.
pub fn keep(path: &[u8], file: &File, info: &Info, content: &Bytes) {
    let is_small = info.kind == Kind::File && (1..=FILE_BYTES_MAX).contains(&content.len());
    if !is_small || !rests(info) || !is_local(file) {
        return;
    }
    let expires = clock::now() + KEPT_FOR;
    let entry = Entry { info: *info, content: content.clone(), expires };
    KEPT.with_borrow_mut(|kept| kept.put(path, entry));
}

/// Whether a file has not been changed for so long that a change from now on shows.
fn rests(info: &Info) -> bool {
    let since = |seconds: i64, nanos: u32| {
        let seconds = u64::try_from(seconds).ok()?;
        SystemTime::now().duration_since(UNIX_EPOCH + Duration::new(seconds, nanos)).ok()
    };
    let changed = info.identity.changed;
    since(changed.seconds, changed.nanos).is_some_and(|since| since > REST)
}

/// Whether a file's times tell of each change as soon as it is made. On another machine's file system they are
/// as old as the last question.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_local(file: &File) -> bool {
    /// ext2 to ext4, XFS, Btrfs, tmpfs, overlayfs, F2FS, ZFS, bcachefs (`statfs(2)`).
    const LOCAL: [u32; 8] =
        [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e];
    // Of the number only 32 bits count, whatever type it has on a machine.
    rustix::fs::fstatfs(file).is_ok_and(|found| LOCAL.contains(&(found.f_type as u32)))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_local(_: &File) -> bool {
    false
}

impl Kept {
    /// An entry, which is young from now on.
    fn get(&mut self, path: &[u8]) -> Option<Entry> {
        if let Some(entry) = self.young.get(path) {
            return Some(entry.clone());
        }
        let (path, entry) = self.old.remove_entry(path)?;
        self.put_owned(path, entry.clone());
        Some(entry)
    }

    fn put(&mut self, path: &[u8], entry: Entry) {
        self.forget(path);
        self.put_owned(path.into(), entry);
    }

    fn put_owned(&mut self, path: Box<[u8]>, entry: Entry) {
        let bytes = cost(&path, &entry);
        if self.young_bytes + bytes > GENERATION_BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(path, entry);
    }

    fn forget(&mut self, path: &[u8]) {
        self.old.remove(path);
        if let Some((path, entry)) = self.young.remove_entry(path) {
            self.young_bytes -= cost(&path, &entry);
        }
    }
}

fn cost(path: &[u8], entry: &Entry) -> usize {
    path.len() + entry.content.len() + size_of::<Entry>()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    use super::*;
    use crate::http::files::{Wait, open, read_all};

    /// Reads a file and keeps it, as if it had rested.
    fn read_and_keep(path: &Path) -> Bytes {
        let bytes = path.as_os_str().as_bytes();
        let (file, info) = open(bytes, Wait::AsNeeded).unwrap();
        let content = Bytes::from(read_all(&file, info.bytes as usize, Wait::AsNeeded).unwrap());
        assert!(!rests(&info), "it was written just now");
        let entry = Entry { info, content: content.clone(), expires: clock::now() + KEPT_FOR };
        KEPT.with_borrow_mut(|kept| kept.put(bytes, entry));
        content
    }

    fn found(path: &Path) -> Option<Bytes> {
        find_kept(path.as_os_str().as_bytes()).map(|(_, content)| content)
    }

    #[test]
    fn any_change_shows() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        let linked = dir.path().join("link");
        type Change<'a> = &'a dyn Fn();
        let changes: [(&str, Change<'_>); 6] = [
            ("written to", &|| std::fs::write(&path, "0246").unwrap()),
            ("replaced", &|| {
                std::fs::write(&other, "0246").unwrap();
                std::fs::rename(&other, &path).unwrap();
            }),
            ("taken away", &|| std::fs::remove_file(&path).unwrap()),
            ("closed", &|| {
                let closed = std::os::unix::fs::PermissionsExt::from_mode(0o000);
                std::fs::set_permissions(&path, closed).unwrap();
            }),
            ("told another time", &|| {
                File::options().append(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
            }),
            ("led elsewhere", &|| {
                std::fs::write(&other, "0246").unwrap();
                std::fs::remove_file(&linked).unwrap();
                std::os::unix::fs::symlink(&other, &linked).unwrap();
            }),
        ];
        for (name, change) in changes {
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::remove_file(&linked);
            std::fs::write(&path, "0123").unwrap();
            std::os::unix::fs::symlink(&path, &linked).unwrap();
            // The kernel's clock has moved on by then.
            std::thread::sleep(Duration::from_millis(20));
            let asked = if name == "led elsewhere" { &linked } else { &path };
            assert_eq!(read_and_keep(asked), "0123");
            assert_eq!(found(asked).unwrap(), "0123", "{name}");
            change();
            assert_eq!(found(asked), None, "{name}");
        }
    }

    #[test]
    fn nothing_is_kept_that_may_still_change_unseen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "0123").unwrap();
        let bytes = path.as_os_str().as_bytes();
        let (file, mut info) = open(bytes, Wait::AsNeeded).unwrap();
        keep(bytes, &file, &info, &Bytes::from_static(b"0123"));
        assert_eq!(found(&path), None, "it was changed just now");
        info.identity.changed.seconds -= 60;
        keep(bytes, &file, &info, &Bytes::from_static(b"0123"));
        assert!(KEPT.with_borrow(|kept| kept.young.contains_key(bytes)) == is_local(&file));
        assert_eq!(found(&path), None, "it is another file");
        keep(bytes, &file, &info, &Bytes::from(vec![0; FILE_BYTES_MAX + 1]));
        assert!(KEPT.with_borrow(|kept| !kept.young.contains_key(bytes)), "it is too long");
    }

    #[test]
    fn no_more_is_kept_than_has_room_and_what_is_used_stays() {
        let mut kept = Kept::default();
        let dir = tempfile::tempdir().unwrap();
        let (_, info) = open(dir.path().as_os_str().as_bytes(), Wait::AsNeeded).unwrap();
        let entry = |length| Entry { info, content: vec![0; length].into(), expires: Duration::MAX };
        kept.put(b"used", entry(1000));
        for number in 0..1000 {
            kept.put(format!("{number}").as_bytes(), entry(50_000));
            assert!(kept.get(b"used").is_some());
            let all =
                kept.young.iter().chain(&kept.old).map(|(path, entry)| cost(path, entry)).sum::<usize>();
            assert!(all <= 2 * GENERATION_BYTES_MAX && kept.young_bytes <= GENERATION_BYTES_MAX);
        }
        assert!(kept.get(b"0").is_none() && kept.get(b"999").is_some());
        kept.forget(b"999");
        assert!(kept.get(b"999").is_none());
    }
}
