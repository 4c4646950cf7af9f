//! Where imported files come from.

use std::io::{self, Read};
use std::path::Path;

use crate::limits::FILE_BYTES_MAX;

/// How `import` reaches files. Paths use `/`.
pub trait Files {
    /// The absolute form of a path that may be relative to the working directory.
    fn absolute(&self, path: &str) -> io::Result<String>;

    /// What a file holds. A directory, and a file of more than [`FILE_BYTES_MAX`] bytes, is an error.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// The names in a directory, in any order.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// Is there anything at this path?
    fn exists(&self, path: &str) -> bool;
}

/// The files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn absolute(&self, path: &str) -> io::Result<String> {
        let absolute = std::path::absolute(path)?;
        let text = absolute.to_str().ok_or_else(|| io::Error::other("the path is not UTF-8"))?;
        Ok(clean(text))
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "is larger than 16 MiB"));
        }
        Ok(bytes)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        // A name that is not UTF-8 cannot be written in a Caddyfile, so no pattern means it.
        let names =
            std::fs::read_dir(directory)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.collect())
    }

    fn exists(&self, path: &str) -> bool {
        Path::new(path).symlink_metadata().is_ok()
    }
}

/// No files at all: every import of a file fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn absolute(&self, path: &str) -> io::Result<String> {
        Ok(clean(&format!("/{path}")))
    }

    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn exists(&self, _: &str) -> bool {
        false
    }
}

/// The shortest form of an absolute path, without `.`, `..` and doubled `/`; links are not looked at.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_short() {
        assert_eq!(clean("/a//b/./c/../d/"), "/a/b/d");
        assert_eq!(clean("/../a"), "/a");
        assert_eq!(clean("/"), "/");
        let here = DiskFiles.absolute("x/../y").expect("a path");
        assert!(here.starts_with('/') && here.ends_with("/y") && !here.contains(".."), "{here}");
    }

    #[test]
    fn the_disk_is_read_listed_and_asked() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(DiskFiles.exists(manifest) && !DiskFiles.exists("/no/such/file"));
        assert!(!DiskFiles.read(manifest).expect("a file").is_empty());
        let directory = DiskFiles.read(env!("CARGO_MANIFEST_DIR")).expect_err("no file");
        assert_eq!(directory.to_string(), "is a directory");
        assert!(
            DiskFiles.list(env!("CARGO_MANIFEST_DIR")).expect("names").contains(&"Cargo.toml".to_owned())
        );
        assert!(DiskFiles.list(manifest).is_err());
    }
}
