//! Certificates that their authority takes back.

use std::sync::LazyLock;

use rcgen::KeyPair;

use super::super::super::authority::certificate_pem;
use super::super::super::certificate::key_from_pem;
use super::super::super::issuance::{Issued, Issuer, Issuing, Order};
use super::super::super::ocsp::testing::{Authority, Responder, Says};
use super::super::super::ocsp::{KEY_COMPROMISE, Status, look_after};
use super::super::super::on_demand::{Answer, Hello};
use super::*;

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

/// An issuer whose certificates name a responder.
#[derive(Debug)]
struct Answering {
    responder: String,
    key: String,
}

static ANSWERING: IssuerType = IssuerType {
    id: "answering",
    provision: |json, _| {
        let fields: Value = json.decode(config::tls::ISSUER_TAG)?;
        let text = |field: &str| fields[field].as_str().map(str::to_owned);
        let key = text("key").unwrap_or_else(|| "answering".into());
        Ok(Arc::new(Answering { responder: text("responder").unwrap_or_default(), key }))
    },
};

impl Issuer for Answering {
    fn key(&self) -> &str {
        &self.key
    }

    fn issue<'a>(&'a self, order: &'a Order) -> Issuing<'a, Issued> {
        Box::pin(async move {
            let der = key_from_pem(order.key.as_str().as_bytes(), "the order")?;
            let key = KeyPair::try_from(&der).map_err(TlsError::from)?;
            let leaf = AUTHORITY.leaf_for(&key, &order.subject, &self.responder, None);
            let chain_pem = certificate_pem(&[&leaf, &AUTHORITY.der]);
            Ok(Issued { chain_pem, data: json!({"must_staple": order.must_staple}) })
        })
    }
}

fn good(request: &[u8]) -> Vec<u8> {
    AUTHORITY.answer(request, &Says::good())
}

/// One that says the first time that a certificate is good, and of the same one that it is taken back.
fn taking_back(reason: Option<u8>) -> impl FnMut(&[u8]) -> Vec<u8> + Send {
    let mut first: Option<Vec<u8>> = None;
    move |request| match first.get_or_insert_with(|| request.to_vec()) == request {
        true => AUTHORITY.answer(request, &Says::of(Status::Revoked { reason })),
        false => good(request),
    }
}

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.modules.issuers.insert("answering", &ANSWERING);
    fixture
}

fn policies(responder: &Responder, more: Value) -> Value {
    let mut policy = json!({"issuers": [{"module": "answering", "responder": responder.url()}]});
    policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([policy])
}

fn is_stapled(fixture: &Fixture, name: &str) -> bool {
    fixture.store.snapshot().named(name)[0].for_handshakes().ocsp.is_some()
}

/// Whether its key is still the stored one, and whether one was put away.
fn keys(fixture: &Fixture, name: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    let key = format!("certificates/answering/{name}/{name}.key");
    let put_away = fixture.storage.load_if_there(&format!("{key}.compromised")).unwrap();
    (fixture.storage.load(&key).unwrap(), put_away)
}

#[test]
fn what_is_got_is_stapled_at_once() {
    let fixture = fixture();
    let responder = Responder::start(good);
    let with = json!({"must_staple": true});
    let automation = fixture.manage(policies(&responder, with), &["a.test"], &[]).unwrap();
    block_on(automation.secure("a.test".into()));
    assert!(is_stapled(&fixture, "a.test"));
    let text = fixture.storage.load("certificates/answering/a.test/a.test.json").unwrap();
    let json: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(json["issuer_data"]["must_staple"], true);
    // The next process needs nobody.
    let again = Fixture { store: Arc::default(), ..fixture };
    again.manage(policies(&responder, json!({})), &["a.test"], &[]).unwrap();
    assert!(is_stapled(&again, "a.test"));
    assert_eq!(responder.asked(), 1);

    let again = Fixture { store: Arc::default(), ..again };
    let off = json!({"disable_ocsp_stapling": true});
    again.manage(policies(&responder, off), &["a.test"], &[]).unwrap();
    assert!(!is_stapled(&again, "a.test"));
}

#[test]
fn a_revoked_certificate_is_replaced() {
    for (reason, is_put_away) in [(None, false), (Some(KEY_COMPROMISE), true)] {
        let fixture = fixture();
        let responder = Responder::start(taking_back(reason));
        let with = json!({"reuse_private_keys": true});
        let automation = fixture.manage(policies(&responder, with), &["a.test"], &[]).unwrap();
        block_on(automation.clone().secure("a.test".into()));
        let (first, (key, _)) = (fixture.serial("a.test"), keys(&fixture, "a.test"));
        assert!(!is_stapled(&fixture, "a.test"));
        automation.lock().get_mut("a.test").unwrap().last = None;
        assert_eq!(automation.next_look(), LOOK_INTERVAL_MIN);
        assert_eq!(automation.take_due(now()), ["a.test"]);
        block_on(automation.clone().secure("a.test".into()));
        assert_ne!(fixture.serial("a.test"), first);
        assert!(is_stapled(&fixture, "a.test"));
        let (new_key, put_away) = keys(&fixture, "a.test");
        assert_eq!(new_key != key, is_put_away);
        assert_eq!(put_away, is_put_away.then_some(key));
        automation.lock().get_mut("a.test").unwrap().last = None;
        assert!(automation.take_due(now()).is_empty());
    }
}

#[test]
fn a_key_that_others_have_comes_back_from_no_issuer() {
    let fixture = fixture();
    let responder = Responder::start(taking_back(Some(KEY_COMPROMISE)));
    let issuer = |key: &str| json!({"module": "answering", "responder": responder.url(), "key": key});
    let policy = json!([{"issuers": [issuer("answering"), issuer("second")], "reuse_private_keys": true}]);
    let automation = fixture.manage(policy, &["a.test"], &[]).unwrap();
    block_on(automation.clone().secure("a.test".into()));
    // The other issuer has certified the same key, at another time.
    let (key, _) = keys(&fixture, "a.test");
    let chain = fixture.storage.load("certificates/answering/a.test/a.test.crt").unwrap();
    fixture.storage.store("certificates/second/a.test/a.test.key", &key).unwrap();
    fixture.storage.store("certificates/second/a.test/a.test.crt", &chain).unwrap();
    automation.lock().get_mut("a.test").unwrap().last = None;
    block_on(automation.clone().secure("a.test".into()));
    assert_ne!(keys(&fixture, "a.test").0, key);
    assert_eq!(fixture.storage.load_if_there("certificates/second/a.test/a.test.key").unwrap(), None);
    let put_away = fixture.storage.load("certificates/second/a.test/a.test.key.compromised").unwrap();
    assert_eq!(put_away, key);
    assert!(is_stapled(&fixture, "a.test"), "it is the new one");
}

/// One that says for a short time that the first certificate is good, and then that it is taken back.
fn taking_back_later() -> impl FnMut(&[u8]) -> Vec<u8> + Send {
    let mut first: Option<Vec<u8>> = None;
    move |request| match &first {
        None => {
            first = Some(request.to_vec());
            AUTHORITY.answer(request, &Says::good_between(-3600, 60))
        }
        Some(first) if first == request => {
            AUTHORITY.answer(request, &Says::of(Status::Revoked { reason: None }))
        }
        Some(_) => good(request),
    }
}

fn ask(automation: &Arc<Automation>) -> Option<Answer<'static, Option<Arc<Certificate>>>> {
    automation.at_handshake("a.test", || Hello { server_name: "a.test".into(), ..Hello::default() })
}

fn on_demand(responder: &Responder) -> Value {
    policies(responder, json!({"on_demand": true, "subjects": ["a.test"]}))
}

#[test]
fn one_that_was_got_on_demand_is_replaced_when_it_is_asked_for() {
    let fixture = fixture();
    let responder = Responder::start(taking_back_later());
    block_on(async {
        let automation = fixture.manage(on_demand(&responder), &[], &[]).unwrap();
        ask(&automation).unwrap().await;
        let first = fixture.serial("a.test");
        assert!(is_stapled(&fixture, "a.test"));
        look_after(automation.to_staple()).await;
        assert!(!is_stapled(&fixture, "a.test"));
        // It serves until the new one is there.
        assert!(ask(&automation).is_none());
        while fixture.serial("a.test") == first {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(is_stapled(&fixture, "a.test"));
        assert!(ask(&automation).is_none());
    });
}

#[test]
fn an_authority_that_takes_back_all_it_gives_is_not_asked_without_end() {
    let fixture = fixture();
    let responder =
        Responder::start(|request| AUTHORITY.answer(request, &Says::of(Status::Revoked { reason: None })));
    block_on(async {
        let automation = fixture.manage(on_demand(&responder), &[], &[]).unwrap();
        ask(&automation).unwrap().await;
        let first = fixture.serial("a.test");
        for _ in 0..20 {
            assert!(ask(&automation).is_none());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(fixture.serial("a.test"), first);
    });
    let managed = fixture.manage(policies(&responder, json!({})), &["b.test"], &[]).unwrap();
    block_on(managed.clone().secure("b.test".into()));
    assert!(managed.take_due(now()).is_empty());
    assert_eq!(managed.lock()["b.test"].rest(), REVOKED_REST);
}
