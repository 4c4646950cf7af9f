//! Accounts with authorities, in the storage as Caddy keeps them.

use std::time::SystemTime;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::{Account, Error, ExternalAccountKey, Key, NewAccount};
use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::client::Carrier;
use super::issuer::Settings;
use super::order::OrderError;
use crate::tls::issuance::{IssueError, KeyPem};
use crate::tls::{Lease, SharedStorage, TlsError, blocking, safe};

/// The folder of those who gave no address.
const NO_EMAIL: &str = "default";

/// An account as it stands in the storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Registration {
    status: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contact: Vec<String>,
    terms_of_service_agreed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    orders: String,
    /// The authority's address of it.
    location: String,
}

/// An account that can be used.
pub(super) struct Known {
    pub(super) account: Account,
    /// The authority's address of it.
    pub(super) location: String,
    /// For messages that the protocol's crate can't make.
    pub(super) key: PrivatePkcs8KeyDer<'static>,
}

/// Where the accounts with one authority are.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    storage: SharedStorage,
    /// The authority's name in the storage.
    authority: String,
}

impl Accounts {
    pub(super) fn new(storage: SharedStorage, authority: &str) -> Self {
        Self { storage, authority: authority.to_owned() }
    }

    /// The account to use with the authority at `directory`; a new one if there is none yet.
    pub(super) async fn get(
        &self,
        directory: &str,
        settings: &Settings,
        carrier: &Carrier,
    ) -> Result<Known, OrderError> {
        if let Some(key) = &settings.account_key {
            return look_up(directory, key, carrier).await;
        }
        let email = self.email(settings).await?;
        if let Some(stored) = self.load(&email).await? {
            return restore(directory, stored, carrier).await;
        }
        let _lease = Lease::acquire(&self.storage, &lock_name(&email)).await?;
        // Somebody else may have been faster.
        if let Some(stored) = self.load(&email).await? {
            return restore(directory, stored, carrier).await;
        }
        self.register(directory, &email, settings, carrier).await
    }

    /// The address to use: the one that is configured, or that of the account used last.
    pub(super) async fn email(&self, settings: &Settings) -> Result<String, IssueError> {
        let said = settings.email.trim().to_lowercase();
        if !said.is_empty() {
            return Ok(said);
        }
        let accounts = self.clone();
        Ok(blocking(move || accounts.last_used()).await?)
    }

    fn last_used(&self) -> Result<String, TlsError> {
        let mut last: Option<(SystemTime, Registration)> = None;
        for key in self.storage.keys(&format!("{}/users", folder(&self.authority)))? {
            if !key.ends_with(".json") {
                continue;
            }
            let at = self.storage.modified(&key)?.unwrap_or(SystemTime::UNIX_EPOCH);
            let Some(text) = self.storage.load_if_there(&key)? else { continue };
            let Ok(registration) = serde_json::from_slice::<Registration>(&text) else { continue };
            if last.as_ref().is_none_or(|(latest, _)| *latest < at) {
                last = Some((at, registration));
            }
        }
        let contact = last.and_then(|(_, registration)| registration.contact.into_iter().next());
        let contact = contact.unwrap_or_default();
        Ok(contact.split_once(':').map_or(contact.as_str(), |(_, address)| address).to_owned())
    }

    async fn load(&self, email: &str) -> Result<Option<(Registration, KeyPem)>, IssueError> {
        let (storage, [json, key]) = (self.storage.clone(), self.keys(email));
        let loaded = blocking(move || {
            let (Some(registration), Some(pem)) =
                (storage.load_if_there(&json)?, storage.load_if_there(&key)?)
            else {
                return Ok(None);
            };
            let registration: Registration = serde_json::from_slice(&registration)
                .map_err(|error| TlsError::Storage { key: json, problem: error.to_string() })?;
            Ok(Some((registration, KeyPem::new(String::from_utf8_lossy(&pem).into_owned()))))
        });
        Ok(loaded.await?.filter(|(registration, _)| !registration.location.is_empty()))
    }

    async fn register(
        &self,
        directory: &str,
        email: &str,
        settings: &Settings,
        carrier: &Carrier,
    ) -> Result<Known, OrderError> {
        let contact = format!("mailto:{email}");
        let contact = if email.is_empty() { Vec::new() } else { vec![contact.as_str()] };
        let wish =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let external = match &settings.external_account {
            Some(external) => {
                let key = URL_SAFE_NO_PAD.decode(external.mac_key.trim_end_matches('='));
                let key =
                    key.map_err(|_| IssueError::new("the external account's MAC key is no base64url"))?;
                Some(ExternalAccountKey::new(external.key_id.clone(), &key))
            }
            None => None,
        };
        let builder = Account::builder_with_http(Box::new(carrier.clone()));
        let made = builder.create(&wish, directory.to_owned(), external.as_ref()).await;
        let (account, credentials) =
            made.map_err(|error| OrderError::new("registering an account", error, carrier))?;
        let key = credentials.private_key().clone_key();
        let location = account.id().to_owned();
        tracing::info!(target: "tls.issuance.acme", contact = email, location, "new ACME account registered");
        let registration = Registration {
            status: "valid".into(),
            contact: contact.iter().map(|&contact| contact.to_owned()).collect(),
            terms_of_service_agreed: true,
            orders: String::new(),
            location: location.clone(),
        };
        let (storage, [json, key_name]) = (self.storage.clone(), self.keys(email));
        let pem = KeyPair::try_from(&key).map_err(IssueError::new)?.serialize_pem();
        let pem = KeyPem::new(pem);
        let text = serde_json::to_string_pretty(&registration).unwrap_or_default();
        blocking(move || {
            storage.store(&key_name, pem.as_str().as_bytes())?;
            storage.store(&json, text.replace("  ", "\t").as_bytes())
        })
        .await?;
        Ok(Known { account, location, key })
    }

    /// Forgets an account that the authority does not know any more, unless somebody has made another one meanwhile.
    pub(super) async fn forget(&self, settings: &Settings, location: &str) -> Result<(), IssueError> {
        let email = self.email(settings).await?;
        let _lease = Lease::acquire(&self.storage, &lock_name(&email)).await?;
        if self.load(&email).await?.is_none_or(|(stored, _)| stored.location != location) {
            return Ok(());
        }
        let (storage, [json, key]) = (self.storage.clone(), self.keys(&email));
        blocking(move || {
            storage.delete(&json)?;
            storage.delete(&key)
        })
        .await?;
        Ok(())
    }

    /// Where an account's registration and key are.
    fn keys(&self, email: &str) -> [String; 2] {
        let email = if email.is_empty() { NO_EMAIL } else { email };
        let user = match email.split_once('@') {
            Some(("", domain)) => domain,
            Some((user, _)) => user,
            None => email,
        };
        let folder = format!("{}/users/{}", folder(&self.authority), safe(email));
        [".json", ".key"].map(|ending| format!("{folder}/{}{ending}", safe(user)))
    }
}

/// The lock of whoever makes an account, as in Caddy.
fn lock_name(email: &str) -> String {
    match email {
        "" => "register_acme_account".to_owned(),
        email => format!("register_acme_account_{email}"),
    }
}

/// The folder of what concerns one authority.
pub(super) fn folder(authority: &str) -> String {
    format!("acme/{}", safe(authority))
}

async fn restore(
    directory: &str,
    (registration, pem): (Registration, KeyPem),
    carrier: &Carrier,
) -> Result<Known, OrderError> {
    let key = key_of_pem(&pem)?;
    let builder = Account::builder_with_http(Box::new(carrier.clone()));
    let account =
        builder.from_parts(registration.location.clone(), key.clone_key(), directory.to_owned()).await;
    let account = account.map_err(|error| OrderError::new("asking for the directory", error, carrier))?;
    Ok(Known { account, location: registration.location, key })
}

/// The account of a configured key, which the authority must know already.
async fn look_up(directory: &str, pem: &KeyPem, carrier: &Carrier) -> Result<Known, OrderError> {
    let key = key_of_pem(pem)?;
    let own = Key::from_pkcs8_der(key.clone_key()).map_err(|error: Error| IssueError::new(error))?;
    let builder = Account::builder_with_http(Box::new(carrier.clone()));
    let found = builder.from_key((own, PrivateKeyDer::Pkcs8(key.clone_key())), directory.to_owned()).await;
    let (account, _) = found.map_err(|error| OrderError::new("looking up the account", error, carrier))?;
    let location = account.id().to_owned();
    Ok(Known { account, location, key })
}

/// An account's key in any form that Caddy writes: SEC 1 or PKCS #8.
fn key_of_pem(pem: &KeyPem) -> Result<PrivatePkcs8KeyDer<'static>, IssueError> {
    const ALGORITHM: &EcdsaSigningAlgorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let der = PrivateKeyDer::from_pem_slice(pem.as_str().as_bytes());
    let der = der.map_err(|_| IssueError::new("the account's key is no PEM"))?;
    let pair = match &der {
        PrivateKeyDer::Sec1(der) => EcdsaKeyPair::from_private_key_der(ALGORITHM, der.secret_sec1_der()),
        der => EcdsaKeyPair::from_pkcs8(ALGORITHM, der.secret_der()),
    };
    let pkcs8 = pair.ok().and_then(|pair| pair.to_pkcs8v1().ok());
    let wrong = || IssueError::new("the account's key must be an ECDSA key on the curve P-256");
    Ok(PrivatePkcs8KeyDer::from(pkcs8.ok_or_else(wrong)?.as_ref().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::FileStorage;

    fn accounts(folder: &std::path::Path) -> Accounts {
        Accounts::new(FileStorage::shared(folder), "ca.test-directory")
    }

    #[test]
    fn where_caddy_keeps_them() {
        let accounts = accounts("/no".as_ref());
        let keys = |email: &str| accounts.keys(email)[0].clone();
        assert_eq!(keys("me@a.test"), "acme/ca.test-directory/users/me@a.test/me.json");
        assert_eq!(keys(""), "acme/ca.test-directory/users/default/default.json");
        assert_eq!(keys("@a.test"), "acme/ca.test-directory/users/@a.test/a.test.json");
    }

    #[test]
    fn the_account_used_last_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let accounts = accounts(folder.path());
        assert_eq!(accounts.last_used().unwrap(), "");
        for (user, contact) in [("old@a.test", "mailto:old@a.test"), ("new@a.test", "mailto:new@a.test")] {
            let registration = Registration {
                contact: vec![contact.into()],
                location: "x".into(),
                ..Registration::default()
            };
            let text = serde_json::to_vec(&registration).unwrap();
            accounts.storage.store(&accounts.keys(user)[0], &text).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(accounts.last_used().unwrap(), "new@a.test");
    }

    #[test]
    fn keys_as_caddy_writes_them() {
        // SEC 1, as Go writes it.
        let sec1 = "-----BEGIN EC PRIVATE KEY-----\n\
            MHcCAQEEIAOAWRF4A6pHVKbtAObormLfAAS0LzcLnTplXTXVvh6BoAoGCCqGSM49\n\
            AwEHoUQDQgAEOjkG6L7sKAi5MtLHh3Mu9DCkTpcSNTdNpP8sYGl7hZpr5dKXxEYz\n\
            w4CDX3v4skxZ3ybENm14aj2Ax+wFpMj7VA==\n\
            -----END EC PRIVATE KEY-----\n";
        // The same secret stands in both forms.
        let secret =
            [0x03, 0x80, 0x59, 0x11, 0x78, 0x03, 0xaa, 0x47, 0x54, 0xa6, 0xed, 0x00, 0xe6, 0xe8, 0xae, 0x62];
        let pkcs8 = key_of_pem(&KeyPem::new(sec1.into())).unwrap();
        assert!(pkcs8.secret_pkcs8_der().windows(16).any(|window| window == secret));
        let error = key_of_pem(&KeyPem::new("nonsense".into())).err().unwrap().to_string();
        assert_eq!(error, "the account's key is no PEM");
        let made = KeyPair::generate().unwrap();
        assert!(key_of_pem(&KeyPem::new(made.serialize_pem())).is_ok());
        let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let error = key_of_pem(&KeyPem::new(other.serialize_pem())).err().unwrap().to_string();
        assert!(error.contains("P-256"), "{error}");
    }
}
