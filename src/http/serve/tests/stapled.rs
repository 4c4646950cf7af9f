//! What certificates' authorities say of them, shown in handshakes.

use std::sync::Mutex;

use quinn::crypto::rustls::QuicClientConfig;

use super::http3::Client;
use super::*;
use crate::tls::ocsp_testing::{Authority, Responder, Says};
use crate::tls::{App, FileStorage, HttpVersions, curious_client};

#[test]
fn staples_are_shown_over_tcp_and_quic() {
    let authority = Arc::new(Authority::new());
    let speaker = authority.clone();
    let responder = Responder::start(move |request| speaker.answer(request, &Says::good()));
    let (chain, key) = authority.pem("h", &responder.url());
    let folder = tempfile::tempdir().unwrap();
    let config = serde_json::json!({"certificates": {"load_pem": [{"certificate": chain, "key": key}]}});
    let config = serde_json::from_value(config).unwrap();
    let storage = FileStorage::shared(folder.path());
    let app = App::provision(Some(&config), None, storage, &Arc::default()).unwrap();
    let policies = app.connection_policies(&[Default::default()], HttpVersions { http1: true, http2: true });
    let gate = Gate::start("{}");
    let listen = Listen {
        address: gate.address.to_string().parse().unwrap(),
        server: server("{}"),
        tls: Some(Arc::new(policies.unwrap())),
        protocols: ALL,
    };
    gate.runtime.block_on(gate.engine.apply(vec![listen])).unwrap();

    let staple: Arc<Mutex<Vec<u8>>> = Arc::default();
    let over_tcp = || {
        staple.lock().unwrap().clear();
        let mut stream = TcpStream::connect(gate.address).unwrap();
        let config = Arc::new(curious_client(staple.clone()));
        let mut connection = rustls::ClientConnection::new(config, "h".try_into().unwrap()).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        staple.lock().unwrap().clone()
    };
    assert_eq!(over_tcp(), b"", "there is none yet");
    // It comes while the listener is open.
    gate.runtime.block_on(app.staple());
    let [stored] = &std::fs::read_dir(folder.path().join("ocsp")).unwrap().collect::<Vec<_>>()[..] else {
        panic!("there is one file")
    };
    let stored = std::fs::read(stored.as_ref().unwrap().path()).unwrap();
    assert_eq!(over_tcp(), stored);

    staple.lock().unwrap().clear();
    let mut tls = curious_client(staple.clone());
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    Client::new().shake_hands(&gate, config, "h").unwrap();
    assert_eq!(*staple.lock().unwrap(), stored);
    assert_eq!(responder.asked(), 1);
}
