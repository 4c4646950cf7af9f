//! Certificates that are got when a client asks for them.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::super::Certificate;
use super::super::super::on_demand::{
    Answer, CertificateManager, Denied, Hello, ManagerType, Permission, PermissionType,
};
use super::waiting::ELSEWHERE;
use super::*;

static ASKED: AtomicUsize = AtomicUsize::new(0);

/// Allows what begins with `ok`.
#[derive(Debug)]
struct Doorkeeper;

impl Permission for Doorkeeper {
    fn ask<'a>(&'a self, name: &'a str) -> Answer<'a, Result<(), Denied>> {
        Box::pin(async move {
            if name.starts_with("ok") {
                ASKED.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            Err(Denied::Refused("not ours".into()))
        })
    }
}

static DOORKEEPER: PermissionType = PermissionType { id: "http", provision: |_, _| Ok(Arc::new(Doorkeeper)) };

/// Has a certificate for everybody but those whose name begins with `none`.
#[derive(Debug)]
struct Stock(Arc<Certificate>);

impl CertificateManager for Stock {
    fn certificate<'a>(&'a self, hello: &'a Hello) -> Answer<'a, Result<Option<Arc<Certificate>>, String>> {
        Box::pin(async move {
            match hello.server_name.as_str() {
                name if name.starts_with("none") => Ok(None),
                name if name.starts_with("broken") => Err("broken".into()),
                _ => Ok(Some(self.0.clone())),
            }
        })
    }
}

static STOCK: ManagerType = ManagerType {
    id: "stock",
    provision: |_, _| {
        Ok(Arc::new(Stock(Arc::new(super::super::super::certificate::testing::certificate(
            &["stock.test"],
            &[],
        )))))
    },
};

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.modules.issuers.insert("elsewhere", &ELSEWHERE);
    fixture.modules.permissions.insert("http", &DOORKEEPER);
    fixture.modules.managers.insert("stock", &STOCK);
    fixture
}

fn on_demand(fixture: &Fixture, json: Value) -> Result<Arc<Automation>, TlsError> {
    let config: config::tls::Automation = serde_json::from_value(json).unwrap();
    fixture.with_context(|context| {
        Automation::provision(Some(&config), Some(2), &BTreeSet::new(), context, &fixture.modules)
            .map(Arc::new)
    })
}

fn open_to(issuer: &str) -> Value {
    json!({"on_demand": {"ask": "http://ask"}, "policies": [{"on_demand": true, "issuers": [{"module": issuer}]}]})
}

/// What a client that asks for a name waits for.
async fn ask(automation: &Arc<Automation>, name: &str) -> Option<Arc<Certificate>> {
    let hello = || Hello { server_name: name.into(), ..Hello::default() };
    automation.at_handshake(name, hello)?.await
}

#[test]
fn whoever_asks_for_a_name_gets_its_certificate() {
    let fixture = fixture();
    block_on(async {
        let automation = on_demand(&fixture, open_to("elsewhere")).unwrap();
        let before = ASKED.load(Ordering::SeqCst);
        let asking = (0..50).map(|_| ask(&automation, "ok-many.test"));
        futures_util::future::join_all(asking).await;
        assert!(fixture.store.covers("ok-many.test"));
        assert_eq!(ASKED.load(Ordering::SeqCst), before + 1, "it was looked for once");
        // Those at hand cost nothing.
        let hello = || -> Hello { panic!("nobody needs it") };
        assert!(automation.at_handshake("ok-many.test", hello).is_none());
        ask(&automation, "stranger.test").await;
        assert!(!fixture.store.covers("stranger.test"));
        assert!(automation.at_handshake("not a name", hello).is_none());
    });
}

#[test]
fn tailscale_is_asked_unless_others_are_named() {
    static TAILSCALE: ManagerType = ManagerType { id: "tailscale", provision: STOCK.provision };
    let mut fixture = fixture();
    fixture.modules.managers.insert("tailscale", &TAILSCALE);
    block_on(async {
        let automation = on_demand(&fixture, open_to("internal")).unwrap();
        assert!(ask(&automation, "of-tailscale.test").await.is_some());
        let mut named = open_to("internal");
        named["policies"][0]["get_certificate"] = json!([{"via": "stock"}]);
        let automation = on_demand(&fixture, named).unwrap();
        assert_eq!(automation.policies[0].managers.len(), 1);
        // A name that is not got on demand has nothing to do with it.
        let automation = on_demand(&fixture, json!({"policies": internal()})).unwrap();
        assert!(automation.policies[0].managers.is_empty() && !automation.gets_on_demand());
        // Nor is it somebody who says which names are ours.
        let open = json!({"policies": [{"on_demand": true, "issuers": [{"module": "elsewhere"}]}]});
        let error = on_demand(&fixture, open).unwrap_err().to_string();
        assert!(error.contains("permission module"), "{error}");
    });
}

#[test]
fn stored_ones_are_used_and_the_number_at_hand_is_bounded() {
    let fixture = fixture();
    block_on(async {
        let automation = on_demand(&fixture, open_to("internal")).unwrap();
        for name in ["ok-1.test", "ok-2.test", "ok-3.test"] {
            ask(&automation, name).await;
        }
        assert_eq!(fixture.held().len(), 2);
        let key = "certificates/local/ok-1.test/ok-1.test.crt";
        let first = fixture.storage.load(key).unwrap();
        let again = Fixture { store: Arc::default(), ..fixture };
        let automation = on_demand(&again, open_to("internal")).unwrap();
        ask(&automation, "ok-1.test").await;
        assert_eq!(again.held(), ["ok-1.test"]);
        assert_eq!(again.storage.load(key).unwrap(), first);
    });
}

#[test]
fn an_authority_can_move_their_renewal_too() {
    let fixture = fixture();
    block_on(async {
        let automation = on_demand(&fixture, open_to("elsewhere")).unwrap();
        ask(&automation, "ok-ari.test").await;
        let first = fixture.serial("ok-ari.test");
        let hello = || -> Hello { panic!("nobody waits for it") };
        assert!(automation.at_handshake("ok-ari.test", hello).is_none());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(fixture.serial("ok-ari.test"), first, "it is not due");
        automation.clone().ask_renewal_infos().await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert!(automation.at_handshake("ok-ari.test", hello).is_none());
        while fixture.serial("ok-ari.test") == first {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn managers_are_asked_at_each_handshake() {
    let fixture = fixture();
    block_on(async {
        let policies = json!([{"get_certificate": [{"via": "stock"}], "issuers": [{"module": "internal"}]}]);
        let automation = on_demand(&fixture, json!({"policies": policies})).unwrap();
        let got = ask(&automation, "a.test").await.unwrap();
        assert_eq!(&*got.names[0], "stock.test");
        assert!(fixture.held().is_empty(), "it is for one handshake");
        assert!(ask(&automation, "broken.test").await.is_none());
        // Our own authority may go on for names that the manager does not know.
        assert!(ask(&automation, "none.test").await.is_none());
        assert_eq!(fixture.held(), ["none.test"]);
    });
}

#[test]
fn a_door_without_keeper_is_refused() {
    let fixture = fixture();
    let open =
        |policy: Value| on_demand(&fixture, json!({"policies": [policy]})).err().map(|e| e.to_string());
    let elsewhere = json!([{"module": "elsewhere"}]);
    for subjects in [json!([]), json!(["*.a.test"])] {
        let policy = json!({"on_demand": true, "issuers": elsewhere, "subjects": subjects});
        let error = open(policy).unwrap();
        assert!(error.contains("cannot be enabled without a permission module"), "{error}");
    }
    assert!(open(json!({"on_demand": true, "issuers": elsewhere, "subjects": ["a.test"]})).is_none());
    assert!(open(json!({"on_demand": true, "issuers": [{"module": "internal"}]})).is_none());
    assert!(open(json!({"get_certificate": [{"via": "stock"}], "issuers": elsewhere})).is_none());
    let both = json!({"on_demand": {"ask": "http://a", "permission": {"module": "http"}}});
    assert!(on_demand(&fixture, both).is_err());
    let unknown = json!({"on_demand": {"permission": {"module": "warp"}}});
    assert!(on_demand(&fixture, unknown).unwrap_err().to_string().contains("tls.permission.warp"));
}

#[test]
fn managers_alone_do_not_open_the_door_for_issuers() {
    let fixture = fixture();
    block_on(async {
        let policies = json!([{"get_certificate": [{"via": "stock"}], "issuers": [{"module": "elsewhere"}]}]);
        let automation = on_demand(&fixture, json!({"policies": policies})).unwrap();
        assert!(ask(&automation, "none.test").await.is_none());
        assert!(fixture.held().is_empty());
    });
}

#[test]
fn the_next_configuration_has_what_this_one_got_if_it_says_the_same() {
    let fixture = fixture();
    block_on(async {
        let before = on_demand(&fixture, open_to("internal")).unwrap();
        ask(&before, "ok-next.test").await;
        let serial = fixture.serial("ok-next.test");
        let inherited = |json: Value, storage: Option<&tempfile::TempDir>| {
            let mut next = self::fixture();
            if let Some(folder) = storage {
                next.authorities = authorities(folder.path());
            }
            let automation = on_demand(&next, json).unwrap();
            automation.inherit(&before);
            (next, automation)
        };
        let (next, automation) = inherited(open_to("internal"), Some(&fixture.folder));
        assert_eq!(next.serial("ok-next.test"), serial);
        let hello = || -> Hello { panic!("nobody needs it") };
        assert!(automation.at_handshake("ok-next.test", hello).is_none());
        assert_eq!(automation.to_staple().len(), 1);
        // That it has other names besides changes nothing.
        let mut more = open_to("internal");
        more["policies"][0]["subjects"] = json!(["*.test", "a.example.com"]);
        assert_eq!(inherited(more, Some(&fixture.folder)).0.held(), ["ok-next.test"]);
        // Another authority of our own does not know it.
        assert!(inherited(open_to("internal"), None).0.held().is_empty());
        for (place, value) in [
            ("/policies/0/key_type", json!("p384")),
            ("/policies/0/on_demand", json!(false)),
            ("/on_demand/ask", json!("http://other")),
        ] {
            let mut other = open_to("internal");
            let (parent, field) = place.rsplit_once('/').unwrap();
            other.pointer_mut(parent).unwrap()[field] = value;
            assert!(inherited(other, Some(&fixture.folder)).0.held().is_empty(), "{place}");
        }
        // Nor is it needed where one is at hand.
        let loaded = Fixture { authorities: authorities(fixture.folder.path()), ..self::fixture() };
        loaded.store.extend([super::super::super::certificate::testing::certificate(&["ok-next.test"], &[])]);
        on_demand(&loaded, open_to("internal")).unwrap().inherit(&before);
        assert_eq!(loaded.held().len(), 1);
        assert_ne!(loaded.serial("ok-next.test"), serial);
    });
}
