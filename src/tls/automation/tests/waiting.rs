//! Issuers that let us wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::super::issuance::{IssueError, Issued, Issuer, Issuing, Order, Retry};
use super::super::super::renewal_info::RenewalInfo;
use super::super::super::{Authority, Certificate};
use super::*;

/// How often the issuer of each test has been asked, and how often it is to fail.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// An issuer as others have it: it waits, and never issues at once.
#[derive(Debug)]
pub(super) struct Elsewhere {
    authority: Arc<Authority>,
    internal: Arc<dyn Issuer>,
}

pub(super) static ELSEWHERE: IssuerType = IssuerType {
    id: "elsewhere",
    provision: |_, context| {
        let json = serde_json::from_str(r#"{"module": "internal"}"#).unwrap();
        let internal = internal_issuer(&json, context)?;
        Ok(Arc::new(Elsewhere { authority: context.authorities.get("")?, internal }))
    },
};

impl Issuer for Elsewhere {
    fn key(&self) -> &str {
        "elsewhere"
    }

    fn issue<'a>(&'a self, order: &'a Order) -> Issuing<'a, Issued> {
        Box::pin(async move {
            ASKED.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
            if order.subject.starts_with("bad") {
                return Err(IssueError { problem: "no".into(), retry: Retry::Later });
            }
            let issued = self.internal.issue(order).await?;
            let start = now() + 3600;
            let info = RenewalInfo::new("id".into(), start, start + 60, String::new(), 0);
            Ok(Issued { data: json!({"renewal_info": info}), ..issued })
        })
    }

    fn renewal_info<'a>(&'a self, _: &'a Certificate) -> Option<Issuing<'a, RenewalInfo>> {
        Some(Box::pin(async {
            _ = self.authority.id();
            Ok(RenewalInfo::new("id".into(), now(), now() + 1, "https://why".into(), now() + 3600))
        }))
    }

    fn challenge_folder(&self) -> Option<String> {
        Some("acme/elsewhere".into())
    }
}

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.modules.issuers.insert("elsewhere", &ELSEWHERE);
    fixture
}

fn elsewhere() -> Value {
    json!([{"issuers": [{"module": "elsewhere"}]}])
}

/// Waits until a name's certificate is at hand.
async fn had(fixture: &Fixture, name: &str) {
    while !fixture.store.covers(name) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn what_others_issue_comes_later_and_is_kept() {
    let fixture = fixture();
    let automation = fixture.manage(elsewhere(), &["w.test"], &[]).unwrap();
    assert!(fixture.held().is_empty());
    block_on(async {
        tokio::select! {
            () = automation.run() => {}
            () = had(&fixture, "w.test") => {}
        }
    });
    assert!(fixture.folder.path().join("certificates/elsewhere/w.test/w.test.crt").is_file());
    // It is there at once the next time.
    let again = Fixture { store: Arc::default(), ..fixture };
    again.manage(elsewhere(), &["w.test"], &[]).unwrap();
    assert_eq!(again.held(), ["w.test"]);
}

#[test]
fn one_of_several_instances_gets_it() {
    let fixture = fixture();
    let others = [(), ()].map(|()| Fixture {
        folder: tempfile::tempdir().unwrap(),
        storage: fixture.storage.clone(),
        authorities: authorities(fixture.folder.path()),
        store: Arc::default(),
        modules: fixture.modules.clone(),
    });
    let run = |fixture: &Fixture| fixture.manage(elsewhere(), &["one.test"], &[]).unwrap().run();
    block_on(async {
        let all = async {
            for fixture in &others {
                had(fixture, "one.test").await;
            }
        };
        tokio::select! {
            _ = async { tokio::join!(run(&others[0]), run(&others[1])) } => {}
            () = all => {}
        }
    });
    assert_eq!(others[0].serial("one.test"), others[1].serial("one.test"));
    assert_eq!(fs::read_dir(fixture.folder.path().join("locks")).unwrap().count(), 0);
}

#[test]
fn an_authority_can_move_the_renewal() {
    let fixture = fixture();
    let automation = fixture.manage(elsewhere(), &["ari.test"], &[]).unwrap();
    block_on(async {
        assert_eq!(automation.take_due(now()), ["ari.test"]);
        automation.clone().secure("ari.test".into()).await;
        // As the authority said when it issued: in an hour, though half of the life is not over.
        assert!(automation.take_due(now() + 3500).is_empty());
        automation.clone().ask_renewal_infos().await;
        assert!(automation.take_due(now() + 10).is_empty(), "it has just been got");
        automation.lock().get_mut("ari.test").unwrap().last = None;
        assert_eq!(automation.take_due(now() + 10), ["ari.test"]);
    });
    let text = fixture.storage.load("certificates/elsewhere/ari.test/ari.test.json").unwrap();
    let json: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(json["issuer_data"]["renewal_info"]["explanationURL"], "https://why");
}

#[test]
fn a_failure_is_tried_again_later() {
    let fixture = fixture();
    let automation = fixture.manage(elsewhere(), &["bad.test"], &[]).unwrap();
    let before = ASKED.load(Ordering::SeqCst);
    let ended = block_on(async {
        let secure = automation.clone().secure("bad.test".into());
        tokio::time::timeout(Duration::from_millis(400), secure).await
    });
    assert!(ended.is_err() && ASKED.load(Ordering::SeqCst) > before);
    assert!(fixture.held().is_empty());
}
