//! Removing what nobody will need any more from a storage.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Storage;
use crate::tls::{TlsError, ocsp};

/// A certificate stays so long after it has expired, as in Caddy.
const GRACE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// The lock of whoever cleans, as in Caddy.
const LOCK: &str = "storage_clean";
/// Where it stands when a storage was cleaned last, as in Caddy.
const LAST: &str = "last_clean.json";
const CERTIFICATES: &str = "certificates";

/// Removes certificates that have expired long ago, with their keys, and staples that have; unless another instance is at it, or the storage
/// was cleaned within `interval`. How many certificates there were.
///
/// # Errors
/// [`TlsError`] if the storage can't be read or written.
pub(in super::super) fn clean(storage: &dyn Storage, interval: Duration) -> Result<usize, TlsError> {
    clean_at(storage, interval, SystemTime::now())
}

fn clean_at(storage: &dyn Storage, interval: Duration, now: SystemTime) -> Result<usize, TlsError> {
    let (keys, staples) = (storage.keys(CERTIFICATES)?, storage.keys(ocsp::FOLDER)?);
    if keys.is_empty() && staples.is_empty() {
        return Ok(0);
    }
    let Some(_lock) = storage.try_lock(LOCK)? else { return Ok(0) };
    if last(storage)?.is_some_and(|last| now < last + interval) {
        return Ok(0);
    }
    for key in &staples {
        if let Err(error) = clean_staple(storage, key, now) {
            tracing::warn!(target: "tls.storage", key, %error, "cleaning up a staple failed");
        }
    }
    let mut removed = 0;
    for key in keys.iter().filter(|key| key.ends_with(".crt")) {
        let expired = storage.load_if_there(key)?.and_then(|text| not_after(&text));
        if expired.is_none_or(|expired| expired + GRACE >= now) {
            continue;
        }
        tracing::info!(target: "tls.storage", key, "certificate expired beyond grace period; cleaning up");
        let base = key.trim_end_matches("crt");
        for ending in ["crt", "key", "json", "key.compromised"] {
            storage.delete(&format!("{base}{ending}"))?;
        }
        if let Some((folder, _)) = key.rsplit_once('/')
            && storage.keys(folder)?.is_empty()
        {
            storage.delete(folder)?;
        }
        removed += 1;
    }
    let stamp = Timestamp::try_from(now).unwrap_or_default().to_string();
    storage.store(LAST, json!({"tls": {"timestamp": stamp}}).to_string().as_bytes())?;
    Ok(removed)
}

/// Deletes a staple that has ended.
fn clean_staple(storage: &dyn Storage, key: &str, now: SystemTime) -> Result<(), TlsError> {
    let Some(staple) = storage.load_if_there(key)? else { return Ok(()) };
    // One without an end is asked for again each time.
    let ends = ocsp::end_of_stored(&staple).ok().flatten();
    if ends.and_then(since_epoch).is_none_or(|ends| ends < now) {
        storage.delete(key)?;
    }
    Ok(())
}

/// When the storage was cleaned last.
fn last(storage: &dyn Storage) -> Result<Option<SystemTime>, TlsError> {
    let Some(text) = storage.load_if_there(LAST)? else { return Ok(None) };
    let json: Value = serde_json::from_slice(&text).unwrap_or_default();
    let stamp = json["tls"]["timestamp"].as_str().and_then(|stamp| stamp.parse::<Timestamp>().ok());
    Ok(stamp.map(SystemTime::from))
}

/// When the first certificate of a PEM text ends. What can't be read is nobody's to judge.
fn not_after(text: &[u8]) -> Option<SystemTime> {
    let der = CertificateDer::from_pem_slice(text).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    since_epoch(certificate.validity().not_after.timestamp())
}

fn since_epoch(seconds: i64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::FileStorage;
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A storage with a certificate, its key, and something that is none of both.
    fn storage(folder: &std::path::Path) -> (FileStorage, SystemTime) {
        let storage = FileStorage::new(folder);
        let pair = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let ends = not_after(pair.cert.pem().as_bytes()).unwrap();
        for (name, text) in
            [("a.test.crt", pair.cert.pem()), ("a.test.key", "k".into()), ("a.test.json", "{}".into())]
        {
            storage.store(&format!("certificates/ca/a.test/{name}"), text.as_bytes()).unwrap();
        }
        storage.store("certificates/ca/b.test/b.test.crt", b"nonsense").unwrap();
        storage.store("acme/ca/users/default/default.key", b"k").unwrap();
        (storage, ends)
    }

    #[test]
    fn two_weeks_after_its_end_a_certificate_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, ends) = storage(folder.path());
        assert_eq!(clean_at(&storage, Duration::ZERO, ends + DAY * 13).unwrap(), 0);
        assert_eq!(clean_at(&storage, Duration::ZERO, ends + DAY * 15).unwrap(), 1);
        assert!(!folder.path().join("certificates/ca/a.test").exists());
        let kept =
            ["acme/ca/users/default/default.key", "certificates/ca/b.test/b.test.crt", "last_clean.json"];
        assert_eq!(storage.keys("").unwrap(), kept);
    }

    #[test]
    fn not_too_often_and_not_by_two() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, ends) = storage(folder.path());
        let now = ends + DAY * 15;
        // As Caddy writes it.
        let stamp = Timestamp::try_from(now - DAY / 2).unwrap();
        let last = format!("{{\"tls\":{{\"timestamp\":\"{stamp}\",\"instance_id\":\"x\"}}}}");
        storage.store(LAST, last.as_bytes()).unwrap();
        assert_eq!(clean_at(&storage, DAY, now).unwrap(), 0);
        let lock = storage.try_lock(LOCK).unwrap();
        assert_eq!(clean_at(&storage, Duration::ZERO, now).unwrap(), 0);
        drop(lock);
        assert_eq!(clean_at(&storage, Duration::ZERO, now).unwrap(), 1);
    }

    #[test]
    fn staples_go_when_they_have_ended() {
        let authority = ocsp::testing::Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path());
        let says = ocsp::testing::Says::good();
        storage.store("ocsp/a.test-1", &authority.answer_about("a.test", &says)).unwrap();
        storage.store("ocsp/b.test-2", b"nonsense").unwrap();
        let now = SystemTime::now();
        assert_eq!(clean_at(&storage, Duration::ZERO, now).unwrap(), 0);
        assert_eq!(storage.keys("ocsp").unwrap(), ["ocsp/a.test-1"]);
        clean_at(&storage, Duration::ZERO, now + DAY * 2).unwrap();
        assert!(storage.keys("ocsp").unwrap().is_empty());
    }

    #[test]
    fn an_empty_storage_stays_empty() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path());
        assert_eq!(clean(&storage, DAY).unwrap(), 0);
        assert_eq!(storage.keys("").unwrap(), Vec::<String>::new());
    }
}
