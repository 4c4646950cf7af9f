//! Where certificates and keys are kept: files laid out as Caddy lays them out, so that either finds
//! what the other has left.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::TlsError;
use super::placeholder::expand;
use crate::config::{ModuleJson, dirs};

/// The tag under which a storage module's name stands.
const STORAGE_TAG: &str = "module";

/// How long to wait for another process that holds a lock.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A folder of files by key, such as `pki/authorities/local/root.crt`. Files are readable by their
/// owner alone, and never seen half written.
#[derive(Clone, Debug)]
pub struct FileStorage {
    root: PathBuf,
}

/// Holds a folder for this process alone, until dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock lives as long as the open folder")] File);

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileSystemJson {
    root: String,
}

impl FileStorage {
    /// The storage below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The storage that is used unless a configuration says otherwise.
    pub fn standard() -> Self {
        Self::new(dirs::data())
    }

    /// The storage that a module of `caddy.storage` describes.
    ///
    /// # Errors
    /// [`TlsError`] for any other module than `file_system`.
    pub fn from_config(json: &ModuleJson) -> Result<Self, TlsError> {
        match json.name(STORAGE_TAG)? {
            "file_system" => {
                let FileSystemJson { root } = json.decode(STORAGE_TAG)?;
                Ok(if root.is_empty() { Self::standard() } else { Self::new(expand(&root).as_ref()) })
            }
            other => Err(TlsError::Invalid(format!(
                "getting module named 'caddy.storage.{other}': module not registered: caddy.storage.{other}"
            ))),
        }
    }

    /// The file of a key.
    pub fn path(&self, key: &str) -> PathBuf {
        // Only what goes down counts: a key never leaves the root.
        let parts =
            Path::new(key).components().filter(|part| matches!(part, std::path::Component::Normal(_)));
        self.root.join(parts.collect::<PathBuf>())
    }

    /// Whether a key names a file below the root, by a way that goes down only.
    pub fn is_key(key: &str) -> bool {
        let mut parts = Path::new(key).components().peekable();
        parts.peek().is_some() && parts.all(|part| matches!(part, std::path::Component::Normal(_)))
    }

    /// All keys under which something is stored, in order. Links are not followed.
    ///
    /// # Errors
    /// [`TlsError::Read`] with the folder that can't be read.
    pub fn keys(&self) -> Result<Vec<String>, TlsError> {
        let mut keys = Vec::new();
        let mut folders = vec![self.root.clone()];
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

    /// What is stored under a key.
    ///
    /// # Errors
    /// [`TlsError::Read`] with the file.
    pub fn load(&self, key: &str) -> Result<Vec<u8>, TlsError> {
        let path = self.path(key);
        fs::read(&path).map_err(|source| TlsError::Read { path, source })
    }

    /// What is stored under a key; `None` if nothing is.
    ///
    /// # Errors
    /// [`TlsError::Read`] with the file.
    pub fn load_if_there(&self, key: &str) -> Result<Option<Vec<u8>>, TlsError> {
        match self.load(key) {
            Ok(value) => Ok(Some(value)),
            Err(TlsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores a value under a key, in place of what was there.
    ///
    /// # Errors
    /// [`TlsError::Write`] with the file.
    pub fn store(&self, key: &str, value: &[u8]) -> Result<(), TlsError> {
        let path = self.path(key);
        write(&path, value).map_err(|source| TlsError::Write { path, source })
    }

    /// Keeps other processes of ours from the folder of a key, which is made if need be.
    ///
    /// # Errors
    /// [`TlsError::Write`] if it can't be made, or stays locked.
    pub(super) fn lock(&self, key: &str) -> Result<Lock, TlsError> {
        let path = self.path(key);
        let failed = |source| TlsError::Write { path: path.clone(), source };
        make_folder(&path).map_err(failed)?;
        let folder = File::open(&path).map_err(failed)?;
        let deadline = Instant::now() + LOCK_WAIT_MAX;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(Lock(folder)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
                Err(TryLockError::WouldBlock) => {
                    return Err(failed(io::Error::new(io::ErrorKind::TimedOut, "locked by another process")));
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }
}

/// A name as part of a key, as Caddy makes it of a certificate's subject.
pub(super) fn safe(name: &str) -> String {
    let name = name.trim().to_lowercase();
    let name = name.replace(' ', "_").replace('+', "_plus_").replace('*', "wildcard_").replace(':', "-");
    let name = name.replace("..", "");
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '.' | '-')).collect()
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
    fn names_as_parts_of_keys() {
        let names = ["*.A.test", "::1", "a b+c", "../x", "ä.test"];
        assert_eq!(names.map(safe), ["wildcard_.a.test", "--1", "a_b_plus_c", "x", ".test"]);
    }

    #[test]
    fn modules() {
        let json = |text| serde_json::from_str::<ModuleJson>(text).unwrap();
        let storage = FileStorage::from_config(&json(r#"{"module":"file_system","root":"/x"}"#)).unwrap();
        assert_eq!(storage.path("a"), Path::new("/x/a"));
        let error = FileStorage::from_config(&json(r#"{"module":"redis"}"#)).unwrap_err().to_string();
        assert!(error.contains("caddy.storage.redis"), "{error}");
    }

    #[test]
    fn a_lock_is_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path());
        let lock = storage.lock("pki").unwrap();
        assert!(matches!(
            File::open(folder.path().join("pki")).unwrap().try_lock(),
            Err(TryLockError::WouldBlock)
        ));
        drop(lock);
        storage.lock("pki").unwrap();
    }
}
