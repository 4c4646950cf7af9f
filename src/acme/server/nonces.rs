//! Numbers that are good for one message each (RFC 8555 section 6.5).
//!
//! Nothing is kept of a nonce that was given out: it carries the time and a proof that it is ours. Kept are
//! those that were used, up to a bound; where it is reached, all that are as old as the oldest of them count
//! as used.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A nonce is good for this long.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// So many used ones are kept.
const USED_MAX: usize = 65_536;
const RANDOM_BYTES: usize = 8;
const PROOF_BYTES: usize = 16;
const NONCE_BYTES: usize = 8 + RANDOM_BYTES + PROOF_BYTES;

/// Milliseconds since 1970, and something random.
type Stamp = (u64, [u8; RANDOM_BYTES]);

/// Gives out nonces, and takes each of them once.
#[derive(Debug)]
pub(super) struct Nonces {
    key: hmac::Key,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    stamps: BTreeSet<Stamp>,
    /// All nonces up to this time count as used.
    all_until: u64,
}

impl Nonces {
    /// Nonces of a new key, so that none of another process are good here.
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        // Without randomness the key is known, and a nonce could be made up; none could be used twice.
        let _ = getrandom::fill(&mut key);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key), used: Mutex::default() }
    }

    /// A new one.
    pub(super) fn make(&self) -> String {
        self.make_at(now())
    }

    fn make_at(&self, now: u64) -> String {
        let mut random = [0; RANDOM_BYTES];
        let _ = getrandom::fill(&mut random);
        let mut bytes = [&now.to_be_bytes()[..], &random].concat();
        let proof = hmac::sign(&self.key, &bytes);
        bytes.extend_from_slice(&proof.as_ref()[..PROOF_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether a nonce is ours, fresh, and comes for the first time.
    pub(super) fn take(&self, nonce: &str) -> bool {
        self.take_at(nonce, now(), USED_MAX)
    }

    fn take_at(&self, nonce: &str, now: u64, used_max: usize) -> bool {
        let Some(stamp @ (time, _)) = self.read(nonce) else { return false };
        let oldest = now.saturating_sub(u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX));
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if time < oldest || time <= used.all_until || !used.stamps.insert(stamp) {
            return false;
        }
        while used.stamps.first().is_some_and(|(time, _)| *time < oldest) || used.stamps.len() > used_max {
            let Some((time, _)) = used.stamps.pop_first() else { break };
            used.all_until = used.all_until.max(time);
        }
        true
    }

    fn read(&self, nonce: &str) -> Option<Stamp> {
        let mut bytes = [0; NONCE_BYTES];
        // Another length does not fit, or leaves bytes that no proof belongs to.
        if URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes).ok()? != NONCE_BYTES {
            return None;
        }
        let (stamp, proof) = bytes.split_at(8 + RANDOM_BYTES);
        let made = hmac::sign(&self.key, stamp);
        aws_lc_rs::constant_time::verify_slices_are_equal(&made.as_ref()[..PROOF_BYTES], proof).ok()?;
        let (time, random) = stamp.split_at(8);
        Some((u64::from_be_bytes(time.try_into().ok()?), random.try_into().ok()?))
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_good_once() {
        let nonces = Nonces::new();
        let (first, second) = (nonces.make(), nonces.make());
        assert_ne!(first, second);
        assert!(nonces.take(&second) && nonces.take(&first));
        assert!(!nonces.take(&first) && !nonces.take(&second));
    }

    #[test]
    fn those_of_others_and_broken_ones_are_no_good() {
        let nonces = Nonces::new();
        assert!(!nonces.take(&Nonces::new().make()));
        let good = nonces.make();
        for bad in ["", "AAAA", "!", &good[1..], &format!("{good}AAAA"), &format!("{good}=")] {
            assert!(!nonces.take(bad), "{bad}");
        }
        assert!(nonces.take(&good));
    }

    #[test]
    fn they_grow_old() {
        let nonces = Nonces::new();
        let hour = 60 * 60 * 1000;
        let (early, late) = (nonces.make_at(1000), nonces.make_at(2000));
        assert!(!nonces.take_at(&early, 1001 + hour, USED_MAX));
        assert!(nonces.take_at(&late, 1001 + hour, USED_MAX));
    }

    #[test]
    fn few_are_kept_and_still_none_is_good_twice() {
        let nonces = Nonces::new();
        let made: Vec<String> = (0..10).map(|time| nonces.make_at(1000 + time)).collect();
        let never_used = nonces.make_at(1003);
        for nonce in &made {
            assert!(nonces.take_at(nonce, 2000, 4));
        }
        assert!(nonces.used.lock().unwrap().stamps.len() <= 4);
        for nonce in &made {
            assert!(!nonces.take_at(nonce, 2000, 4));
        }
        assert!(!nonces.take_at(&never_used, 2000, 4), "the price");
        assert!(nonces.take_at(&nonces.make_at(1010), 2000, 4));
    }
}
