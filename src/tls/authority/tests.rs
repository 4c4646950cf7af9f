use std::fs;
use std::sync::LazyLock;

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::super::FileStorage;
use super::super::issuance::KeyPem;
use super::*;

const HOUR: i64 = 3600;

fn authority(storage: &FileStorage) -> Authority {
    provision(&pki::Ca::default(), storage).unwrap()
}

fn provision(config: &pki::Ca, storage: &FileStorage) -> Result<Authority, TlsError> {
    Authority::provision("local", config, &shared(storage), &StorageTypes::new())
}

fn shared(storage: &FileStorage) -> SharedStorage {
    Arc::new(storage.clone())
}

/// A key as certificates are made for.
fn key(key_type: &str) -> KeyPem {
    key_type.parse::<KeyType>().unwrap().generate().unwrap()
}

static KEY: LazyLock<KeyPem> = LazyLock::new(|| key(""));

fn order(subject: &str) -> LeafOrder<'_> {
    LeafOrder {
        subject,
        lifetime: Duration::from_secs(12 * 60 * 60),
        key: KEY.as_str().as_bytes(),
        sign_with_root: false,
    }
}

/// Subject, issuer, seconds of lifetime.
fn read(der: &[u8]) -> (String, String, i64) {
    let (_, parsed) = X509Certificate::from_der(der).unwrap();
    let validity = parsed.validity();
    let lifetime = validity.not_after.timestamp() - validity.not_before.timestamp();
    (parsed.subject().to_string(), parsed.issuer().to_string(), lifetime)
}

#[test]
fn a_new_authority_is_stored_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(folder.path());
    let first = authority(&storage);
    let files = ["root.crt", "root.key", "intermediate.crt", "intermediate.key"];
    for file in files {
        assert!(storage.path(&format!("pki/authorities/local/{file}")).is_file(), "{file}");
    }
    let (root_name, intermediate_name) = first.common_names();
    assert!(root_name.starts_with("Tollgate Local Authority - 20") && root_name.ends_with(" ECC Root"));
    assert_eq!(intermediate_name, "Tollgate Local Authority - ECC Intermediate");
    let (subject, issuer, lifetime) = read(&first.root());
    assert_eq!((subject.clone(), lifetime), (issuer, 3600 * 24 * HOUR));
    let (_, issuer, lifetime) = read(&first.intermediates()[0]);
    assert_eq!((issuer, lifetime), (subject, 7 * 24 * HOUR));

    let again = authority(&storage);
    assert_eq!((again.root(), again.intermediates()), (first.root(), first.intermediates()));
}

#[test]
fn leaves_verify_against_the_root_and_do_not_outlive_their_issuer() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority(&FileStorage::new(folder.path()));
    for subject in ["a.test", "*.a.test", "127.0.0.1", "::1", "localhost"] {
        let issued = authority.issue(&order(subject)).unwrap();
        let chain = chain_from_pem(issued.as_bytes(), "test").unwrap();
        assert_eq!(chain.len(), 2);
        let (name, issuer, lifetime) = read(&chain[0]);
        assert_eq!((name.as_str(), lifetime), ("", 12 * HOUR));
        assert_eq!(issuer, read(&chain[1]).0);
        let certificate = super::super::Certificate::from_pem(
            issued.as_bytes(),
            "test",
            KEY.as_str().as_bytes(),
            "test",
            Vec::new(),
        );
        assert_eq!(certificate.unwrap().names().collect::<Vec<_>>(), [subject]);
    }
    let long = LeafOrder { lifetime: DAY * 30, ..order("a.test") };
    let chain = chain_from_pem(authority.issue(&long).unwrap().as_bytes(), "test").unwrap();
    let not_after = |der: &[u8]| X509Certificate::from_der(der).unwrap().1.validity().not_after.timestamp();
    assert_eq!(not_after(&chain[0]), not_after(&chain[1]));
    assert!(authority.issue(&order("n\u{e4}me.test")).is_err());
}

#[test]
fn the_root_signs_if_asked_to_and_key_types_count() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority(&FileStorage::new(folder.path()));
    let by_root = LeafOrder { sign_with_root: true, ..order("a.test") };
    let issued = authority.issue(&by_root).unwrap();
    let chain = chain_from_pem(issued.as_bytes(), "test").unwrap();
    assert_eq!((chain.len(), read(&chain[0]).1), (1, read(&authority.root()).0));
    for (name, algorithm) in [("p384", "ecdsa"), ("rsa2048", "rsa"), ("ed25519", "")] {
        let key = key(name);
        let issued = authority.issue(&LeafOrder { key: key.as_str().as_bytes(), ..order("a.test") }).unwrap();
        let (chain, key) = (issued.as_bytes(), key.as_str().as_bytes());
        let certificate = super::super::Certificate::from_pem(chain, "c", key, "k", Vec::new()).unwrap();
        assert_eq!(certificate.facts.algorithm, algorithm);
    }
    assert!("dsa".parse::<KeyType>().is_err());
}

#[test]
fn the_intermediate_is_renewed_in_the_last_fifth_of_its_life() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(folder.path());
    let authority = authority(&storage);
    let old = authority.intermediates();
    let begun = make::now();
    assert!(!authority.maintain_at(begun + 5 * 24 * HOUR).unwrap());
    assert_eq!(authority.intermediates(), old);
    assert!(authority.maintain_at(begun + 6 * 24 * HOUR).unwrap());
    let new = authority.intermediates();
    assert_ne!(new, old);
    assert_eq!(read(&new[0]).1, read(&authority.root()).0);
    let stored = fs::read(storage.path("pki/authorities/local/intermediate.crt")).unwrap();
    assert_eq!(chain_from_pem(&stored, "test").unwrap(), new);
}

#[test]
fn an_intermediate_that_is_due_when_loaded_is_renewed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(folder.path());
    let load = |now| {
        Authority::load_or_make("local", &pki::Ca::default(), &shared(&storage), &StorageTypes::new(), now)
            .unwrap()
    };
    let now = make::now();
    let old = load(now);
    let new = load(now + 8 * 24 * HOUR);
    assert_eq!(new.root(), old.root());
    assert_ne!(new.intermediates(), old.intermediates());
}

#[test]
fn keys_of_other_programs_are_read() {
    // SEC 1, as Caddy writes them.
    const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEIJWICLBZbJQgcWvktNd73lhSboKCn6LQegHm6IXTqXNDoAoGCCqGSM49\n\
        AwEHoUQDQgAEpS/8x55yGqYw44XFQlnWAyUbU8bVayqQZmITd+GlSmnFk5jo52jd\n\
        WVqm9WVcI25xRTYZFJ5ciTC7s0LaHugDPg==\n\
        -----END EC PRIVATE KEY-----\n";
    assert!(make::signing_key(KEY.as_bytes(), "test").is_ok());
    let error = make::signing_key(b"nothing", "x.key").unwrap_err().to_string();
    assert_eq!(error, "x.key: no PRIVATE KEY pem block found");
}

#[test]
fn given_certificates_are_used_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = FileStorage::new(folder.path().join("theirs"));
    let ours = FileStorage::new(folder.path().join("ours"));
    let their_authority = authority(&theirs);
    let pair = |name: &str| pki::KeyPair {
        certificate: theirs.path(&format!("pki/authorities/local/{name}.crt")).to_string_lossy().into_owned(),
        private_key: theirs.path(&format!("pki/authorities/local/{name}.key")).to_string_lossy().into_owned(),
        ..Default::default()
    };
    let config =
        pki::Ca { root: Some(pair("root")), intermediate: Some(pair("intermediate")), ..Default::default() };
    let given = Authority::provision("mine", &config, &shared(&ours), &StorageTypes::new()).unwrap();
    assert_eq!(
        (given.root(), given.intermediates()),
        (their_authority.root(), their_authority.intermediates())
    );
    assert!(!given.maintain_at(make::now() + 100 * 24 * HOUR).unwrap());
    assert!(!ours.path("pki/authorities/mine/root.crt").exists());

    let mixed = pki::KeyPair { private_key: pair("root").private_key, ..pair("intermediate") };
    let config = pki::Ca { intermediate: Some(mixed), ..Default::default() };
    let error =
        Authority::provision("mine", &config, &shared(&ours), &StorageTypes::new()).unwrap_err().to_string();
    assert!(error.starts_with("CA 'mine': ") && error.contains("intermediate.crt: with key "), "{error}");
}

#[test]
fn authorities_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(folder.path());
    let none = Authorities::provision(None, &shared(&storage), &StorageTypes::new()).unwrap();
    assert!(none.all().is_empty() && !storage.path("pki").exists());
    let error = none.get("mine").unwrap_err().to_string();
    assert_eq!(error, "no certificate authority configured with id: mine");
    assert_eq!(none.get("").unwrap().id(), "local");
    assert_eq!(none.all().len(), 1);

    let config = Pki { certificate_authorities: [("mine".to_owned(), pki::Ca::default())].into() };
    let some = Authorities::provision(Some(&config), &shared(&storage), &StorageTypes::new()).unwrap();
    assert_eq!(some.get("mine").unwrap().id(), "mine");
    assert_eq!(some.all().len(), 1);
    let default =
        Authorities::provision(Some(&Pki::default()), &shared(&storage), &StorageTypes::new()).unwrap();
    assert_eq!(default.all().len(), 1);
}

#[test]
fn an_intermediate_must_end_before_its_root() {
    let folder = tempfile::tempdir().unwrap();
    let config = pki::Ca {
        intermediate_lifetime: crate::config::Duration::from_secs(4000 * 24 * HOUR),
        ..Default::default()
    };
    let error = provision(&config, &FileStorage::new(folder.path())).unwrap_err();
    assert!(error.to_string().contains("must be less than actual root certificate lifetime"), "{error}");
}
