use std::sync::LazyLock;

use rcgen::KeyPair;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;

use super::super::{App, FileStorage};
use super::testing::{Authority, Responder, Says, id_of};
use super::*;

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);
static ELSEWHERE: LazyLock<Authority> = LazyLock::new(Authority::new);

/// Runs something on a runtime of one thread, as the control thread is.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), work).await.unwrap() })
}

/// What a certificate's asker takes an answer for that `authority` has given, changed by `change`.
fn believed(
    authority: &Authority,
    says: &Says,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<Answer, OcspError> {
    let leaf = AUTHORITY.leaf("a.test", "http://r", None);
    let question = Question::new(&leaf, &AUTHORITY.der).unwrap();
    let mut bytes = authority.answer(&question.request(), says);
    change(&mut bytes);
    question.believe(&bytes, now())
}

#[test]
fn what_the_issuer_says_is_believed() {
    for status in [
        Status::Good,
        Status::Unknown,
        Status::Revoked { reason: None },
        Status::Revoked { reason: Some(KEY_COMPROMISE) },
    ] {
        assert_eq!(believed(&AUTHORITY, &Says::of(status), |_| {}).unwrap().status, status);
    }
    let delegate = AUTHORITY.delegate(true, false);
    assert_eq!(believed(&delegate, &Says::good(), |_| {}).unwrap().status, Status::Good);
}

#[test]
fn what_others_say_is_not() {
    let expect = |authority: &Authority, error: &str| {
        let refused = believed(authority, &Says::good(), |_| {}).unwrap_err().to_string();
        assert!(refused.contains(error), "{refused}");
    };
    expect(&ELSEWHERE, "not the issuer's");
    expect(&AUTHORITY.delegate(false, false), "may not do so");
    expect(&AUTHORITY.delegate(true, true), "may not do so");
    expect(&ELSEWHERE.delegate(true, false), "may not do so");
}

#[test]
fn an_answer_is_of_now_and_of_one_certificate() {
    let refused = |says: Says| believed(&AUTHORITY, &says, |_| {}).unwrap_err();
    assert!(matches!(refused(Says { until: Some(-60), ..Says::good() }), OcspError::NotOfNow));
    assert!(matches!(refused(Says { since: 3600, ..Says::good() }), OcspError::NotOfNow));
    let forever = Says { until: Some(3600 * 24 * 365 * 3000), ..Says::good() };
    assert!(matches!(refused(forever), OcspError::BeyondCertificate));
    let critical = Says { critical: true, ..Says::good() };
    assert!(matches!(refused(critical), OcspError::Unusable(Unusable::Critical)));

    let leaf = AUTHORITY.leaf("a.test", "http://r", None);
    let question = Question::new(&leaf, &AUTHORITY.der).unwrap();
    let other = AUTHORITY.leaf("a.test", "http://r", None);
    let about_other = Question::new(&other, &AUTHORITY.der).unwrap().request();
    let bytes = AUTHORITY.answer(&about_other, &Says::good());
    assert!(matches!(question.believe(&bytes, now()), Err(OcspError::AboutAnother)));
    // Whoever has not issued it can't be asked about it.
    assert!(matches!(Question::new(&leaf, &ELSEWHERE.der), Err(OcspError::NotItsIssuer)));
}

#[test]
fn what_is_broken_is_refused() {
    assert!(believed(&AUTHORITY, &Says::good(), |bytes| bytes.push(0)).is_err());
    assert!(believed(&AUTHORITY, &Says::good(), |bytes| *bytes = b"<html>".to_vec()).is_err());
    let refusal =
        believed(&AUTHORITY, &Says::good(), |bytes| *bytes = vec![0x30, 3, 0x0a, 1, 6]).unwrap_err();
    assert_eq!(refusal.to_string(), "the responder refuses: unauthorized");
    // Wherever one bit is wrong, it is not believed, or says the same as before.
    let leaf = AUTHORITY.leaf("a.test", "http://r", None);
    let question = Question::new(&leaf, &AUTHORITY.der).unwrap();
    let whole = AUTHORITY.delegate(true, false).answer(&question.request(), &Says::good());
    let right = question.believe(&whole, now()).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        if let Ok(answer) = question.believe(&bytes, now()) {
            assert_eq!(answer, right, "byte {at}");
        }
        assert!(question.believe(&whole[..at], now()).is_err());
    }
}

#[test]
fn half_way_to_its_end_an_answer_is_asked_for_again() {
    let answer = |ends| Answer { status: Status::Good, this_update: 1000, next_update: ends, ends };
    assert!(answer(Some(2000)).is_fresh(1499) && !answer(Some(2000)).is_fresh(1500));
    assert!(!answer(Some(2000)).has_ended(2000) && answer(Some(2000)).has_ended(2001));
    assert!(!answer(None).is_fresh(1000) && !answer(None).has_ended(9000));
    // The one who signs may end first.
    let says = Says { until: Some(3600 * 24 * 365 * 30), ..Says::good() };
    let delegate = AUTHORITY.delegate(true, false);
    assert!(believed(&delegate, &says, |_| {}).unwrap().ends.is_some());
}

#[test]
fn files_are_named_as_by_caddy() {
    // What Go's `fnv.New32a` makes of it.
    assert_eq!((fast_hash(b""), fast_hash(b"foobar")), (0x811c_9dc5, 0xbf9c_f968));
}

/// A certificate with a storage, and somebody to ask about it.
struct Fixture {
    folder: tempfile::TempDir,
    responder: Responder,
    certificate: Certificate,
}

fn certificate(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Certificate {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Certificate::from_der(chain, key, Vec::new()).unwrap()
}

impl Fixture {
    fn new() -> Self {
        let responder = Responder::start(|request| AUTHORITY.answer(request, &Says::good()));
        let key = KeyPair::generate().unwrap();
        let leaf = AUTHORITY.leaf_for(&key, "*.A.test", &responder.url(), None);
        let certificate = certificate(vec![leaf, AUTHORITY.der.clone()], &key);
        Self { folder: tempfile::tempdir().unwrap(), responder, certificate }
    }

    fn stapling(&self) -> Stapling {
        Stapling::new(FileStorage::shared(self.folder.path()), false, BTreeMap::new())
    }

    fn staple(&self) -> Option<Vec<u8>> {
        self.certificate.for_handshakes().ocsp.clone()
    }

    /// What is stored, by its name.
    fn stored(&self) -> Vec<(String, Vec<u8>)> {
        let storage = FileStorage::new(self.folder.path());
        let keys = storage.keys(FOLDER).unwrap();
        keys.into_iter().map(|key| (key.clone(), storage.load(&key).unwrap())).collect()
    }
}

#[test]
fn a_staple_is_got_once_and_kept() {
    let fixture = Fixture::new();
    block_on(fixture.stapling().staple_first(&fixture.certificate));
    let staple = fixture.staple().unwrap();
    let bundle =
        fast_hash(certificate_pem(&fixture.certificate.chain().iter().collect::<Vec<_>>()).as_bytes());
    assert_eq!(fixture.stored(), [(format!("ocsp/wildcard_.a.test-{bundle:x}"), staple.clone())]);
    block_on(fixture.stapling().staple_first(&fixture.certificate));
    assert_eq!(fixture.responder.asked(), 1);
    // The next process finds it.
    fixture.certificate.unstaple();
    fixture.stapling().staple_stored(&fixture.certificate);
    assert_eq!((fixture.staple(), fixture.responder.asked()), (Some(staple), 1));
}

#[test]
fn what_is_due_is_replaced_and_what_has_ended_is_not_shown() {
    let fixture = Fixture::new();
    let says = |since, until| {
        move |request: &[u8]| AUTHORITY.answer(request, &Says { since, until: Some(until), ..Says::good() })
    };
    fixture.responder.answer(says(-3600, 2));
    block_on(fixture.stapling().staple_first(&fixture.certificate));
    let first = fixture.staple().unwrap();
    // Nobody answers: it stays as long as it lasts.
    fixture.responder.answer(|_| b"garbage".to_vec());
    block_on(fixture.stapling().staple_first(&fixture.certificate));
    assert_eq!(fixture.staple().unwrap(), first);
    std::thread::sleep(Duration::from_millis(3100));
    assert_eq!(fixture.staple(), None);
    block_on(fixture.stapling().staple_first(&fixture.certificate));
    assert_eq!((fixture.staple(), fixture.responder.asked()), (None, 3));
    fixture.responder.answer(says(-60, 3600));
    block_on(fixture.stapling().staple_first(&fixture.certificate));
    assert!(fixture.staple().is_some_and(|staple| staple != first));
}

#[test]
fn bad_answers_are_no_staples() {
    let fixture = Fixture::new();
    let ask = || {
        block_on(fixture.stapling().staple_first(&fixture.certificate));
        assert_eq!((fixture.staple(), fixture.stored().len()), (None, 0));
    };
    fixture.responder.answer(|_| vec![0; ANSWER_BYTES_MAX + 1]);
    ask();
    fixture.responder.answer(|request| ELSEWHERE.answer(request, &Says::good()));
    ask();
    fixture.responder.answer(|request| AUTHORITY.answer(request, &Says::of(Status::Unknown)));
    ask();
    assert_eq!(fixture.responder.asked(), 3);
    fixture.responder.answer(|request| {
        AUTHORITY.answer(request, &Says::of(Status::Revoked { reason: Some(KEY_COMPROMISE) }))
    });
    ask();
    assert!(fixture.certificate.is_revoked() && fixture.certificate.is_compromised());
}

#[test]
fn responders_are_replaced_and_left_alone_as_said() {
    let fixture = Fixture::new();
    let with = |disabled, other: &str| {
        let overrides = [(fixture.responder.url(), other.to_owned())].into();
        Stapling::new(FileStorage::shared(fixture.folder.path()), disabled, overrides)
    };
    block_on(with(true, &fixture.responder.url()).staple_first(&fixture.certificate));
    block_on(with(false, "").staple_first(&fixture.certificate));
    assert_eq!((fixture.staple(), fixture.responder.asked()), (None, 0));
    let other = Responder::start(|request| AUTHORITY.answer(request, &Says::good()));
    block_on(with(false, &other.url()).staple_first(&fixture.certificate));
    assert!(fixture.staple().is_some());
    assert_eq!((other.asked(), fixture.responder.asked()), (1, 0));
}

#[test]
fn a_stored_staple_is_looked_at_before_it_is_shown() {
    let fixture = Fixture::new();
    let storage = FileStorage::new(fixture.folder.path());
    let key = key(&fixture.certificate);
    storage.store(&key, b"garbage").unwrap();
    fixture.stapling().staple_stored(&fixture.certificate);
    assert_eq!((fixture.staple(), fixture.stored().len()), (None, 0), "what can't be read goes");
    let question = Question::new(&fixture.certificate.chain()[0], &AUTHORITY.der).unwrap();
    assert!(!id_of(&question.request()).is_empty());
    storage.store(&key, &ELSEWHERE.answer(&question.request(), &Says::good())).unwrap();
    fixture.stapling().staple_stored(&fixture.certificate);
    assert_eq!(fixture.staple(), None);
    // What another instance has left there saves asking.
    storage.store(&key, &AUTHORITY.answer(&question.request(), &Says::good())).unwrap();
    block_on(fixture.stapling().staple_first(&fixture.certificate));
    assert!(fixture.staple().is_some());
    assert_eq!(fixture.responder.asked(), 0);
}

#[test]
fn an_issuer_that_is_not_in_the_chain_is_fetched() {
    let place = Responder::start(|_| AUTHORITY.der.to_vec());
    let responder = Responder::start(|request| AUTHORITY.answer(request, &Says::good()));
    let stapled = |place: Option<&str>| {
        let key = KeyPair::generate().unwrap();
        let leaf = AUTHORITY.leaf_for(&key, "a.test", &responder.url(), place);
        let certificate = certificate(vec![leaf], &key);
        let folder = tempfile::tempdir().unwrap();
        let stapling = Stapling::new(FileStorage::shared(folder.path()), false, BTreeMap::new());
        block_on(stapling.staple_first(&certificate));
        certificate.for_handshakes().ocsp.is_some()
    };
    assert!(stapled(Some(&place.url())));
    assert!(!stapled(None));
    place.answer(|_| ELSEWHERE.der.to_vec());
    assert!(!stapled(Some(&place.url())), "it has not issued it");
}

#[test]
fn a_responder_that_is_not_there_is_not_asked_for_each_certificate() {
    let silence = Silence::default();
    let nobody = "http://127.0.0.1:1";
    block_on(async {
        for _ in 0..FAILURES_MAX {
            let error = fetch(Method::POST, nobody, Bytes::new(), &silence).await.unwrap_err();
            assert!(matches!(error, OcspError::Fetch { .. }), "{error}");
        }
        let error = fetch(Method::POST, nobody, Bytes::new(), &silence).await.unwrap_err();
        assert!(matches!(error, OcspError::Silent(_)), "{error}");
    });
}

#[test]
fn a_responder_that_says_nothing_does_not_hold_up_a_configuration() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (chain, key) = AUTHORITY.pem("a.test", &format!("http://{}", silent.local_addr().unwrap()));
    let config = json!({"certificates": {"load_pem": [{"certificate": chain, "key": key}]}});
    let folder = tempfile::tempdir().unwrap();
    let config = serde_json::from_value(config).unwrap();
    let storage = FileStorage::shared(folder.path());
    let app = App::provision(Some(&config), None, storage, &Arc::default()).unwrap();
    let begin = std::time::Instant::now();
    block_on(app.staple());
    assert!(begin.elapsed() < ANSWER_TIMEOUT);
    assert!(app.has_certificate_for("a.test"));
}
