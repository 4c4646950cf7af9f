//! Keys that all instances with one storage share, so that each resumes the sessions of the others. Whoever finds
//! that it is time makes the next one; the others find it in the storage then.

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::storage::{self, SharedStorage, StorageTypes, blocking};
use super::super::{Storage, TlsError};
use super::gob::{Secret, SharedKeys};
use super::{KEY_BYTES, KEYS_LIMIT, ROTATION_INTERVAL, Ring, Schedule};
use crate::config::schema::{self, ModuleSchema};
use crate::config::{ModuleError, ModuleJson};

/// Its name in JSON.
pub(super) const NAME: &str = "distributed";
/// The tag under which a source's name stands.
pub(super) const TAG: &str = "provider";
pub(super) const NAMESPACE: &str = "tls.stek";

/// Where Caddy keeps them.
const FILE: &str = "stek/stek.bin";
/// The name of the lock while they are looked at, as in Caddy.
const LOCK: &str = "stek_check";
/// Nobody needs that lock for longer.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// However soon they shall change, they are not looked at more often.
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// However late they shall change, they are looked at: another may have changed them sooner.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);
/// How long until they are looked at again after that went wrong.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// What can be said of it.
pub(in super::super) const SCHEMAS: &[ModuleSchema] = &[ModuleSchema::of::<Json>(NAMESPACE, NAME)];

/// The JSON form.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "DistributedTicketKeys")]
pub(super) struct Json {
    /// Where the keys are kept; a module of `caddy.storage`. None means where certificates are.
    #[schemars(with = "Option<schema::Storage>")]
    storage: Option<ModuleJson>,
}

/// Where the keys are.
#[derive(Clone, Debug)]
pub(in super::super) struct Source {
    storage: SharedStorage,
    schedule: Schedule,
}

impl Source {
    pub(super) fn open(
        json: &ModuleJson,
        default: &SharedStorage,
        types: &StorageTypes,
        schedule: Schedule,
    ) -> Result<Self, TlsError> {
        let Json { storage } = json.decode(TAG).map_err(|error: ModuleError| TlsError::from(error))?;
        let storage = match storage {
            Some(json) => storage::open(&json, types)?,
            None => default.clone(),
        };
        Ok(Self { storage, schedule })
    }

    /// The keys of now; the next one is made first if it is time for it. It blocks.
    pub(super) fn look(&self, now: SystemTime) -> Result<SharedKeys, TlsError> {
        let _lock = storage::lock(&*self.storage, LOCK, LOCK_PATIENCE)?;
        let stored = match self.storage.load_if_there(FILE)? {
            Some(bytes) => {
                let bytes = zeroize::Zeroizing::new(bytes);
                let unreadable = |problem: &str| TlsError::Storage {
                    key: FILE.to_owned(),
                    problem: format!("the keys of session tickets can't be read: {problem}"),
                };
                Some(SharedKeys::decode(&bytes).map_err(unreadable)?)
            }
            None => None,
        };
        match stored {
            Some(keys) if !self.is_due(&keys, now) => Ok(keys),
            old => {
                let next = self.rotated(old, now)?;
                Storage::store(&*self.storage, FILE, &next.encode())?;
                Ok(next)
            }
        }
    }

    /// Whether it is time for the next key. One that is to come much later than any would was put off by a machine
    /// whose clock is wrong.
    fn is_due(&self, keys: &SharedKeys, now: SystemTime) -> bool {
        self.schedule.interval.is_some_and(|interval| {
            now >= keys.next_rotation || keys.next_rotation > now + interval.saturating_mul(2)
        })
    }

    /// The same keys with a new one in front.
    fn rotated(&self, old: Option<SharedKeys>, now: SystemTime) -> Result<SharedKeys, TlsError> {
        let mut secret = Secret::new([0; KEY_BYTES]);
        getrandom::fill(&mut *secret)
            .map_err(|error| TlsError::Invalid(format!("no randomness: {error}")))?;
        let mut secrets = old.map(|old| old.secrets).unwrap_or_default();
        secrets.truncate(self.schedule.keys_max - 1);
        secrets.insert(0, secret);
        let interval = self.schedule.interval.unwrap_or(ROTATION_INTERVAL);
        Ok(SharedKeys { secrets, last_rotation: now, next_rotation: now + interval })
    }

    /// Keeps a ring's keys what they are in the storage, for as long as it is polled.
    pub(super) async fn follow(&self, ring: &Ring, mut next: SystemTime) {
        let mut failed = false;
        loop {
            let wait = match next.duration_since(SystemTime::now()).unwrap_or_default() {
                _ if failed => RETRY_INTERVAL,
                // Nothing becomes due.
                _ if self.schedule.interval.is_none() => LOOK_INTERVAL_MAX,
                wait => wait.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL_MAX),
            };
            tokio::time::sleep(wait).await;
            let source = self.clone();
            let looked = blocking(move || source.look(SystemTime::now())).await;
            let taken = looked.and_then(|keys| {
                ring.take(&keys)?;
                Ok(keys.next_rotation)
            });
            failed = taken.is_err();
            match taken {
                Ok(due) => next = due,
                // Those at hand do meanwhile.
                Err(error) => {
                    tracing::error!(target: "tls.stek", %error, "the shared keys of session tickets could not be had");
                }
            }
        }
    }
}

impl Ring {
    /// Takes these keys in place of its own.
    fn take(&self, shared: &SharedKeys) -> Result<(), TlsError> {
        let keys = shared.secrets.iter().take(KEYS_LIMIT).map(super::Key::of).collect::<Result<_, _>>()?;
        self.keys.store(std::sync::Arc::new(keys));
        Ok(())
    }

    /// A ring of these keys, which others change.
    pub(super) fn of_shared(schedule: Schedule, shared: &SharedKeys) -> Result<Self, TlsError> {
        let ring = Self { is_shared: true, ..Self::new(schedule)? };
        ring.take(shared)?;
        Ok(ring)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use rustls::server::ProducesTickets as _;

    use super::super::super::FileStorage;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn source(storage: &SharedStorage, keys_max: usize) -> Source {
        Source { storage: storage.clone(), schedule: Schedule { interval: Some(HOUR), keys_max } }
    }

    fn ring(keys: &SharedKeys) -> Ring {
        Ring::of_shared(Schedule { interval: Some(HOUR), keys_max: 4 }, keys).unwrap()
    }

    #[test]
    fn one_makes_the_keys_and_all_have_them() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::shared(folder.path());
        let (one, other) = (source(&storage, 2), source(&storage, 2));
        let begin = UNIX_EPOCH + 1000 * HOUR;
        let (first, same) = (one.look(begin).unwrap(), other.look(begin + HOUR / 2).unwrap());
        let ticket = ring(&first).encrypt(b"session").unwrap();
        assert_eq!(ring(&same).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        // When it is time, whoever comes first makes the next key, and only once.
        let second = other.look(begin + HOUR).unwrap();
        assert_eq!(second.next_rotation, begin + 2 * HOUR);
        let same = one.look(begin + HOUR + HOUR / 2).unwrap();
        assert!(second.secrets == same.secrets && second.secrets[1] == first.secrets[0]);
        // The old one still decrypts, and the new one encrypts. The ring itself makes none.
        let one = ring(&first);
        one.take(&same).unwrap();
        one.rotate(std::time::Instant::now() + 2 * HOUR);
        assert_eq!((one.keys.load().len(), one.lifetime()), (2, 3 * 3600));
        assert!(one.decrypt(&ticket).is_some());
        let ticket = one.encrypt(b"session").unwrap();
        assert!(ring(&first).decrypt(&ticket).is_none() && ring(&second).decrypt(&ticket).is_some());
        // No more are kept than shall be.
        let third = other.look(begin + 2 * HOUR).unwrap();
        assert!(third.secrets.len() == 2 && third.secrets[1] == second.secrets[0]);
    }

    #[test]
    fn a_clock_that_is_wrong_does_not_stop_the_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::shared(folder.path());
        let source = source(&storage, 4);
        let now = UNIX_EPOCH + 1000 * HOUR;
        let early = source.look(now + 5000 * HOUR).unwrap();
        let next = source.look(now).unwrap();
        assert!(next.next_rotation == now + HOUR && next.secrets[1] == early.secrets[0]);
        // Clocks that differ a little take nothing from each other.
        assert!(source.look(now - HOUR / 2).unwrap().secrets == next.secrets);
    }

    #[test]
    fn without_rotation_they_stay_as_others_have_made_them() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::shared(folder.path());
        let mut fixed = source(&storage, 4);
        fixed.schedule.interval = None;
        let begin = UNIX_EPOCH + 1000 * HOUR;
        let first = fixed.look(begin).unwrap();
        assert_eq!(first.next_rotation, begin + ROTATION_INTERVAL);
        let later = begin + 100 * HOUR;
        assert!(fixed.look(later).unwrap().secrets == first.secrets);
        let rotated = source(&storage, 4).look(later).unwrap();
        assert!(fixed.look(later).unwrap().secrets == rotated.secrets);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::shared(folder.path());
        storage.store(FILE, b"?").unwrap();
        let error = source(&storage, 4).look(UNIX_EPOCH).err().unwrap().to_string();
        assert!(error.contains("stek/stek.bin: the keys of session tickets can't be read"), "{error}");
    }

    #[test]
    fn a_storage_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let default = FileStorage::shared(folder.path());
        let schedule = Schedule { interval: Some(HOUR), keys_max: 4 };
        let open = |json: &str| {
            let json = serde_json::from_str(json).unwrap();
            Source::open(&json, &default, &StorageTypes::new(), schedule).map(drop)
        };
        open(r#"{"provider": "distributed"}"#).unwrap();
        let error =
            open(r#"{"provider": "distributed", "storage": {"module": "x"}}"#).unwrap_err().to_string();
        assert!(error.contains("caddy.storage.x"), "{error}");
        assert!(open(r#"{"provider": "distributed", "stroage": {}}"#).is_err());
    }
}
