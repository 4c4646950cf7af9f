//! Session tickets, by which clients resume sessions without a full handshake.
//!
//! A ticket is a session, encrypted with a key that only we have (RFC 5077 section 4). Keys change in time: the newest
//! one encrypts, and older ones decrypt for a while.

mod distributed;
mod gob;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets};

use super::TlsError;
use super::storage::{SharedStorage, StorageTypes};
use crate::config::tls::SessionTickets;
pub(super) use distributed::SCHEMAS;
use distributed::Source;
use gob::Secret;

/// How often keys change unless said otherwise, as in Caddy.
const ROTATION_INTERVAL: Duration = Duration::from_secs(12 * 60 * 60);
/// So many keys are kept unless said otherwise, as in Caddy.
const KEYS_MAX: usize = 4;
/// However many are asked for, no more are kept.
const KEYS_LIMIT: usize = 64;
/// No ticket is good for longer (RFC 8446 section 4.6.1).
const LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// A key's name, which stands before what it has encrypted.
const NAME_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const KEY_BYTES: usize = 32;

/// Whether sessions can be resumed, and by which keys.
#[derive(Debug)]
pub(super) enum Tickets {
    Disabled,
    /// By keys that this process makes.
    Own(Arc<Ring>),
    /// By keys that other instances have too, until a time.
    Shared(Arc<Ring>, Source, SystemTime),
}

/// How keys change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Schedule {
    /// None if they never do.
    interval: Option<Duration>,
    keys_max: usize,
}

/// The rings of this process by their schedules, so that sessions outlast a reload.
static RINGS: Mutex<Option<HashMap<Schedule, Arc<Ring>>>> = Mutex::new(None);
/// So many schedules are remembered; a reload that asks for a further one begins with new keys.
const SCHEDULES_MAX: usize = 16;

impl Tickets {
    /// Shared keys are in `storage` unless the configuration names another one. It may block.
    ///
    /// # Errors
    /// [`TlsError`] for a source of keys that there isn't, or if no keys can be made or had.
    pub(super) fn new(
        config: Option<&SessionTickets>,
        storage: &SharedStorage,
        types: &StorageTypes,
    ) -> Result<Self, TlsError> {
        let nothing = SessionTickets::default();
        let config = config.unwrap_or(&nothing);
        let shared = match &config.key_source {
            None => None,
            Some(source) => match source.name(distributed::TAG)? {
                "standard" => None,
                distributed::NAME => Some(source),
                name => return Err(TlsError::unknown_module(distributed::NAMESPACE, name)),
            },
        };
        if config.disabled {
            return Ok(Self::Disabled);
        }
        let interval = config.rotation_interval.positive().unwrap_or(ROTATION_INTERVAL);
        let keys_max = usize::try_from(config.max_keys).ok().filter(|most| *most > 0).unwrap_or(KEYS_MAX);
        let schedule = Schedule {
            interval: (!config.disable_rotation).then_some(interval),
            keys_max: keys_max.min(KEYS_LIMIT),
        };
        if let Some(source) = shared {
            let source = Source::open(source, storage, types, schedule);
            let opened = source.and_then(|source| Ok((source.look(SystemTime::now())?, source)));
            let (keys, source) = opened.map_err(|error| error.at("session tickets"))?;
            return Ok(Self::Shared(Arc::new(Ring::of_shared(schedule, &keys)?), source, keys.next_rotation));
        }
        let mut rings = RINGS.lock().unwrap_or_else(PoisonError::into_inner);
        let rings = rings.get_or_insert_default();
        if let Some(ring) = rings.get(&schedule) {
            return Ok(Self::Own(ring.clone()));
        }
        let ring = Arc::new(Ring::new(schedule)?);
        if rings.len() < SCHEDULES_MAX {
            rings.insert(schedule, ring.clone());
        }
        Ok(Self::Own(ring))
    }

    /// Keeps shared keys up to date, for as long as it is polled.
    pub(super) async fn maintain(&self) {
        if let Self::Shared(ring, source, next) = self {
            source.follow(ring, *next).await;
        }
    }

    /// Sets `config` up to resume sessions, or never to do so.
    pub(super) fn apply(&self, config: &mut ServerConfig, allowed: bool) {
        // Sessions are kept by clients alone: nothing here grows with their number.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match self {
            Self::Own(ring) | Self::Shared(ring, ..) if allowed => {
                config.ticketer = ring.clone();
                // One is enough for a client that comes back, and half the work of the default.
                config.send_tls13_tickets = 1;
            }
            _ => config.send_tls13_tickets = 0,
        }
    }
}

/// Keys, of which the newest encrypts.
pub(super) struct Ring {
    schedule: Schedule,
    /// Whether others change the keys.
    is_shared: bool,
    /// Newest first; never empty.
    keys: ArcSwap<Vec<Arc<Key>>>,
    /// When the newest was made.
    changed: Mutex<Instant>,
}

struct Key {
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

impl Key {
    fn new() -> Result<Arc<Self>, TlsError> {
        let (mut name, mut secret) = ([0; NAME_BYTES], zeroize::Zeroizing::new([0; KEY_BYTES]));
        getrandom::fill(&mut name)
            .and_then(|()| getrandom::fill(&mut *secret))
            .map_err(|error| TlsError::Invalid(format!("no randomness: {error}")))?;
        Self::with(name, &secret)
    }

    /// The key that is made of a secret which others have too. Caddy makes others of it, so that neither's tickets
    /// are of use to attack the other's.
    fn of(secret: &Secret) -> Result<Arc<Self>, TlsError> {
        let (mut name, mut own) = ([0; NAME_BYTES], Secret::new([0; KEY_BYTES]));
        let derived = Salt::new(HKDF_SHA256, b"tollgate session tickets").extract(&**secret);
        derived
            .expand(&[b"name"], Bytes(NAME_BYTES))
            .and_then(|out| out.fill(&mut name))
            .and_then(|()| derived.expand(&[b"key"], Bytes(KEY_BYTES)))
            .and_then(|out| out.fill(&mut *own))
            .map_err(|_| no_key())?;
        Self::with(name, &own)
    }

    fn with(name: [u8; NAME_BYTES], secret: &Secret) -> Result<Arc<Self>, TlsError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &**secret).map_err(|_| no_key())?;
        Ok(Arc::new(Self { name, key }))
    }
}

fn no_key() -> TlsError {
    TlsError::Invalid("no key for session tickets can be made".into())
}

/// So many bytes of what is derived.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl Ring {
    fn new(schedule: Schedule) -> Result<Self, TlsError> {
        let keys = ArcSwap::from_pointee(vec![Key::new()?]);
        Ok(Self { schedule, is_shared: false, keys, changed: Mutex::new(Instant::now()) })
    }

    /// Puts a new key in front if it is time for that.
    fn rotate(&self, now: Instant) {
        let Some(interval) = self.schedule.interval.filter(|_| !self.is_shared) else { return };
        // Somebody else may be at it, or has the lock for a moment: the keys of now do.
        let Ok(mut changed) = self.changed.try_lock() else { return };
        if now.saturating_duration_since(*changed) < interval {
            return;
        }
        match Key::new() {
            Ok(new) => {
                let old = self.keys.load();
                let kept = old.iter().take(self.schedule.keys_max - 1).cloned();
                self.keys.store(Arc::new(std::iter::once(new).chain(kept).collect()));
                *changed = now;
            }
            Err(error) => {
                tracing::error!(target: "tls.stek", %error, "the keys of session tickets could not be changed");
            }
        }
    }
}

impl ProducesTickets for Ring {
    fn enabled(&self) -> bool {
        true
    }

    /// In seconds: as long as its key decrypts for certain, or what can be said if but one key is kept.
    fn lifetime(&self) -> u32 {
        let kept = u32::try_from(self.schedule.keys_max - 1).unwrap_or(u32::MAX).max(1);
        let lifetime = self.schedule.interval.map_or(LIFETIME_MAX, |interval| interval.saturating_mul(kept));
        u32::try_from(lifetime.min(LIFETIME_MAX).as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.rotate(Instant::now());
        let keys = self.keys.load();
        let newest = keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = newest.key.seal_in_place_append_tag(Aad::from(newest.name), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(NAME_BYTES + NONCE_BYTES + sealed.len());
        ticket.extend_from_slice(&newest.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let keys = self.keys.load();
        // The name is no secret: it stands in every ticket.
        let key = keys.iter().find(|key| key.name == *name)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.key.open_in_place(nonce, Aad::from(key.name), &mut opened).ok()?;
        let length = plain.len();
        opened.truncate(length);
        Some(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys_max: usize) -> Ring {
        Ring::new(Schedule { interval: Some(Duration::from_secs(60)), keys_max }).unwrap()
    }

    #[test]
    fn only_ours_and_only_whole() {
        let ours = ring(4);
        let ticket = ours.encrypt(b"session").unwrap();
        assert_eq!(ours.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert!(!ticket.windows(7).any(|window| window == b"session"));
        assert_eq!(ring(4).decrypt(&ticket), None);
        for at in [0, NAME_BYTES, ticket.len() - 1] {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(ours.decrypt(&changed), None, "{at}");
        }
        for length in [0, NAME_BYTES, NAME_BYTES + NONCE_BYTES] {
            assert_eq!(ours.decrypt(&ticket[..length]), None);
        }
    }

    #[test]
    fn keys_change_and_old_ones_are_forgotten() {
        let ring = ring(2);
        let begin = Instant::now();
        let first = ring.encrypt(b"1").unwrap();
        ring.rotate(begin + Duration::from_secs(30));
        assert_eq!(ring.keys.load().len(), 1);
        ring.rotate(begin + Duration::from_secs(61));
        let second = ring.encrypt(b"2").unwrap();
        assert_ne!(first[..NAME_BYTES], second[..NAME_BYTES]);
        assert!(ring.decrypt(&first).is_some() && ring.decrypt(&second).is_some());
        ring.rotate(begin + Duration::from_secs(122));
        assert!(ring.decrypt(&first).is_none() && ring.decrypt(&second).is_some());
        assert_eq!(ring.lifetime(), 60);
    }

    #[test]
    fn as_the_configuration_says() {
        let folder = tempfile::tempdir().unwrap();
        let storage = super::super::FileStorage::shared(folder.path());
        let tickets = |json: &str| {
            Tickets::new(Some(&serde_json::from_str(json).unwrap()), &storage, &StorageTypes::new())
        };
        let ring = |json: &str| match tickets(json).unwrap() {
            Tickets::Own(ring) => ring,
            other => panic!("{other:?}"),
        };
        assert_eq!(ring("{}").schedule, Schedule { interval: Some(ROTATION_INTERVAL), keys_max: KEYS_MAX });
        let said = ring(r#"{"rotation_interval": "1h", "max_keys": 2}"#).schedule;
        assert_eq!(said, Schedule { interval: Some(Duration::from_secs(3600)), keys_max: 2 });
        let fixed = ring(r#"{"disable_rotation": true}"#);
        fixed.rotate(Instant::now() + LIFETIME_MAX);
        assert_eq!((fixed.schedule.interval, fixed.keys.load().len()), (None, 1));
        assert!(matches!(tickets(r#"{"disabled": true}"#).unwrap(), Tickets::Disabled));
        // The same keys after a reload.
        assert!(Arc::ptr_eq(&ring("{}"), &ring("{}")));
        let error = tickets(r#"{"key_source": {"provider": "other"}}"#).unwrap_err().to_string();
        assert!(error.contains("tls.stek.other"), "{error}");
        let shared = tickets(r#"{"key_source": {"provider": "distributed"}}"#).unwrap();
        assert!(matches!(shared, Tickets::Shared(..)));
        assert!(storage.load_if_there("stek/stek.bin").unwrap().is_some());
    }
}
