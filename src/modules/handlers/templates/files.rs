//! The files that templates may read: those below their root.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::PathBuf;

use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::render::TEMPLATE_BYTES_MAX;
use super::sprig::Time;
use crate::gotemplate::{Error, Object, Value};
use crate::http::files::{as_path, join};

/// So many names are listed of one folder.
const NAMES_MAX: usize = 100_000;

/// A folder, below which names are looked up.
pub(super) struct Files {
    root: OsString,
}

impl Files {
    pub(super) fn new(root: OsString) -> Self {
        Self { root }
    }

    /// Where a name leads; never above the root, though symbolic links may.
    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        if name.contains('\0') {
            return Err(Error::new("http: invalid character in file path"));
        }
        Ok(as_path(&join(self.root.as_encoded_bytes(), name.as_bytes())).to_owned())
    }

    /// A file's bytes.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path(name)?;
        let fail = |error: io::Error| Error::new(format!("open {name}: {error}"));
        // A pipe would keep us waiting for whoever writes into it.
        if !std::fs::metadata(&path).map_err(fail)?.is_file() {
            return Err(Error::new(format!("read {name}: is no file")));
        }
        let mut bytes = Vec::new();
        let limit = TEMPLATE_BYTES_MAX as u64 + 1;
        File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(fail)?;
        if bytes.len() > TEMPLATE_BYTES_MAX {
            return Err(Error::new(format!("read {name}: file too large")));
        }
        Ok(bytes)
    }

    /// Whether there is a file or folder of this name that can be opened.
    pub(super) fn exists(&self, name: &str) -> bool {
        let Ok(path) = self.path(name) else { return false };
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => File::open(&path).is_ok(),
            Ok(found) => found.is_dir(),
            Err(_) => false,
        }
    }

    /// The names in a folder.
    pub(super) fn list(&self, name: &str) -> Result<Value, Error> {
        let path = self.path(name)?;
        if std::fs::metadata(&path).is_ok_and(|found| !found.is_dir()) {
            return Err(Error::new(format!("{name} is not a directory")));
        }
        let entries =
            std::fs::read_dir(&path).map_err(|error| Error::new(format!("open {name}: {error}")))?;
        let names = entries.take(NAMES_MAX).filter_map(Result::ok);
        let mut names: Vec<_> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names.into_iter().map(Value::from).collect::<Vec<_>>().into())
    }

    /// What is known of a file or folder.
    pub(super) fn stat(&self, name: &str) -> Result<Value, Error> {
        let path = self.path(name)?;
        let found = std::fs::metadata(&path).map_err(|error| Error::new(format!("open {name}: {error}")))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Value::Object(std::rc::Rc::new(Info { name, found })))
    }
}

/// What is known of a file (Go's `fs.FileInfo`).
#[derive(Debug)]
struct Info {
    name: String,
    found: Metadata,
}

impl Object for Info {
    fn type_name(&self) -> &'static str {
        "*os.fileStat"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        if !arguments.is_empty() {
            return None;
        }
        Some(Ok(match name {
            "Name" => self.name.as_str().into(),
            "Size" => Value::Int(i64::try_from(self.found.len()).unwrap_or(i64::MAX)),
            "IsDir" => self.found.is_dir().into(),
            "Mode" => mode(&self.found).into(),
            "ModTime" => {
                let time = self.found.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
                Time(Zoned::new(time.unwrap_or(Timestamp::UNIX_EPOCH), TimeZone::system())).into_value()
            }
            _ => return None,
        }))
    }

    fn text(&self) -> String {
        self.name.clone()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// Permissions as `ls` shows them.
fn mode(found: &Metadata) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let bits = found.permissions().mode();
    let mut shown = String::from(if found.is_dir() { "d" } else { "-" });
    for (index, letter) in "rwxrwxrwx".chars().enumerate() {
        shown.push(if bits & (0o400 >> index) != 0 { letter } else { '-' });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("in");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(folder.path().join("secret"), "no").unwrap();
        std::fs::write(inner.join("a.txt"), "yes").unwrap();
        let files = Files::new(inner.into_os_string());
        for name in ["a.txt", "/a.txt", "../a.txt", "x/../../a.txt", "//./a.txt"] {
            assert_eq!(files.read(name).unwrap(), b"yes", "{name}");
        }
        for name in ["../secret", "/../secret", "x/../../secret", "none", "/", "a\0b"] {
            assert!(files.read(name).is_err(), "{name}");
        }
        assert!(files.exists("/") && files.exists("a.txt") && !files.exists("../secret"));
        assert_eq!(files.list("/").unwrap().text(), "[a.txt]");
        assert!(files.list("a.txt").is_err());
        let Value::Object(info) = files.stat("a.txt").unwrap() else { panic!("no object") };
        assert_eq!(info.member("Size", &[]).unwrap().unwrap().text(), "3");
    }
}
