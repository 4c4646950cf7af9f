//! Accounts and certificates, in the storage, so that they outlast the process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::jws::Jwk;
use super::links::Links;
use super::problem::{Kind, Problem};
use crate::tls::{SharedStorage, TlsError, safe};

/// One authority has at most so many accounts.
const ACCOUNTS_MAX: usize = 100_000;
/// Seconds for which a certificate is remembered after its end.
const REMEMBERED: i64 = 24 * 60 * 60;

pub(super) const VALID: &str = "valid";
pub(super) const DEACTIVATED: &str = "deactivated";

/// An account as it stands in the storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    pub(super) status: String,
    #[serde(default)]
    pub(super) contact: Vec<String>,
    pub(super) key: Jwk,
    /// Its address, by which the client calls itself.
    pub(super) location: String,
}

/// A certificate as it stands in the storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Issued {
    /// The id of whom it was issued for.
    pub(super) account: String,
    /// PEM, leaf first.
    pub(super) chain: String,
    /// Seconds since 1970.
    pub(super) not_after: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revoked: Option<Revoked>,
}

/// That a certificate was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Revoked {
    /// Seconds since 1970.
    pub(super) at: i64,
    /// RFC 5280 section 5.3.1.
    pub(super) reason: u8,
}

impl Account {
    /// An account's id, which its key decides.
    pub(super) fn id_of(key: &Jwk) -> String {
        key.thumbprint()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn is_valid(&self) -> bool {
        self.status == VALID
    }

    /// The document for the client (RFC 8555 section 7.1.2).
    pub(super) fn document(&self, id: &str, links: &Links) -> Value {
        let mut document = json!({});
        if !self.contact.is_empty() {
            document["contact"] = json!(self.contact);
        }
        document["status"] = json!(self.status);
        document["orders"] = links.orders(id).into();
        document
    }
}

/// What of an authority's clients is in the storage. All of it may block.
#[derive(Clone, Debug)]
pub(super) struct Records {
    storage: SharedStorage,
    folder: String,
}

/// So that what is read to be changed is not changed by others meanwhile, and how many accounts there are, once
/// they have been counted.
#[derive(Debug, Default)]
pub(super) struct Turn(Mutex<Option<usize>>);

impl Turn {
    pub(super) fn take(&self) -> MutexGuard<'_, Option<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    pub(super) fn new(storage: SharedStorage, authority: &str) -> Self {
        Self { storage, folder: folder(authority) }
    }

    pub(super) fn account(&self, id: &str) -> Result<Option<Account>, Problem> {
        self.load("accounts", id)
    }

    /// Stores a new account, if there is place for one.
    pub(super) fn add_account(
        &self,
        id: &str,
        account: &Account,
        count: &mut Option<usize>,
    ) -> Result<(), Problem> {
        let known = match *count {
            Some(known) => known,
            None => {
                let keys = self.storage.keys(&format!("{}/accounts", self.folder));
                keys.map_err(|error| Problem::internal("counting accounts", &error))?.len()
            }
        };
        if known >= ACCOUNTS_MAX {
            return Err(Problem::new(Kind::RateLimited, "there are too many accounts"));
        }
        self.store_account(id, account)?;
        *count = Some(known + 1);
        Ok(())
    }

    pub(super) fn store_account(&self, id: &str, account: &Account) -> Result<(), Problem> {
        self.store("accounts", id, account)
    }

    pub(super) fn certificate(&self, serial: &str) -> Result<Option<Issued>, Problem> {
        self.load("certificates", serial)
    }

    pub(super) fn store_certificate(&self, serial: &str, issued: &Issued) -> Result<(), Problem> {
        self.store("certificates", serial, issued)
    }

    /// Forgets certificates that have ended.
    pub(super) fn sweep(&self, now: i64) -> Result<usize, TlsError> {
        let mut removed = 0;
        for key in self.storage.keys(&format!("{}/certificates", self.folder))? {
            let Some(text) = self.storage.load_if_there(&key)? else { continue };
            let Ok(issued) = serde_json::from_slice::<Issued>(&text) else { continue };
            if issued.not_after + REMEMBERED < now {
                self.storage.delete(&key)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn load<T: for<'de> Deserialize<'de>>(&self, of: &str, id: &str) -> Result<Option<T>, Problem> {
        if !is_id(id) {
            return Ok(None);
        }
        let key = self.key(of, id);
        let failed = |error: TlsError| Problem::internal("reading the storage", &error);
        let Some(text) = self.storage.load_if_there(&key).map_err(failed)? else { return Ok(None) };
        let read = serde_json::from_slice(&text);
        read.map(Some).map_err(|error| failed(TlsError::Storage { key, problem: error.to_string() }))
    }

    fn store(&self, of: &str, id: &str, value: &impl Serialize) -> Result<(), Problem> {
        let key = self.key(of, id);
        let stored = serde_json::to_vec(value)
            .map_err(|error| TlsError::Storage { key: key.clone(), problem: error.to_string() })
            .and_then(|text| self.storage.store(&key, &text));
        stored.map_err(|error| Problem::internal("writing to the storage", &error))
    }

    fn key(&self, of: &str, id: &str) -> String {
        format!("{}/{of}/{id}.json", self.folder)
    }
}

/// The folder of what concerns one authority's clients.
pub(super) fn folder(authority: &str) -> String {
    format!("acme_server/{}", safe(authority))
}

/// Whether a text may be the id of something: 128 bits in hexadecimal. It goes into keys of the storage.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::FileStorage;

    fn issued(not_after: i64) -> Issued {
        Issued { account: "a".into(), chain: "c".into(), not_after, revoked: None }
    }

    #[test]
    fn certificates_are_forgotten_after_their_end() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(FileStorage::shared(folder.path()), "My CA/..");
        let ids = ["0".repeat(32), "1".repeat(32)];
        records.store_certificate(&ids[0], &issued(1000)).unwrap();
        records.store_certificate(&ids[1], &issued(2000)).unwrap();
        assert_eq!(records.sweep(1001 + REMEMBERED).unwrap(), 1);
        assert_eq!(records.certificate(&ids[0]).unwrap(), None);
        assert_eq!(records.certificate(&ids[1]).unwrap(), Some(issued(2000)));
        assert!(folder.path().join(format!("acme_server/my_ca/certificates/{}.json", ids[1])).is_file());
    }

    #[test]
    fn ids_that_are_none_reach_no_storage() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(FileStorage::shared(folder.path()), "local");
        std::fs::create_dir_all(folder.path().join("acme_server/local/accounts")).unwrap();
        for id in ["", "../../x", &"A".repeat(32), &"0".repeat(31), &"/".repeat(32)] {
            assert_eq!(records.account(id).unwrap(), None);
        }
    }
}
