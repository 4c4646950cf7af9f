//! Opening and reading files without making a worker wait.
//!
//! Most files that are asked for were asked for a moment ago, so the kernel still has their names and
//! bytes in memory. Then opening and reading takes a microsecond or two, and handing it to another
//! thread would cost several times as much. The kernel can be asked to do only what needs no disk; what
//! it then declines goes to the blocking pool.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::as_path;

/// Whether looking for a file may take the time that a disk takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// On a worker: what is not in memory is [`io::ErrorKind::WouldBlock`].
    Never,
    /// On the blocking pool.
    AsNeeded,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A pipe, a device, a socket: nothing that has a beginning and an end.
    Other,
}

/// When a file was changed last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Modified {
    /// Seconds since 1970.
    pub seconds: i64,
    /// And so many nanoseconds.
    pub nanos: u32,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// What it is.
    pub kind: Kind,
    /// How many bytes it has.
    pub bytes: u64,
    /// When it was changed last.
    pub modified: Modified,
    /// Which file it is.
    pub identity: Identity,
}

/// Which file something is, and in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The file system, and the number there.
    pub inode: ((u32, u32), u64),
    /// When anything about it was changed last, its name and its mode included.
    pub changed: Modified,
}

/// How files are opened: a pipe without a writer opens at once, and a terminal does not become ours.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Set if this kernel, or whatever stands around us, can't open only what is in memory.
static NEVER_WITHOUT_WAITING: AtomicBool = AtomicBool::new(false);

/// Opens a file or folder for reading. It may be of any [`Kind`], so look at that before reading.
///
/// # Errors
/// What the kernel says, and `WouldBlock` if `wait` is [`Wait::Never`] and the disk is needed.
pub fn open(path: &[u8], wait: Wait) -> io::Result<(File, Info)> {
    let path = as_path(path);
    let file = match wait {
        Wait::AsNeeded => rustix::fs::open(path, FLAGS, Mode::empty())?,
        Wait::Never if NEVER_WITHOUT_WAITING.load(Relaxed) => return Err(io::ErrorKind::WouldBlock.into()),
        Wait::Never => match rustix::fs::openat2(CWD, path, FLAGS, Mode::empty(), ResolveFlags::CACHED) {
            Ok(file) => file,
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
                NEVER_WITHOUT_WAITING.store(true, Relaxed);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(error) => return Err(error.into()),
        },
    };
    let sync = if wait == Wait::Never { AtFlags::STATX_DONT_SYNC } else { AtFlags::empty() };
    let found = rustix::fs::statx(&file, c"", AtFlags::EMPTY_PATH | sync, StatxFlags::BASIC_STATS)?;
    Ok((file.into(), info(&found)))
}

/// What is known of what a path leads to; for the blocking pool.
///
/// # Errors
/// What the kernel says.
pub fn stat(path: &[u8]) -> io::Result<Info> {
    let found = rustix::fs::statx(CWD, as_path(path), AtFlags::empty(), StatxFlags::BASIC_STATS)?;
    Ok(info(&found))
}

/// The same on a worker, without opening what is there.
///
/// # Errors
/// What the kernel says, and `EAGAIN` if it would have to wait for that.
pub(super) fn stat_now(path: &[u8]) -> io::Result<Info> {
    let flags = OFlags::PATH.union(OFlags::CLOEXEC);
    let place = rustix::fs::openat2(CWD, as_path(path), flags, Mode::empty(), ResolveFlags::CACHED)?;
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Ok(info(&rustix::fs::statx(&place, c"", flags, StatxFlags::BASIC_STATS)?))
}

fn info(found: &rustix::fs::Statx) -> Info {
    let kind = match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        _ => Kind::Other,
    };
    let time = |time: &rustix::fs::StatxTimestamp| Modified { seconds: time.tv_sec, nanos: time.tv_nsec };
    let inode = ((found.stx_dev_major, found.stx_dev_minor), found.stx_ino);
    Info {
        kind,
        bytes: found.stx_size,
        modified: time(&found.stx_mtime),
        identity: Identity { inode, changed: time(&found.stx_ctime) },
    }
}

/// Reads some of a file from `at` on; nothing at its end.
///
/// # Errors
/// What the kernel says, and `WouldBlock` if `wait` is [`Wait::Never`] and the disk is needed.
pub fn read_at(file: &File, into: &mut [u8], at: u64, wait: Wait) -> io::Result<usize> {
    if wait == Wait::AsNeeded {
        return file.read_at(into, at);
    }
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(into)], at, ReadWriteFlags::NOWAIT);
    read.map_err(|error| match error {
        // Not all file systems know what they have in memory.
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL => io::ErrorKind::WouldBlock.into(),
        error => error.into(),
    })
}

/// All of a small file, which is `bytes` long.
///
/// # Errors
/// As [`read_at`], and `UnexpectedEof` if it has become shorter.
pub fn read_all(file: &File, bytes: usize, wait: Wait) -> io::Result<Vec<u8>> {
    let mut all = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        match read_at(file, &mut all[filled..], filled as u64, wait) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn what_is_in_memory_is_opened_and_read_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "0123456789").unwrap();
        let path = path.as_os_str().as_bytes();
        for wait in [Wait::AsNeeded, Wait::Never] {
            let (file, info) = match open(path, wait) {
                Ok(opened) => opened,
                // An old kernel.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => panic!("{error}"),
            };
            assert_eq!((info.kind, info.bytes), (Kind::File, 10));
            match read_all(&file, 10, wait) {
                Ok(all) => assert_eq!(all, b"0123456789"),
                Err(error) => assert_eq!((error.kind(), wait), (io::ErrorKind::WouldBlock, Wait::Never)),
            }
            assert_eq!(read_all(&file, 11, Wait::AsNeeded).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_pipe_opens_without_its_other_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let path = path.as_os_str().as_bytes();
        assert_eq!(open(path, Wait::AsNeeded).unwrap().1.kind, Kind::Other);
        assert_eq!(stat(path).unwrap().kind, Kind::Other);
        assert_eq!(stat(dir.path().as_os_str().as_bytes()).unwrap().kind, Kind::Folder);
    }

    #[test]
    fn what_is_not_there_is_said_so() {
        for wait in [Wait::AsNeeded, Wait::Never] {
            let kind = open(b"/nonexistent/x", wait).unwrap_err().kind();
            assert!(matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::WouldBlock), "{kind:?}");
        }
    }
}
