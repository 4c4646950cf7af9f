use std::fs;

use serde_json::{Value, json};

use super::super::issuance::{IssuerContext, IssuerType, Ports};
use super::super::storage::{Storage as _, StorageTypes};
use super::super::trust_pool::{Sources, TrustPool};
use super::super::{App, Authorities, FileStorage, SharedStorage, internal_issuer};
use super::*;

mod at_handshake;
mod revoked;
mod waiting;

pub(in super::super) static INTERNAL: IssuerType = IssuerType { id: "internal", provision: internal_issuer };

pub(super) fn config(policies: Value) -> config::tls::Automation {
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
    store: Arc<CertificateStore>,
    modules: Modules,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = FileStorage::new(folder.path());
        let authorities = authorities(folder.path());
        let modules = Modules { issuers: [("internal", &INTERNAL)].into(), ..Modules::default() };
        Self { folder, storage, authorities, store: Arc::default(), modules }
    }

    fn automation(&self, policies: Value, forced: &[&str]) -> Result<Automation, TlsError> {
        self.with_context(|context| {
            Automation::provision(Some(&config(policies)), None, &names(forced), context, &self.modules)
        })
    }

    fn with_context<T>(&self, work: impl FnOnce(&IssuerContext<'_>) -> T) -> T {
        let storage: SharedStorage = Arc::new(self.storage.clone());
        let context = IssuerContext {
            authorities: &self.authorities,
            storage: &storage,
            ports: Ports::default(),
            dns: None,
            resolvers: &[],
            sources: Sources {
                authorities: &self.authorities,
                storage: &storage,
                storages: &self.modules.storages,
            },
            store: &self.store,
            system: &|| TrustPool::system(),
        };
        work(&context)
    }

    fn manage(
        &self,
        policies: Value,
        managed: &[&str],
        forced: &[&str],
    ) -> Result<Arc<Automation>, TlsError> {
        let mut automation = self.automation(policies, forced)?;
        self.with_context(|context| {
            automation.manage(&names(managed), &names(forced), context, &self.modules)
        })?;
        Ok(Arc::new(automation))
    }

    fn held(&self) -> Vec<String> {
        let index = self.store.snapshot();
        let mut held: Vec<_> =
            index.all().iter().map(|certificate| certificate.names[0].to_string()).collect();
        held.sort_unstable();
        held
    }

    fn serial(&self, name: &str) -> String {
        self.store.snapshot().named(name)[0].facts.serial.clone()
    }
}

fn authorities(folder: &std::path::Path) -> Authorities {
    Authorities::provision(None, &FileStorage::shared(folder), &StorageTypes::new()).unwrap()
}

/// Runs something on a runtime of one thread, as the control thread is.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), work).await.unwrap() })
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
    let fixture = Fixture { store: Arc::default(), ..fixture };
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
        fixture.authorities = authorities(fixture.folder.path());
        fixture.store = Arc::default();
        fixture.manage(internal(), &["a.test"], &[]).unwrap();
        assert_ne!(fixture.serial("a.test"), before, "{what}");
    }
}

#[test]
fn renewal_in_the_last_third_swaps_the_certificate() {
    let fixture = Fixture::new();
    let automation = fixture.manage(internal(), &["a.test"], &[]).unwrap();
    let first = fixture.serial("a.test");
    let after = |hours: i64| now() + hours * 3600;
    assert!(automation.take_due(after(7)).is_empty());
    assert_eq!(automation.take_due(after(9)), ["a.test"]);
    assert!(automation.take_due(after(9)).is_empty(), "somebody cares for it");
    block_on(automation.clone().secure("a.test".into()));
    assert_ne!(fixture.serial("a.test"), first);
    assert_eq!(fixture.held(), ["a.test"]);
    assert_eq!(automation.next_look(), DEFAULT_INTERVAL);
    assert!(automation.take_due(after(9)).is_empty(), "it has just been renewed");
    automation.lock().get_mut("a.test").unwrap().last = None;
    assert_eq!(automation.take_due(after(9)), ["a.test"]);
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
        block_on(automation.secure("a.test".into()));
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
fn issuers_that_there_are_not_are_named() {
    let fixture = Fixture::new();
    for (policies, name) in
        [(json!([{"issuers": [{"module": "zerossl"}]}]), "zerossl"), (json!([{}]), "acme")]
    {
        let error = fixture.automation(policies, &[]).unwrap_err().to_string();
        let expected = format!("automation policy 0: getting module named 'tls.issuance.{name}'");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn contradictory_policies_are_refused() {
    let fixture = Fixture::new();
    let refused = |policies: Value| fixture.automation(policies, &[]).unwrap_err().to_string();
    assert!(refused(json!([internal()[0], internal()[0]])).contains("second policy that acts as default"));
    let of = |subject: &str| json!({"subjects": [subject], "issuers": [{"module": "internal"}]});
    assert!(refused(json!([of("a.test"), of("A.test")])).contains("a.test"));
    let key_type = json!([{"key_type": "x", "issuers": [{"module": "internal"}]}]);
    assert!(refused(key_type).contains("automation policy 0: unrecognized key type: x"));
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
    let modules = Arc::new(Modules { issuers: [("internal", &INTERNAL)].into(), ..Modules::default() });
    let mut app = App::provision(Some(&config), None, FileStorage::shared(folder.path()), &modules).unwrap();
    app.automate(Some(&config), &names(&["a.test"]), Ports::default()).unwrap();
    assert!(app.has_certificate_for("localhost") && app.has_certificate_for("a.test"));
    assert!(!app.has_certificate_for("b.test"));
}
