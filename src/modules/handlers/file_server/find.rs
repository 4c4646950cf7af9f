//! Looking for the file that a request means. Nothing here knows of HTTP; it runs on a worker as far as
//! all is in memory, and on the blocking pool if the disk is needed.

use std::fs::File;
use std::io;

use bytes::Bytes;

use super::hide::{Hide, Pattern};
use super::precompressed::{Accepted, Format};
use crate::http::files::{Info, Kind, Wait, find_kept, join, open, read_all, stat};

/// A file that is not longer than this is read at once, and closed.
pub(super) const SMALL_BYTES_MAX: u64 = 64 * 1024;
/// A file with an entity tag may be this long.
const ETAG_BYTES_MAX: usize = 8 * 1024;

/// What of the configuration counts here.
pub(super) struct Rules {
    pub(super) hide: Hide,
    /// How the names of files with entity tags end.
    pub(super) etag_extensions: Box<[Box<[u8]>]>,
}

/// What one request asks for.
pub(super) struct Asked {
    /// The path of the file or folder.
    pub(super) path: Vec<u8>,
    /// The names of index files.
    pub(super) index: Vec<Vec<u8>>,
    /// What this request hides.
    pub(super) hide: Vec<Pattern>,
    /// The formats that the client takes.
    pub(super) accepted: Accepted,
    /// Whether the entity tag is to be read from a file.
    pub(super) wants_etag: bool,
}

/// What there is.
pub(super) enum Found {
    /// Nothing that may be shown.
    Nothing,
    /// A folder without an index.
    Folder(Vec<u8>),
    /// A file.
    File(Box<FoundFile>),
    /// The kernel knows no such path, or does not let us look.
    Failed(io::Error),
}

/// A file.
pub(super) struct FoundFile {
    /// Its path, which tells its type.
    pub(super) path: Vec<u8>,
    /// What is known of it.
    pub(super) info: Info,
    /// Whether it is the index of the folder that was asked for.
    pub(super) is_index: bool,
    /// The file to read, unless it can't be opened.
    pub(super) opened: io::Result<Opened>,
}

/// A file that can be read.
pub(super) enum Handle {
    /// It is open.
    Open(File),
    /// What it contains is at hand.
    Kept(Bytes),
}

/// The file that is sent, which may be a compressed one.
pub(super) struct Opened {
    /// Its own path.
    pub(super) path: Vec<u8>,
    pub(super) handle: Handle,
    pub(super) info: Info,
    pub(super) format: Option<Format>,
    /// All of it, if it was read at once.
    pub(super) content: Option<Vec<u8>>,
    /// The entity tag that stands in a file of its own.
    pub(super) etag: io::Result<Option<Vec<u8>>>,
}

/// Looks for a file.
///
/// # Errors
/// `WouldBlock` if `wait` is [`Wait::Never`] and the disk is needed, or there is more to say than that the
/// file is there or is not.
pub(super) fn find(rules: &Rules, asked: &Asked, wait: Wait) -> io::Result<Found> {
    let (info, opened) = match look(&asked.path, wait) {
        Ok(seen) => seen,
        Err(error) => return failed(error),
    };
    if info.kind != Kind::Folder {
        return file(rules, asked, Seen { path: asked.path.clone(), info, opened, is_index: false }, wait);
    }
    for name in &asked.index {
        let path = join(&asked.path, name);
        if rules.hide.hides(&path, &asked.hide) {
            continue;
        }
        match look(&path, wait) {
            Ok((info, _)) if info.kind == Kind::Folder => return Ok(folder(rules, asked, &path)),
            Ok((info, opened)) => {
                return file(rules, asked, Seen { path, info, opened, is_index: true }, wait);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            Err(_) => {}
        }
    }
    Ok(folder(rules, asked, &asked.path))
}

fn folder(rules: &Rules, asked: &Asked, path: &[u8]) -> Found {
    if rules.hide.hides(path, &asked.hide) { Found::Nothing } else { Found::Folder(path.to_vec()) }
}

/// Something that is there; on a worker it has been opened already.
struct Seen {
    path: Vec<u8>,
    info: Info,
    opened: Option<Handle>,
    is_index: bool,
}

/// What is at a path. On a worker a single call opens it too; any error that is not plain there means
/// another look on the blocking pool, where looking and opening fail in their own ways.
fn look(path: &[u8], wait: Wait) -> io::Result<(Info, Option<Handle>)> {
    if path.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if wait == Wait::AsNeeded {
        return Ok((stat(path)?, None));
    }
    if let Some((info, content)) = find_kept(path) {
        return Ok((info, Some(Handle::Kept(content))));
    }
    match open(path, wait) {
        Ok((file, info)) => Ok((info, Some(Handle::Open(file)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        Err(_) => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn failed(error: io::Error) -> io::Result<Found> {
    match error.kind() {
        io::ErrorKind::WouldBlock => Err(error),
        io::ErrorKind::NotFound => Ok(Found::Nothing),
        _ => Ok(Found::Failed(error)),
    }
}

fn file(rules: &Rules, asked: &Asked, seen: Seen, wait: Wait) -> io::Result<Found> {
    // What has no end is no file: reading a pipe or a device may never come to one.
    if seen.info.kind == Kind::Other || rules.hide.hides(&seen.path, &asked.hide) {
        return Ok(Found::Nothing);
    }
    let (path, info, is_index) = (seen.path, seen.info, seen.is_index);
    let opened = match open_best(rules, asked, &path, seen.opened.map(|file| (file, info)), wait) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
        opened => opened,
    };
    Ok(Found::File(Box::new(FoundFile { path, info, is_index, opened })))
}

/// Opens the best form of a file that the client takes.
fn open_best(
    rules: &Rules,
    asked: &Asked,
    path: &[u8],
    opened: Option<(Handle, Info)>,
    wait: Wait,
) -> io::Result<Opened> {
    for format in &asked.accepted {
        let path = [path, format.suffix().as_bytes()].concat();
        match open_file(&path, wait) {
            Ok(opened) => return finish(rules, asked, &path, opened, Some(*format), wait),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_exhausted(&error) => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
    let opened = match opened {
        Some(opened) => opened,
        None => open_file(path, wait)?,
    };
    finish(rules, asked, path, opened, None, wait)
}

/// Opens a regular file.
fn open_file(path: &[u8], wait: Wait) -> io::Result<(Handle, Info)> {
    if wait == Wait::Never
        && let Some((info, content)) = find_kept(path)
    {
        return Ok((Handle::Kept(content), info));
    }
    match open(path, wait) {
        Ok((file, info)) if info.kind == Kind::File => Ok((Handle::Open(file), info)),
        Ok(_) => Err(io::ErrorKind::NotFound.into()),
        Err(error) if wait == Wait::Never && error.kind() != io::ErrorKind::NotFound => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}

/// Whether the process, or the machine, has no descriptors or no memory left.
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

fn finish(
    rules: &Rules,
    asked: &Asked,
    path: &[u8],
    (handle, info): (Handle, Info),
    format: Option<Format>,
    wait: Wait,
) -> io::Result<Opened> {
    let etag = if asked.wants_etag { etag(rules, path, wait) } else { Ok(None) };
    if let Err(error) = &etag
        && error.kind() == io::ErrorKind::WouldBlock
    {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // On the way back to the worker a small file may come along; on a worker it is read when it is sent.
    let small = (wait == Wait::AsNeeded && info.bytes <= SMALL_BYTES_MAX).then_some(info.bytes);
    let small = small.and_then(|bytes| usize::try_from(bytes).ok());
    let content = match (&handle, small) {
        (Handle::Open(file), Some(bytes)) => read_all(file, bytes, wait).ok(),
        _ => None,
    };
    Ok(Opened { path: path.to_vec(), handle, info, format, content, etag })
}

/// The entity tag of a file, from the first file beside it that has one.
fn etag(rules: &Rules, path: &[u8], wait: Wait) -> io::Result<Option<Vec<u8>>> {
    for extension in &rules.etag_extensions {
        let (file, info) = match open_file(&[path, extension].concat(), wait) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let bytes = usize::try_from(info.bytes).unwrap_or(usize::MAX);
        if bytes > ETAG_BYTES_MAX {
            return Err(io::Error::other("the file with the entity tag is too long"));
        }
        let mut etag = match file {
            Handle::Open(file) => read_all(&file, bytes, wait)?,
            Handle::Kept(content) => content.into(),
        };
        etag.retain(|byte| *byte != b'\n');
        return Ok(Some(etag));
    }
    Ok(None)
}
