use std::fs;

use serde_json::{Value, json};

use super::super::App;
use super::super::storage::StorageTypes;
use super::super::{FileStorage, Storage as _};
use super::*;

fn config(policies: Value) -> config::tls::Automation {
    serde_json::from_value(json!({ "policies": policies })).unwrap()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn internal() -> Value {
    json!([{"issuers": [{"module": "internal"}]}])
}

struct Fixture {
    folder: tempfile::TempDir,
    storage: FileStorage,
    authorities: Authorities,
    store: CertificateStore,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path());
        let authorities =
            Authorities::provision(None, &FileStorage::shared(folder.path()), &StorageTypes::new()).unwrap();
        Self { folder, storage, authorities, store: CertificateStore::default() }
    }

    fn automation(&self, policies: Value, forced: &[&str]) -> Result<Automation, TlsError> {
        Automation::provision(
            Some(&config(policies)),
            &names(forced),
            &self.authorities,
            &FileStorage::shared(self.folder.path()),
            &Modules::default(),
        )
    }

    fn manage(&self, policies: Value, managed: &[&str], forced: &[&str]) -> Result<Automation, TlsError> {
        let automation = self.automation(policies, forced)?;
        automation.manage(&names(managed), &names(forced), &self.store)?;
        Ok(automation)
    }

    fn held(&self) -> Vec<String> {
        let index = self.store.snapshot();
        index.all().iter().map(|certificate| certificate.names[0].to_string()).collect()
    }

    fn serial(&self, name: &str) -> String {
        self.store.snapshot().named(name)[0].facts.serial.clone()
    }
}

#[test]
fn certificates_are_stored_where_caddy_finds_them() {
    let fixture = Fixture::new();
    fixture.manage(internal(), &["a.test", "*.b.test", "::1"], &[]).unwrap();
    for name in ["a.test", "wildcard_.b.test", "--1"] {
        for kind in ["crt", "key", "json"] {
            let key = format!("certificates/local/{name}/{name}.{kind}");
            assert!(fixture.storage.path(&key).is_file(), "{key}");
        }
    }
    let json = fixture.storage.load("certificates/local/a.test/a.test.json").unwrap();
    let expected = "{\n\t\"sans\": [\n\t\t\"a.test\"\n\t],\n\t\"issuer_data\": null\n}";
    assert_eq!(String::from_utf8(json).unwrap(), expected);
}

#[test]
fn a_stored_certificate_is_used_again_while_it_is_good() {
    let fixture = Fixture::new();
    fixture.manage(internal(), &["a.test"], &[]).unwrap();
    let first = fixture.serial("a.test");
    let fixture = Fixture { store: CertificateStore::default(), ..fixture };
    fixture.manage(internal(), &["a.test"], &[]).unwrap();
    assert_eq!(fixture.serial("a.test"), first);

    // Garbage, a missing key, or a root that is no more: made anew.
    type Spoil = fn(&FileStorage);
    let spoil: [(&str, Spoil); 3] = [
        ("garbage", |storage| storage.store("certificates/local/a.test/a.test.crt", b"?").unwrap()),
        ("no key", |storage| fs::remove_file(storage.path("certificates/local/a.test/a.test.key")).unwrap()),
        ("another root", |storage| fs::remove_dir_all(storage.path("pki")).unwrap()),
    ];
    let mut fixture = fixture;
    for (what, spoil) in spoil {
        let before = fixture.serial("a.test");
        spoil(&fixture.storage);
        fixture.authorities =
            Authorities::provision(None, &FileStorage::shared(fixture.folder.path()), &StorageTypes::new())
                .unwrap();
        fixture.store = CertificateStore::default();
        fixture.manage(internal(), &["a.test"], &[]).unwrap();
        assert_ne!(fixture.serial("a.test"), before, "{what}");
    }
}

#[test]
fn renewal_in_the_last_third_swaps_the_certificate() {
    let fixture = Fixture::new();
    let automation = fixture.manage(internal(), &["a.test"], &[]).unwrap();
    let first = fixture.serial("a.test");
    let after = |hours: u64| {
        UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + hours * 3600))
    };
    automation.renew_at(&fixture.store, after(7));
    assert_eq!(fixture.serial("a.test"), first);
    automation.renew_at(&fixture.store, after(9));
    assert_ne!(fixture.serial("a.test"), first);
    assert_eq!(fixture.held(), ["a.test"]);
    assert_eq!(automation.next_look(), DEFAULT_INTERVAL);
}

#[test]
fn short_lives_are_looked_at_in_time() {
    let fixture = Fixture::new();
    let policies = json!([{"issuers": [{"module": "internal", "lifetime": "90s"}]}]);
    let automation = fixture.manage(policies, &["a.test"], &[]).unwrap();
    let look = automation.next_look().as_secs();
    assert!((55..=61).contains(&look), "{look}");
}

#[test]
fn keys_are_kept_if_the_policy_says_so() {
    let key = |reuse: bool| {
        let fixture = Fixture::new();
        let policies = json!([{"issuers": [{"module": "internal"}], "reuse_private_keys": reuse}]);
        let automation = fixture.manage(policies, &["a.test"], &[]).unwrap();
        let load = || fixture.storage.load("certificates/local/a.test/a.test.key").unwrap();
        let first = load();
        automation.renew_at(&fixture.store, UnixTime::since_unix_epoch(Duration::from_secs(1 << 33)));
        first == load()
    };
    assert!(key(true) && !key(false));
}

#[test]
fn a_wildcard_spares_the_names_below_it() {
    let fixture = Fixture::new();
    fixture.manage(internal(), &["*.a.test", "b.a.test", "c.b.a.test"], &["f.a.test"]).unwrap();
    assert_eq!(fixture.held(), ["*.a.test", "c.b.a.test", "f.a.test"]);
}

#[test]
fn the_first_policy_that_matches_counts() {
    let fixture = Fixture::new();
    let policies = json!([
        {"subjects": ["a.test"], "issuers": [{"module": "internal", "sign_with_root": true}]},
        {"subjects": ["*.test"], "issuers": [{"module": "internal"}], "key_type": "p384"},
    ]);
    fixture.manage(policies, &["a.test", "b.test"], &[]).unwrap();
    let chain = |name: &str| fixture.store.snapshot().named(name)[0].chain().len();
    assert_eq!((chain("a.test"), chain("b.test")), (1, 2));
}

#[test]
fn names_of_this_machine_need_no_policy_of_their_own() {
    let fixture = Fixture::new();
    fixture.manage(json!([]), &[], &["localhost", "10.0.0.1"]).unwrap();
    assert_eq!(fixture.held(), ["10.0.0.1", "localhost"]);
    let fixture = Fixture::new();
    fixture
        .manage(json!([{"subjects": ["x.localhost"], "key_type": "p384"}]), &["x.localhost"], &[])
        .unwrap();
    assert_eq!(fixture.held(), ["x.localhost"]);
}

#[test]
fn what_only_others_could_issue_is_refused_by_name() {
    let fixture = Fixture::new();
    let refused =
        |policies: Value, name: &str| fixture.manage(policies, &[name], &[]).unwrap_err().to_string();
    let advice = "'tls internal'";
    for (policies, authority) in [
        (json!([]), "a public authority (ACME)"),
        (json!([{"key_type": "p384"}]), "a public authority (ACME)"),
        (json!([{"issuers": [{"module": "acme"}, {"module": "internal"}]}]), "the issuer 'acme'"),
        (json!([{"issuers": [{"module": "internal"}], "on_demand": true}]), "on-demand TLS"),
    ] {
        let error = refused(policies, "a.example.com");
        assert!(error.starts_with("a.example.com needs a certificate from "), "{error}");
        assert!(error.contains(authority) && error.contains(advice), "{error}");
    }
    assert!(fixture.held().is_empty());
    let policies =
        json!([{"subjects": ["a.test"], "issuers": [{"module": "internal"}]}, {"on_demand": true}]);
    let error = refused(policies, "a.test");
    assert!(error.starts_with("any name that a client asks for needs a certificate from "), "{error}");
}

#[test]
fn contradictory_policies_are_refused() {
    let fixture = Fixture::new();
    let refused = |policies: Value| fixture.automation(policies, &[]).unwrap_err().to_string();
    assert!(refused(json!([{}, {}])).contains("second policy that acts as default"));
    assert!(refused(json!([{"subjects": ["a.test"]}, {"subjects": ["A.test"]}])).contains("a.test"));
    assert!(refused(json!([{"key_type": "x"}])).contains("automation policy 0: unrecognized key type: x"));
    assert!(refused(json!([{"issuers": [{"module": "internal", "ca": "x"}]}])).contains("with id: x"));
}

#[test]
fn automate_lists_names() {
    let folder = tempfile::tempdir().unwrap();
    let config: config::tls::App = serde_json::from_value(json!({
        "certificates": {"automate": ["Localhost"]},
        "automation": {"policies": [{"subjects": ["a.test"], "issuers": [{"module": "internal"}]}]},
    }))
    .unwrap();
    let mut app =
        App::provision(Some(&config), None, FileStorage::shared(folder.path()), &Arc::default()).unwrap();
    app.automate(config.automation.as_ref(), &names(&["a.test"])).unwrap();
    assert!(app.has_certificate_for("localhost") && app.has_certificate_for("a.test"));
    assert!(!app.has_certificate_for("b.test"));
}

#[test]
fn what_needs_stapling_is_refused_by_name() {
    for policy in [json!({"must_staple": true}), json!({"ocsp_overrides": {"http://a": "http://b"}})] {
        let error = Fixture::new().automation(json!([policy]), &[]).err().unwrap().to_string();
        assert!(error.contains("must_staple and ocsp_overrides"), "{error}");
    }
}
