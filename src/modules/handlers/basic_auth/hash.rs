//! Hashes of passwords, and comparing with them, which takes its time on purpose.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::{Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::http::constant_time;

/// How passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Algorithm {
    Bcrypt,
    Argon2id,
}

impl Algorithm {
    pub(super) const NAMES: [&'static str; 2] = ["argon2id", "bcrypt"];

    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "bcrypt" => Some(Self::Bcrypt),
            "argon2id" => Some(Self::Argon2id),
            _ => None,
        }
    }
}

/// A hash of a password.
#[derive(Clone, Debug)]
pub(super) enum Hash {
    /// In its own form: `$2a$14$...`.
    Bcrypt(String),
    /// Taken apart.
    Argon2id { params: Params, salt: Vec<u8>, key: Vec<u8> },
    /// Matches nothing.
    Malformed,
}

/// Why a hash can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum HashError {
    #[error("{0}")]
    Bcrypt(#[from] bcrypt::BcryptError),
    #[error("it is not UTF-8")]
    Text(#[from] std::str::Utf8Error),
    #[error("invalid hash format")]
    Form,
    #[error("unsupported variant: {0}")]
    Variant(String),
    #[error("incompatible version: {0}")]
    Version(String),
    #[error("invalid parameters: {0}")]
    Params(argon2::Error),
    #[error("{0}")]
    Base64(#[from] base64::DecodeError),
}

impl Hash {
    /// Reads a hash in its usual form.
    pub(super) fn read(algorithm: Algorithm, text: &[u8]) -> Result<Self, HashError> {
        let text = std::str::from_utf8(text)?;
        match algorithm {
            Algorithm::Bcrypt => {
                // Taken apart to see that it can be.
                text.parse::<bcrypt::HashParts>()?;
                Ok(Self::Bcrypt(text.to_owned()))
            }
            Algorithm::Argon2id => Self::read_argon2id(text),
        }
    }

    /// Reads `$argon2id$v=19$m=47104,t=1,p=1$SALT$KEY`.
    fn read_argon2id(text: &str) -> Result<Self, HashError> {
        let parts: Vec<&str> = text.split('$').collect();
        let [_, variant, version, params, salt, key] = parts[..] else { return Err(HashError::Form) };
        if variant != "argon2id" {
            return Err(HashError::Variant(variant.to_owned()));
        }
        if version.trim_start_matches("v=").parse() != Ok(Version::V0x13 as u32) {
            return Err(HashError::Version(version.to_owned()));
        }
        let numbers: Vec<u32> = params
            .split(',')
            .zip(["m=", "t=", "p="])
            .map(|(param, name)| {
                param.strip_prefix(name).unwrap_or(param).parse().map_err(|_| HashError::Form)
            })
            .collect::<Result<_, _>>()?;
        let [memory, passes, lanes] = numbers[..] else { return Err(HashError::Form) };
        let key = STANDARD_NO_PAD.decode(key)?;
        let params = Params::new(memory, passes, lanes, Some(key.len())).map_err(HashError::Params)?;
        Ok(Self::Argon2id { params, salt: STANDARD_NO_PAD.decode(salt)?, key })
    }

    /// A hash that takes as long to compare with and is of no password, or none that anyone knows.
    pub(super) fn decoy(&self) -> Option<Self> {
        match self {
            Self::Bcrypt(text) => {
                // The last part is the outcome; another one is as good.
                let (head, outcome) = text.split_at_checked(29)?;
                Some(Self::Bcrypt(format!("{head}{}", outcome.chars().rev().collect::<String>())))
            }
            Self::Argon2id { params, salt, key } => {
                let key = key.iter().map(|byte| !byte).collect();
                Some(Self::Argon2id { params: params.clone(), salt: salt.clone(), key })
            }
            Self::Malformed => None,
        }
    }

    /// The decoy where there is no account to make one from.
    pub(super) fn default_decoy(algorithm: Algorithm) -> Self {
        let text = match algorithm {
            Algorithm::Bcrypt => "$2a$14$X3ulqf/iGxnf1k6oMZ.RZeJUoqI9PX2PM4rS5lkIKJXduLGXGPrt6",
            Algorithm::Argon2id => {
                "$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg"
            }
        };
        Self::read(algorithm, text.as_bytes()).unwrap_or(Self::Malformed)
    }

    /// Whether it is the hash of this password. Takes long.
    fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Self::Argon2id { params, salt, key } => {
                let argon2 = Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params.clone());
                let mut computed = vec![0; key.len()];
                argon2.hash_password_into(password, salt, &mut computed).is_ok()
                    && constant_time::equal(&computed, key)
            }
            Self::Malformed => false,
        }
    }
}

/// Comparisons that run at a time. Half of the cores stay free for requests.
static RUNNING: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Semaphore::new((cores / 2).max(1))
});

/// Comparisons that wait for their turn or run.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// More do not wait.
const WAITING_MAX: usize = 1024;

/// Nor longer than this.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// There is too much to compare already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub(super) struct Busy;

/// Counts one comparison for as long as it lives.
struct Waiting;

impl Waiting {
    fn begin() -> Result<Self, Busy> {
        let waiting = Self;
        if WAITING.fetch_add(1, Ordering::Relaxed) < WAITING_MAX { Ok(waiting) } else { Err(Busy) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Compares on a thread of its own, so that no worker waits.
pub(super) async fn compare(hash: Arc<Hash>, password: Vec<u8>) -> Result<bool, Busy> {
    let _waiting = Waiting::begin()?;
    let turn =
        tokio::time::timeout(WAIT_MAX, RUNNING.acquire()).await.map_err(|_| Busy)?.map_err(|_| Busy)?;
    // The turn ends with the comparison, even if nobody waits for its outcome any more.
    tokio::task::spawn_blocking(move || {
        let right = hash.is_of(&password);
        drop(turn);
        right
    })
    .await
    .map_err(|_| Busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argon2id_is_read_and_compared() {
        // As `caddy hash-password --algorithm argon2id` prints it, for "antitiming".
        let Hash::Argon2id { params, .. } = Hash::default_decoy(Algorithm::Argon2id) else { panic!() };
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (47104, 1, 1));
        let small = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$WkoJLcIFbBLBvwzmzeYZBgR8LPjZcEWFPyFyNqvRZZQ";
        let hash = Hash::read(Algorithm::Argon2id, small.as_bytes()).unwrap();
        assert!(!hash.is_of(b"wrong"));
        assert!(!hash.decoy().unwrap().is_of(b"wrong"));
    }

    #[test]
    fn malformed_hashes_are_told() {
        for (algorithm, text) in [
            (Algorithm::Bcrypt, "$2a$14$short"),
            (Algorithm::Bcrypt, "plain"),
            (Algorithm::Argon2id, "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA"),
            (Algorithm::Argon2id, "$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ$AAAA"),
            (Algorithm::Argon2id, "$argon2id$v=19$m=8,t=1$c29tZXNhbHQ$AAAA"),
            (Algorithm::Argon2id, "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ"),
        ] {
            assert!(Hash::read(algorithm, text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_decoy_is_no_hash_of_the_same_password() {
        let text = bcrypt::hash("right", 4).unwrap();
        let hash = Hash::read(Algorithm::Bcrypt, text.as_bytes()).unwrap();
        assert!(hash.is_of(b"right") && !hash.is_of(b"wrong"));
        assert!(!hash.decoy().unwrap().is_of(b"right"));
    }
}
