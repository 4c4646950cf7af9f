//! Handshakes in memory, for tests: no socket, no clock.

use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::Acceptor;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConnection, SignatureScheme,
};

use super::{ConnectionPolicies, Ends, Selected, provider};

/// Takes any certificate.
pub(super) fn careless_verifier() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Careless::default())
}

/// A client that takes any certificate.
pub(crate) fn careless_client() -> ClientConfig {
    curious_client(Arc::default())
}

/// A client that takes any certificate, and tells which staple it was shown last.
pub(crate) fn curious_client(staple: Arc<Mutex<Vec<u8>>>) -> ClientConfig {
    ClientConfig::builder_with_provider(provider().clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless { staple }))
        .with_no_client_auth()
}

/// A handshake of a client that asks for `name`: a host name, or an address to send no name at all.
/// The error is whichever side's comes first; `None` for one that `select` refused.
pub(super) fn handshake(
    policies: &ConnectionPolicies,
    client: &Arc<ClientConfig>,
    name: &str,
    ends: Ends,
) -> Result<(ServerConnection, ClientConnection), Option<Error>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut hello.as_slice()).unwrap();
    let accepted = acceptor.accept().map_err(|(error, _)| Some(error))?.expect("a whole hello");
    let Selected::Ready(config) = policies.select(&accepted.client_hello(), ends) else { return Err(None) };
    let mut server = accepted.into_connection(config).map_err(|(error, _)| Some(error))?;
    let mut buffer = Vec::new();
    while server.wants_write() || client.wants_write() {
        buffer.clear();
        server.write_tls(&mut buffer).unwrap();
        feed(&buffer, |bytes| client.read_tls(bytes));
        client.process_new_packets().map_err(Some)?;
        buffer.clear();
        client.write_tls(&mut buffer).unwrap();
        feed(&buffer, |bytes| server.read_tls(bytes));
        server.process_new_packets().map_err(Some)?;
    }
    Ok((server, client))
}

fn feed(mut bytes: &[u8], mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) {
    while !bytes.is_empty() {
        read(&mut bytes).unwrap();
    }
}

#[derive(Debug, Default)]
struct Careless {
    staple: Arc<Mutex<Vec<u8>>>,
}

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.staple.lock().unwrap() = staple.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
