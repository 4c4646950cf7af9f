//! Where certificates and keys are kept: values by key, laid out as Caddy lays them out, so that
//! either finds what the other has left.

mod clean;
mod file;
mod lease;

use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub(super) use clean::clean;
pub use file::FileStorage;
pub(super) use file::SCHEMAS;
pub use lease::{Lease, blocking};

use super::TlsError;
use crate::config::ModuleJson;

/// The tag under which a storage module's name stands.
const STORAGE_TAG: &str = "module";
/// Caddy's namespace of storages.
const NAMESPACE: &str = "caddy.storage";
/// How often somebody who waits for a lock looks again.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Values by key, such as `pki/authorities/local/root.crt`, that outlast the process and that several
/// instances may share. All of it may block, so none of it may run on a worker.
pub trait Storage: fmt::Debug + Send + Sync {
    /// What is stored under a key; `None` if nothing is.
    ///
    /// # Errors
    /// [`TlsError`] that names the key or the file.
    fn load_if_there(&self, key: &str) -> Result<Option<Vec<u8>>, TlsError>;

    /// Stores a value under a key, in place of what was there. Nobody ever sees a part of it.
    ///
    /// # Errors
    /// [`TlsError`] that names the key or the file.
    fn store(&self, key: &str, value: &[u8]) -> Result<(), TlsError>;

    /// Forgets what is stored under a key, and under all keys below it.
    ///
    /// # Errors
    /// [`TlsError`] if something stays.
    fn delete(&self, key: &str) -> Result<(), TlsError>;

    /// All keys below `prefix` under which something is stored, in order; the empty prefix is above
    /// all of them.
    ///
    /// # Errors
    /// [`TlsError`] if the storage can't be read.
    fn keys(&self, prefix: &str) -> Result<Vec<String>, TlsError>;

    /// When a key's value was stored, if there is one and the storage knows.
    ///
    /// # Errors
    /// [`TlsError`] if the storage can't be read.
    fn modified(&self, key: &str) -> Result<Option<SystemTime>, TlsError>;

    /// Takes a lock that all instances know by this name; `None` while another holds it.
    ///
    /// # Errors
    /// [`TlsError`] if the storage can't tell.
    fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, TlsError>;

    /// What is stored under a key.
    ///
    /// # Errors
    /// [`TlsError`] that names the key or the file, also if nothing is there.
    fn load(&self, key: &str) -> Result<Vec<u8>, TlsError> {
        let missing = || TlsError::Storage { key: key.to_owned(), problem: "nothing is stored there".into() };
        self.load_if_there(key)?.ok_or_else(missing)
    }
}

/// A lock that this process holds. Others take it for abandoned once it has not been refreshed for a
/// while. Dropping it gives it back.
pub trait Lock: fmt::Debug + Send {
    /// Shows that we are still there. To be called at least every `LOCK_REFRESH_INTERVAL`.
    ///
    /// # Errors
    /// [`TlsError`] if it is lost, or may be.
    fn refresh(&mut self) -> Result<(), TlsError>;
}

/// A lock must be refreshed this often; twice as long, and others may take it, as in Caddy.
pub const LOCK_REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// A storage that several may use.
pub type SharedStorage = Arc<dyn Storage>;

/// A row of the table of storages.
#[derive(Debug)]
pub struct StorageType {
    /// Its name in JSON, without the namespace.
    pub id: &'static str,
    /// Opens the storage that a module's JSON describes. It may block.
    pub open: fn(&ModuleJson) -> Result<SharedStorage, TlsError>,
}

/// The storages that there are, by their names in JSON.
pub type StorageTypes = HashMap<&'static str, &'static StorageType>;

/// Opens the storage that a configuration describes. It may block.
///
/// # Errors
/// [`TlsError`] if there is no such module, or it can't be opened.
pub fn open(json: &ModuleJson, types: &StorageTypes) -> Result<SharedStorage, TlsError> {
    let name = json.name(STORAGE_TAG)?;
    let row = types.get(name).ok_or_else(|| TlsError::unknown_module(NAMESPACE, name))?;
    (row.open)(json)
}

/// Reads a storage module's own fields.
///
/// # Errors
/// [`TlsError`] for one that does not fit.
pub fn decode<T: serde::de::DeserializeOwned>(json: &ModuleJson) -> Result<T, TlsError> {
    Ok(json.decode(STORAGE_TAG)?)
}

/// Waits for a lock, without letting the thread do anything else.
///
/// # Errors
/// [`TlsError`] if another holds it for longer than `patience`.
pub(super) fn lock(storage: &dyn Storage, name: &str, patience: Duration) -> Result<Box<dyn Lock>, TlsError> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(lock) = storage.try_lock(name)? {
            return Ok(lock);
        }
        if Instant::now() >= deadline {
            return Err(TlsError::Locked(name.to_owned()));
        }
        std::thread::sleep(LOCK_POLL);
    }
}

/// Whether a key goes down only, so that it can't lead out of a storage.
pub fn is_key(key: &str) -> bool {
    let mut parts = Path::new(key).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// A name as part of a key, as Caddy makes it of a certificate's subject.
pub fn safe(name: &str) -> String {
    let name = name.trim().to_lowercase();
    let name = name.replace(' ', "_").replace('+', "_plus_").replace('*', "wildcard_").replace(':', "-");
    let name = name.replace("..", "");
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '.' | '-')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_parts_of_keys() {
        let names = ["*.A.test", "::1", "a b+c", "../x", "ä.test"];
        assert_eq!(names.map(safe), ["wildcard_.a.test", "--1", "a_b_plus_c", "x", ".test"]);
    }

    #[test]
    fn keys_go_down_only() {
        assert!(is_key("a/b.crt") && is_key("a"));
        assert!(!is_key("") && !is_key("../a") && !is_key("/a") && !is_key("a/../../b"));
    }

    #[test]
    fn a_storage_that_there_is_not_is_named() {
        let json = serde_json::from_str(r#"{"module":"redis"}"#).unwrap();
        let error = open(&json, &StorageTypes::new()).unwrap_err().to_string();
        assert!(error.contains("caddy.storage.redis"), "{error}");
    }

    #[test]
    fn waiting_for_a_lock_ends() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path());
        let held = lock(&storage, "a", Duration::ZERO).unwrap();
        let error = lock(&storage, "a", Duration::from_millis(30)).unwrap_err();
        assert!(matches!(error, TlsError::Locked(name) if name == "a"));
        drop(held);
        lock(&storage, "a", Duration::ZERO).unwrap();
    }
}
