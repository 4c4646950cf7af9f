//! The whole server, from messages to certificates.

mod client;

use std::net::Ipv4Addr;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::dns::{Resolver, testing};
use crate::tls::challenges;
use crate::tls::issuance::Ports;
use client::{Ca, Client, HOST, at, csr, send, settings};

/// Answers every request with this until it is dropped.
async fn web(answer: impl Fn(&str) -> String + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 2048];
            let length = stream.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            _ = stream.write_all(answer(path).as_bytes()).await;
        }
    });
    port
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn from_an_account_to_a_certificate_and_its_end() {
    let answer = Arc::new(Mutex::new(String::new()));
    let shown = answer.clone();
    let port = web(move |path| match path {
        // Elsewhere, and with an end of line.
        path if path.starts_with("/.well-known/acme-challenge/") => {
            "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into()
        }
        _ => ok(&format!("{}\n", shown.lock().unwrap())),
    })
    .await;
    let ca = Ca::new(settings(), Ports { http: port, https: 1 });
    let (server, client) = (&ca.server, Client::registered(&ca.server).await);
    let made = client.order(server, "ip", "127.0.0.1").await;
    assert_eq!((made.status, made.nonce), (201, true), "{made:?}");
    let (address, order) = (made.location.clone(), made.json());
    let finalize = order["finalize"].as_str().unwrap();
    let key = KeyPair::generate().unwrap();
    let early = client.post(server, finalize, Some(&csr(&["127.0.0.1"], &key))).await;
    assert_eq!(early.problem(), "orderNotReady");

    let challenge = client.challenge(server, &order, "http-01").await;
    let url = challenge["url"].as_str().unwrap();
    // A question alone does not begin it.
    assert_eq!(client.post(server, url, None).await.json()["status"], "pending");
    *answer.lock().unwrap() = client.authorization(challenge["token"].as_str().unwrap());
    let seen = client.post(server, url, Some(&json!({}))).await.json();
    assert_eq!(seen["status"], "valid", "{seen}");
    assert_eq!(client.post(server, &address, None).await.json()["status"], "ready");

    for names in [&["127.0.0.2"][..], &["127.0.0.1", "a.test"], &[]] {
        let refused = client.post(server, finalize, Some(&csr(names, &key))).await;
        assert_eq!(refused.problem(), "badCSR", "{names:?}");
    }
    let done = client.post(server, finalize, Some(&csr(&["127.0.0.1"], &key))).await.json();
    assert_eq!(done["status"], "valid", "{done}");
    let certificate = done["certificate"].as_str().unwrap();
    let chain = client.post(server, certificate, None).await;
    assert_eq!(chain.text.matches("BEGIN CERTIFICATE").count(), 2);
    let other = Client::registered(server).await;
    for address in [certificate, &address, url, order["authorizations"][0].as_str().unwrap()] {
        assert_eq!(other.post(server, address, None).await.status, 401, "{address}");
    }

    // Another process knows the account and the certificate.
    let looker = Looker::new(Resolver::at(&[], 1), Ports::default()).unwrap();
    let again = &Ca::server(&ca.folder, settings(), looker);
    assert_eq!(client.post(again, certificate, None).await.text, chain.text);
    let der = rustls::pki_types::CertificateDer::from(pem(&chain.text));
    let wish = json!({"certificate": URL_SAFE_NO_PAD.encode(&der), "reason": 1});
    assert_eq!(other.post(again, &at("revoke-cert"), Some(&wish)).await.status, 403);
    assert_eq!(Client::new().post(again, &at("revoke-cert"), Some(&wish)).await.status, 403);
    let owner = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).unwrap();
    let owner = Client { key: owner, kid: None };
    assert_eq!(owner.post(again, &at("revoke-cert"), Some(&wish)).await.status, 200);
    let twice = client.post(again, &at("revoke-cert"), Some(&wish)).await;
    assert_eq!(twice.problem(), "alreadyRevoked");
}

fn pem(text: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_slice(text.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn a_wrong_answer_is_final_and_none_is_not() {
    let port = web(|path| if path.ends_with("/x") { ok("y") } else { ok("wrong") }).await;
    let ca = Ca::new(settings(), Ports { http: port, https: 1 });
    let (server, client) = (&ca.server, Client::registered(&ca.server).await);
    let order = client.order(server, "ip", "127.0.0.1").await;
    let tls = client.challenge(server, &order.json(), "tls-alpn-01").await;
    for _ in 0..2 {
        let seen = client.post(server, tls["url"].as_str().unwrap(), Some(&json!({}))).await.json();
        assert_eq!(seen["status"], "pending", "{seen}");
        assert!(seen["error"]["type"].as_str().unwrap().ends_with(":connection"), "{seen}");
    }
    let http = client.challenge(server, &order.json(), "http-01").await;
    let seen = client.post(server, http["url"].as_str().unwrap(), Some(&json!({}))).await.json();
    assert_eq!(seen["status"], "invalid", "{seen}");
    assert!(!seen.to_string().contains("wrong"), "what was there is nobody's business: {seen}");
    assert_eq!(client.post(server, &order.location, None).await.json()["status"], "invalid");
    let after = client.post(server, tls["url"].as_str().unwrap(), Some(&json!({}))).await.json();
    assert_eq!(after["status"], "pending", "it is not looked at any more");
}

#[tokio::test]
async fn the_certificate_of_a_challenge_is_looked_at() {
    for (name, works) in [("127.0.0.1", true), ("127.0.0.2", false)] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let ports = Ports { http: 1, https: listener.local_addr().unwrap().port() };
        let ca = Ca::new(settings(), ports);
        let (server, client) = (&ca.server, Client::registered(&ca.server).await);
        let order = client.order(server, "ip", "127.0.0.1").await.json();
        let challenge = client.challenge(server, &order, "tls-alpn-01").await;
        let shown = challenges::show(challenges::Challenge {
            kind: "tls-alpn-01".into(),
            key_authorization: client.authorization(challenge["token"].as_str().unwrap()),
            identifier: challenges::Identifier { kind: "ip".into(), value: name.into() },
            ..challenges::Challenge::default()
        });
        let config = challenges::tls_answer(name).unwrap();
        drop(shown);
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(config).accept(stream).await.unwrap();
            _ = stream.read(&mut [0; 1]).await;
            std::future::pending::<()>().await;
        };
        let ready = json!({});
        let seen = tokio::select! {
            seen = client.post(server, challenge["url"].as_str().unwrap(), Some(&ready)) => seen.json(),
            () = serve => unreachable!("it never ends"),
        };
        assert_eq!(seen["status"], if works { "valid" } else { "invalid" }, "{seen}");
    }
}

#[tokio::test]
async fn a_record_shows_that_a_wildcard_is_ours() {
    let text = Arc::new(Mutex::new(String::from("nothing yet")));
    let shown = text.clone();
    let says = move |name: &str, kind: u16| match (name, kind) {
        ("_acme-challenge.wild.test.", 16) => {
            let text = shown.lock().unwrap();
            let length = u8::try_from(text.len()).unwrap();
            (0x8180, vec![(16, [&[length], text.as_bytes()].concat())])
        }
        _ => (0x8183, Vec::new()),
    };
    let address = testing::server(says, |_: &str, _| (0x8183, Vec::new()));
    let resolver = Resolver::at(&[address.ip()], address.port());
    let ca = Ca::with(settings(), Ports { http: 1, https: 1 }, resolver);
    let (server, client) = (&ca.server, Client::registered(&ca.server).await);
    let order = client.order(server, "dns", "*.Wild.test").await.json();
    assert_eq!(order["identifiers"][0]["value"], "*.wild.test");
    let authorization = client.post(server, order["authorizations"][0].as_str().unwrap(), None).await.json();
    assert_eq!(authorization["challenges"].as_array().unwrap().len(), 1, "{authorization}");
    assert_eq!(
        (&authorization["wildcard"], &authorization["identifier"]["value"]),
        (&json!(true), &json!("wild.test"))
    );
    let challenge = client.challenge(server, &order, "dns-01").await;
    let url = challenge["url"].as_str().unwrap();
    assert_eq!(client.post(server, url, Some(&json!({}))).await.json()["status"], "pending");
    let answer = client.authorization(challenge["token"].as_str().unwrap());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, answer.as_bytes());
    *text.lock().unwrap() = URL_SAFE_NO_PAD.encode(digest);
    // Once begun, a question is enough to look again.
    assert_eq!(client.post(server, url, None).await.json()["status"], "valid");
    let done = client
        .post(
            server,
            order["finalize"].as_str().unwrap(),
            Some(&csr(&["*.wild.test"], &KeyPair::generate().unwrap())),
        )
        .await;
    assert_eq!(done.json()["status"], "valid", "{done:?}");
}

#[tokio::test]
async fn messages_that_are_not_what_they_should_be() {
    let ca = Ca::new(settings(), Ports::default());
    let (server, client) = (&ca.server, Client::registered(&ca.server).await);
    let address = client.kid.clone().unwrap();
    let jwk = client.jwk();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut header = client.header(server, &address);
        change(&mut header);
        client.sign(&header, "").to_string()
    };
    let good = changed(&|_| {});
    let mut forged: Value = serde_json::from_str(&changed(&|_| {})).unwrap();
    forged["payload"] = json!("e30");
    let mut unprotected: Value = serde_json::from_str(&changed(&|_| {})).unwrap();
    unprotected["header"] = json!({"kid": "x"});
    let cases = [
        (good.clone(), ""),
        (good, "badNonce"),
        (changed(&|header| header["nonce"] = json!("")), "badNonce"),
        (changed(&|header| header["url"] = json!(at("new-order"))), "malformed"),
        (changed(&|header| header["jwk"] = jwk.clone()), "malformed"),
        (changed(&|header| header["alg"] = json!("none")), "badSignatureAlgorithm"),
        (changed(&|header| header["alg"] = json!("HS256")), "badSignatureAlgorithm"),
        (changed(&|header| header["alg"] = json!("RS256")), "malformed"),
        (changed(&|header| header["crit"] = json!(["exp"])), "malformed"),
        (changed(&|header| header["b64"] = json!(false)), "malformed"),
        (
            changed(&|header| header["kid"] = json!("https://ca.test/acme/local/account/x")),
            "accountDoesNotExist",
        ),
        (changed(&|header| header["kid"] = json!(address.replace(HOST, "other.test"))), "unauthorized"),
        (forged.to_string(), "malformed"),
        (unprotected.to_string(), "malformed"),
        ("{}".into(), "malformed"),
        ("[".repeat(60_000), "malformed"),
        (String::new(), "malformed"),
    ];
    for (body, expected) in cases {
        let answer = send(server, Method::POST, &address, &body).await;
        assert!(answer.nonce, "{answer:?}");
        let found = if answer.status == 200 { String::new() } else { answer.problem() };
        assert_eq!(found, expected, "{:.300}", body);
    }
    let new = Client::new();
    assert_eq!(new.post(server, &at("new-order"), Some(&json!({}))).await.problem(), "malformed");
    assert_eq!(client.post(server, &at("new-account"), Some(&json!({}))).await.problem(), "malformed");
}

#[tokio::test]
async fn accounts() {
    let ca = Ca::new(settings(), Ports::default());
    let (server, mut client) = (&ca.server, Client::new());
    let existing = json!({"onlyReturnExisting": true});
    let unknown = client.post(server, &at("new-account"), Some(&existing)).await;
    assert_eq!(unknown.problem(), "accountDoesNotExist");
    let external = json!({"externalAccountBinding": {}});
    assert_eq!(client.post(server, &at("new-account"), Some(&external)).await.problem(), "malformed");
    let wish = json!({"contact": ["mailto:a@b.test"], "termsOfServiceAgreed": true});
    let made = client.post(server, &at("new-account"), Some(&wish)).await;
    assert_eq!((made.status, made.json()["contact"][0].as_str()), (201, Some("mailto:a@b.test")));
    // Some clients say whom to write to whenever they ask for their account.
    let existing_with_contact = json!({"onlyReturnExisting": true, "contact": ["mailto:x@y.test"]});
    for again in [&existing, &json!({}), &existing_with_contact] {
        let known = client.post(server, &at("new-account"), Some(again)).await;
        assert_eq!((known.status, &known.location), (200, &made.location));
    }
    client.kid = Some(made.location.clone());
    let changed = json!({"contact": ["mailto:c@d.test"]});
    let changed = client.post(server, &made.location, Some(&changed)).await;
    assert_eq!(changed.json()["contact"], json!(["mailto:c@d.test"]));
    let many = json!({"contact": vec!["mailto:a@b.test"; 11]});
    assert_eq!(client.post(server, &made.location, Some(&many)).await.problem(), "malformed");
    let other = Client::registered(server).await;
    assert_eq!(other.post(server, &made.location, None).await.status, 401);
    assert_eq!(client.post(server, &at("key-change"), Some(&json!({}))).await.status, 501);
    let order = client.order(server, "dns", "a.test").await;
    let orders = client.post(server, &format!("{}/orders", made.location), None).await;
    assert_eq!(orders.json(), json!([order.location]));
    let left = client.post(server, &made.location, Some(&json!({"status": "deactivated"}))).await;
    assert_eq!(left.json()["status"], "deactivated");
    assert_eq!(client.post(server, &made.location, None).await.status, 401);
    client.kid = None;
    assert_eq!(client.post(server, &at("new-account"), Some(&wish)).await.status, 401);
}

#[tokio::test]
async fn what_the_policy_or_the_settings_exclude() {
    let rules = Rules::parse(&["a.test".to_owned()], &[]).unwrap();
    let policy = Policy { allow: rules, ..Policy::default() };
    let ca = Ca::new(Settings { policy, ways: vec![Way::Http], ..settings() }, Ports::default());
    let (server, client) = (&ca.server, Client::registered(&ca.server).await);
    assert_eq!(client.order(server, "dns", "b.test").await.problem(), "rejectedIdentifier");
    let made = client.order(server, "dns", "a.test").await.json();
    let found = client.post(server, made["authorizations"][0].as_str().unwrap(), None).await.json();
    assert_eq!(found["challenges"].as_array().unwrap().len(), 1);
    for wish in [json!({}), json!({"identifiers": []}), json!({"identifiers": [{"type": "dns"}]})] {
        assert_eq!(client.post(server, &at("new-order"), Some(&wish)).await.problem(), "malformed");
    }
    let many = vec![json!({"type": "dns", "value": "a.test"}); 101];
    let many = json!({"identifiers": many});
    assert_eq!(client.post(server, &at("new-order"), Some(&many)).await.problem(), "malformed");
    let given_up = made["authorizations"][0].as_str().unwrap();
    let left = client.post(server, given_up, Some(&json!({"status": "deactivated"}))).await;
    assert_eq!(left.json()["status"], "deactivated");
}

#[tokio::test]
async fn other_kinds_of_keys() {
    let ca = Ca::new(settings(), Ports::default());
    let key = Ed25519KeyPair::generate().unwrap();
    let sign = |jwk: Value| {
        let nonce = ca.server.state.nonces.make();
        let header = json!({"alg": "EdDSA", "nonce": nonce, "url": at("new-account"), "jwk": jwk});
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let signature = URL_SAFE_NO_PAD.encode(key.sign(format!("{header}.e30").as_bytes()));
        json!({"protected": header, "payload": "e30", "signature": signature}).to_string()
    };
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    let made = send(&ca.server, Method::POST, &at("new-account"), &sign(jwk)).await;
    assert_eq!(made.status, 201, "{made:?}");
    for bad in [
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "d": x}),
        json!({"kty": "OKP", "crv": "X25519", "x": x}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": x, "y": x}),
        json!({"kty": "RSA", "e": "AQAB", "n": x}),
        json!({"kty": "oct", "k": x}),
    ] {
        let refused = send(&ca.server, Method::POST, &at("new-account"), &sign(bad.clone())).await;
        assert_eq!(refused.status, 400, "{bad}");
    }
}
