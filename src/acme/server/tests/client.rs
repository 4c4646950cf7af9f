//! A server to be asked, and a client that asks it without what lies between them.

use std::net::Ipv4Addr;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};

use super::super::*;
use crate::config::pki::DEFAULT_CA;
use crate::dns::Resolver;
use crate::tls::issuance::Ports;
use crate::tls::{Authorities, FileStorage, Modules};

pub(super) const HOST: &str = "ca.test:8443";

/// A server with its storage.
pub(super) struct Ca {
    pub(super) server: Arc<Server>,
    pub(super) folder: tempfile::TempDir,
}

pub(super) fn settings() -> Settings {
    Settings {
        host: String::new(),
        path_prefix: "/acme/".into(),
        lifetime: Duration::from_secs(12 * 60 * 60),
        ways: Way::ALL.to_vec(),
        policy: Policy::default(),
        sign_with_root: false,
    }
}

impl Ca {
    pub(super) fn new(settings: Settings, ports: Ports) -> Self {
        Self::with(settings, ports, Resolver::at(&[Ipv4Addr::LOCALHOST.into()], 1))
    }

    pub(super) fn with(settings: Settings, ports: Ports, resolver: Resolver) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Self::server(&folder, settings, Looker::new(resolver, ports).unwrap());
        Self { server, folder }
    }

    /// A server of its own state, as in a process of its own.
    pub(super) fn server(folder: &tempfile::TempDir, settings: Settings, looker: Looker) -> Arc<Server> {
        let storage = FileStorage::shared(folder.path());
        let authorities = Authorities::provision(None, &storage, &Modules::default().storages).unwrap();
        Arc::new(Server {
            settings,
            authority: authorities.get(DEFAULT_CA).unwrap(),
            records: Records::new(storage, DEFAULT_CA),
            looker,
            state: Arc::new(State::new()),
        })
    }
}

/// A client with its key.
pub(super) struct Client {
    pub(super) key: EcdsaKeyPair,
    pub(super) kid: Option<String>,
}

/// An answer: status, `Location`, and the document or text.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: String,
    pub(super) nonce: bool,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The kind of a problem.
    pub(super) fn problem(&self) -> String {
        self.json()["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    }
}

pub(super) fn path_of(address: &str) -> String {
    address.strip_prefix(&format!("https://{HOST}")).unwrap_or_else(|| panic!("{address}")).to_owned()
}

pub(super) async fn send(server: &Arc<Server>, method: Method, address: &str, body: &str) -> Answer {
    let path = path_of(address);
    let request = Request {
        client: None,
        method,
        host: HOST.into(),
        path: path.clone(),
        raw_path: path,
        content_type: "application/jose+json".into(),
        body: Bytes::from(body.to_owned()),
    };
    let response = server.answer(request).await;
    let field = |name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    Answer {
        status: response.status().as_u16(),
        location: field("location"),
        nonce: !field("replay-nonce").is_empty(),
        text: String::from_utf8(response.body().to_vec()).unwrap(),
    }
}

pub(super) fn at(what: &str) -> String {
    format!("https://{HOST}/acme/local/{what}")
}

impl Client {
    pub(super) fn new() -> Self {
        Self { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), kid: None }
    }

    /// One that has an account.
    pub(super) async fn registered(server: &Arc<Server>) -> Self {
        let mut client = Self::new();
        let answer = client.post(server, &at("new-account"), Some(&json!({}))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        client.kid = Some(answer.location);
        client
    }

    pub(super) fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])})
    }

    pub(super) fn authorization(&self, token: &str) -> String {
        serde_json::from_value::<jws::Jwk>(self.jwk()).unwrap().key_authorization(token)
    }

    pub(super) fn header(&self, server: &Server, address: &str) -> Value {
        let mut header = json!({"alg": "ES256", "nonce": server.state.nonces.make(), "url": address});
        match &self.kid {
            Some(kid) => header["kid"] = json!(kid),
            None => header["jwk"] = self.jwk(),
        }
        header
    }

    pub(super) fn sign(&self, header: &Value, payload: &str) -> Value {
        let (header, payload) = (URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
        let signature =
            self.key.sign(&SystemRandom::new(), format!("{header}.{payload}").as_bytes()).unwrap();
        let signature = URL_SAFE_NO_PAD.encode(signature);
        json!({"protected": header, "payload": payload, "signature": signature})
    }

    pub(super) async fn post(&self, server: &Arc<Server>, address: &str, payload: Option<&Value>) -> Answer {
        let payload = payload.map(ToString::to_string).unwrap_or_default();
        let message = self.sign(&self.header(server, address), &payload);
        send(server, Method::POST, address, &message.to_string()).await
    }

    pub(super) async fn order(&self, server: &Arc<Server>, kind: &str, name: &str) -> Answer {
        let wish = json!({"identifiers": [{"type": kind, "value": name}]});
        self.post(server, &at("new-order"), Some(&wish)).await
    }

    /// The challenge of an order's first authorization.
    pub(super) async fn challenge(&self, server: &Arc<Server>, order: &Value, way: &str) -> Value {
        let address = order["authorizations"][0].as_str().unwrap();
        let found = self.post(server, address, None).await.json();
        let all = found["challenges"].as_array().unwrap();
        all.iter().find(|challenge| challenge["type"] == way).unwrap_or_else(|| panic!("{found}")).clone()
    }
}

pub(super) fn csr(names: &[&str], key: &KeyPair) -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        })
        .collect();
    json!({"csr": URL_SAFE_NO_PAD.encode(params.serialize_request(key).unwrap().der())})
}
