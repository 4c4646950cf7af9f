//! What a request knows of the connection that it came by.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};

use super::serve::Wire;

/// The two ends of a connection, and its TLS state.
#[derive(Debug)]
pub struct ConnInfo {
    /// The client's address; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Our own address; `None` on a Unix socket, and where the configuration never asks for it.
    pub local: Option<SocketAddr>,
    /// The TLS session, if there is one.
    pub tls: Option<Arc<TlsInfo>>,
    /// What the engine keeps of the connection.
    pub(crate) wire: Wire,
    peer_ip: OnceLock<Box<str>>,
}

impl ConnInfo {
    /// A connection between these ends.
    pub fn new(peer: Option<SocketAddr>, local: Option<SocketAddr>, tls: Option<Arc<TlsInfo>>) -> Self {
        Self { peer, local, tls, wire: Wire::default(), peer_ip: OnceLock::new() }
    }

    /// The client's IP address as text, written once for all requests of the connection; empty on a Unix
    /// socket.
    pub fn peer_ip(&self) -> &str {
        let written =
            || self.peer.map(|peer| peer.ip().to_canonical().to_string()).unwrap_or_default().into();
        self.peer_ip.get_or_init(written)
    }

    /// Sends the head of an interim answer (1xx) before the real one, over HTTP/1.1. Where it can't
    /// go in time it is left out, which RFC 9110 section 15.2 allows.
    pub fn send_interim(&self, status: StatusCode, headers: &HeaderMap) {
        let mut head = Vec::with_capacity(256);
        let reason = status.canonical_reason().unwrap_or("");
        head.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
        for (name, value) in headers {
            // An interim answer has no body, whatever it says.
            if !matches!(*name, CONTENT_LENGTH | TRANSFER_ENCODING) {
                super::upstream::write_field(&mut head, name, value.as_bytes());
            }
        }
        head.extend_from_slice(b"\r\n");
        self.wire.push_interim(&head);
    }
}

/// What a handshake settled, for placeholders and logs (`{http.request.tls.*}`).
#[derive(Debug, Default)]
pub struct TlsInfo {
    /// The protocol version.
    pub version: Option<rustls::ProtocolVersion>,
    /// The cipher suite.
    pub cipher_suite: Option<rustls::CipherSuite>,
    /// The negotiated application protocol, such as `h2`.
    pub alpn: Option<Vec<u8>>,
    /// The server name that the client asked for, lower-cased.
    pub server_name: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The client's certificates in DER, its own first.
    pub client_certificates: Vec<rustls_pki_types::CertificateDer<'static>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_written_as_the_address_that_they_have() {
        for (peer, expected) in [
            ("192.0.2.1:80", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
        ] {
            let conn = ConnInfo::new(Some(peer.parse().unwrap()), None, None);
            assert_eq!((conn.peer_ip(), conn.peer_ip()), (expected, expected));
        }
        assert_eq!(ConnInfo::new(None, None, None).peer_ip(), "");
    }
}
