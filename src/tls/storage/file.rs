//! Files below a folder, one for each key.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LOCK_REFRESH_INTERVAL, Lock, SharedStorage, Storage, decode, safe};
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, dirs};
use crate::tls::TlsError;
use crate::tls::placeholder::expand;

/// A file of a lock is not larger.
const LOCK_BYTES_MAX: u64 = 2048;

/// A folder of files by key, such as `pki/authorities/local/root.crt`. Files are readable by their
/// owner alone, and never seen half written.
#[derive(Clone, Debug)]
pub struct FileStorage {
    root: PathBuf,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct FileSystemJson {
    root: String,
}

/// What can be said of it.
pub(in crate::tls) const SCHEMAS: &[ModuleSchema] =
    &[ModuleSchema::of::<FileSystemJson>("caddy.storage", "file_system")];

impl FileStorage {
    /// The storage below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The storage below `root`, for several to use.
    pub fn shared(root: impl Into<PathBuf>) -> SharedStorage {
        std::sync::Arc::new(Self::new(root))
    }

    /// The storage that is used unless a configuration says otherwise.
    pub fn standard() -> Self {
        Self::new(dirs::data())
    }

    /// The storage that a module's JSON describes.
    ///
    /// # Errors
    /// [`TlsError`] for a field that there isn't.
    pub fn open(json: &ModuleJson) -> Result<SharedStorage, TlsError> {
        let FileSystemJson { root } = decode(json)?;
        let storage = if root.is_empty() { Self::standard() } else { Self::new(expand(&root).as_ref()) };
        Ok(std::sync::Arc::new(storage))
    }

    /// The file of a key.
    pub fn path(&self, key: &str) -> PathBuf {
        // Only what goes down counts: a key never leaves the root.
        let parts = Path::new(key).components().filter(|part| matches!(part, Component::Normal(_)));
        self.root.join(parts.collect::<PathBuf>())
    }

    fn read_failed(&self, key: &str, source: io::Error) -> TlsError {
        TlsError::Read { path: self.path(key), source }
    }

    fn write_failed(&self, key: &str, source: io::Error) -> TlsError {
        TlsError::Write { path: self.path(key), source }
    }
}

impl Storage for FileStorage {
    fn load_if_there(&self, key: &str) -> Result<Option<Vec<u8>>, TlsError> {
        match self.load(key) {
            Ok(value) => Ok(Some(value)),
            Err(TlsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn load(&self, key: &str) -> Result<Vec<u8>, TlsError> {
        fs::read(self.path(key)).map_err(|source| self.read_failed(key, source))
    }

    fn store(&self, key: &str, value: &[u8]) -> Result<(), TlsError> {
        write(&self.path(key), value).map_err(|source| self.write_failed(key, source))
    }

    fn delete(&self, key: &str) -> Result<(), TlsError> {
        let path = self.path(key);
        if path == self.root {
            return Err(TlsError::Storage {
                key: key.to_owned(),
                problem: "this is the whole storage".into(),
            });
        }
        let is_folder = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.write_failed(key, error)),
            Ok(metadata) => metadata.is_dir(),
        };
        let deleted = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        deleted.map_err(|source| self.write_failed(key, source))
    }

    // Links are not followed.
    fn keys(&self, prefix: &str) -> Result<Vec<String>, TlsError> {
        let mut keys = Vec::new();
        let mut folders = vec![self.path(prefix)];
        while let Some(folder) = folders.pop() {
            let failed = |source| TlsError::Read { path: folder.clone(), source };
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let entry = entry.map_err(failed)?;
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    let path = entry.path();
                    let key = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
                    keys.extend(key.map(str::to_owned));
                }
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    fn modified(&self, key: &str) -> Result<Option<SystemTime>, TlsError> {
        match self.path(key).metadata().and_then(|metadata| metadata.modified()) {
            Ok(time) => Ok(Some(time)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.read_failed(key, error)),
        }
    }

    fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, TlsError> {
        let key = format!("locks/{}.lock", safe(name));
        let path = self.path(&key);
        let failed = |source| self.write_failed(&key, source);
        make_folder(path.parent().unwrap_or(&self.root)).map_err(failed)?;
        match FileLock::create(&path) {
            Ok(lock) => return Ok(Some(Box::new(lock))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        if !FileLock::is_abandoned(&path).map_err(failed)? {
            return Ok(None);
        }
        tracing::info!(target: "tls", path = %path.display(), "taking over a lock that was left behind");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        match FileLock::create(&path) {
            Ok(lock) => Ok(Some(Box::new(lock))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

/// A lock's file, which is there while somebody holds the lock. It says since when, and until when its
/// holder was certainly alive, in Caddy's form.
#[derive(Debug)]
struct FileLock {
    path: PathBuf,
    file: File,
    created: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct LockJson {
    /// RFC 3339.
    created: String,
    /// RFC 3339.
    updated: String,
}

impl FileLock {
    fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let mut lock = Self { path: path.to_owned(), file, created: Timestamp::now() };
        lock.write()?;
        Ok(lock)
    }

    fn write(&mut self) -> io::Result<()> {
        let json = LockJson { created: self.created.to_string(), updated: Timestamp::now().to_string() };
        let mut text = serde_json::to_vec(&json)?;
        text.push(b'\n');
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)?;
        self.file.sync_all()
    }

    /// Whether its holder has not been heard of for too long.
    fn is_abandoned(path: &Path) -> io::Result<bool> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        let modified = file.metadata()?.modified()?;
        let mut text = Vec::new();
        file.take(LOCK_BYTES_MAX).read_to_end(&mut text)?;
        // One that can't be read is being written, or was when its holder died.
        let json = serde_json::from_slice::<LockJson>(&text).ok();
        let seen = json.and_then(|json| json.updated.parse::<Timestamp>().ok()).map(SystemTime::from);
        let age = SystemTime::now().duration_since(seen.unwrap_or(modified)).unwrap_or_default();
        Ok(age > LOCK_REFRESH_INTERVAL * 2)
    }
}

impl FileLock {
    /// Whether the file is still ours, and not that of somebody who took us for dead.
    fn is_ours(&self) -> io::Result<bool> {
        let (ours, there) = (self.file.metadata()?, self.path.symlink_metadata()?);
        Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
    }
}

impl Lock for FileLock {
    fn refresh(&mut self) -> Result<(), TlsError> {
        if !self.is_ours().unwrap_or(false) {
            return Err(TlsError::Locked(self.path.display().to_string()));
        }
        self.write().map_err(|source| TlsError::Write { path: self.path.clone(), source })
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if self.is_ours().unwrap_or(false) {
            // A lock that stays is taken over in a while.
            _ = fs::remove_file(&self.path);
        }
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write(path: &Path, value: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let mut suffix = [0_u8; 8];
    getrandom::fill(&mut suffix).map_err(io::Error::other)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tmp-{:016x}", u64::from_ne_bytes(suffix)));
    let draft = folder.join(name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(value)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    })();
    if written.is_err() {
        // The error itself is what counts; a draft that stays is only untidy.
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_private_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path());
        assert_eq!(storage.load_if_there("a/b/c.key").unwrap(), None);
        storage.store("a/b/c.key", b"one").unwrap();
        storage.store("a/b/c.key", b"two").unwrap();
        assert_eq!(storage.load("a/b/c.key").unwrap(), b"two");
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a"), mode("a/b"), mode("a/b/c.key")), (0o700, 0o700, 0o600));
        assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
    }

    #[test]
    fn keys_stay_below_the_root() {
        let storage = FileStorage::new("/data");
        assert_eq!(storage.path("../../etc/passwd"), Path::new("/data/etc/passwd"));
        assert_eq!(storage.path("/etc/passwd"), Path::new("/data/etc/passwd"));
        assert!(storage.load("no/such").unwrap_err().to_string().starts_with("reading /data/no/such: "));
    }

    #[test]
    fn the_module() {
        let json = serde_json::from_str::<ModuleJson>(r#"{"module":"file_system","root":"/x"}"#).unwrap();
        let storage = FileStorage::open(&json).unwrap();
        assert_eq!(
            storage.load("a").unwrap_err().to_string(),
            "reading /x/a: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn deleting_takes_what_lies_below() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path());
        for key in ["a/b/c", "a/b/d", "a/e"] {
            storage.store(key, b"x").unwrap();
        }
        assert_eq!(storage.keys("a/b").unwrap(), ["a/b/c", "a/b/d"]);
        storage.delete("a/b").unwrap();
        storage.delete("no/such").unwrap();
        assert_eq!(storage.keys("").unwrap(), ["a/e"]);
        assert!(storage.delete("..").is_err());
    }

    #[test]
    fn a_lock_is_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path());
        let mut lock = storage.try_lock("issue_cert_*.a.test").unwrap().unwrap();
        lock.refresh().unwrap();
        let file = folder.path().join("locks/issue_cert_wildcard_.a.test.lock");
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert!(json["created"].is_string() && json["updated"].is_string());
        assert!(storage.try_lock("issue_cert_*.a.test").unwrap().is_none());
        drop(lock);
        assert!(!file.exists());
    }

    #[test]
    fn a_lock_that_was_left_behind_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path());
        let file = folder.path().join("locks/a.lock");
        fs::create_dir(folder.path().join("locks")).unwrap();
        // As Go writes it.
        fs::write(
            &file,
            "{\"created\":\"2024-01-02T03:04:05.678901234+01:00\",\"updated\":\"2024-01-02T03:04:05Z\"}\n",
        )
        .unwrap();
        let mut taken = storage.try_lock("a").unwrap().unwrap();
        // Whoever is taken for dead meanwhile does not take away the lock of another.
        fs::remove_file(&file).unwrap();
        let other = storage.try_lock("a").unwrap().unwrap();
        assert!(taken.refresh().is_err());
        drop(taken);
        assert!(file.exists());
        drop(other);
        let future = Timestamp::now();
        fs::write(&file, format!("{{\"created\":\"{future}\",\"updated\":\"{future}\"}}\n")).unwrap();
        assert!(storage.try_lock("a").unwrap().is_none());
        fs::write(&file, "").unwrap();
        assert!(storage.try_lock("a").unwrap().is_none(), "it may be being written");
    }
}
