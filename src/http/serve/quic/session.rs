//! The TLS handshakes of QUIC connections (RFC 9001), by the same policies as those over TCP.
//!
//! QUIC's library asks for a configuration before it has seen anything of the client. So a session
//! begins without one: it gathers the client's hello, has the policies choose by it as they do for
//! TCP, and only then becomes rustls's. Nothing but what the chosen policy says is ever used, so a
//! client that must show a certificate must show it here too.
//!
//! One that has to wait for a certificate says nothing until there is one, see [`super::waiting`].

use std::any::Any;
use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::crypto::{
    self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::quic::{KeyChange, Secrets, ServerConnection, Suite, Version};
use rustls::server::{Accepted, Acceptor, ResolvesServerCertUsingSni};
use rustls::{AlertDescription, ServerConfig};
use tokio::sync::oneshot;

use super::super::conn::tls_info;
use super::super::h3::ALPN;
use super::waiting::{self, Wait, Waiting};
use crate::tls::{ConnectionPolicies, Ends, Selected, provider};

/// A client's hello may have so many bytes.
const HELLO_BYTES_MAX: usize = 16 * 1024;
/// The head of a handshake message: its type and its length (RFC 8446 section 4).
const MESSAGE_HEAD_BYTES: usize = 4;
const CLIENT_HELLO: u8 = 1;
/// A record has so many bytes at most (RFC 8446 section 5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// What every connection begins with, whatever its policy.
pub(super) struct Basis {
    /// The suite of a connection's first packets (RFC 9001 section 5.2).
    suite: Suite,
    /// Makes keys and tags that depend on no policy. It has no certificate, so it shakes no hands.
    pub(super) crypto: Arc<QuicServerConfig>,
}

impl Basis {
    /// # Errors
    /// The cryptographic library lacks what QUIC needs.
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let provider = provider();
        let lacks = || rustls::Error::General("no cipher suite for QUIC".to_owned());
        let suites = provider.cipher_suites.iter();
        let mut initial = suites.filter(|of| of.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        let suite = initial.find_map(|of| of.tls13()?.quic_suite()).ok_or_else(lacks)?;
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        let crypto = QuicServerConfig::with_initial(Arc::new(config), suite).map_err(|_| lacks())?;
        Ok(Self { suite, crypto: Arc::new(crypto) })
    }
}

/// Begins sessions between these two ends, by these policies.
pub(super) struct Sessions {
    pub(super) basis: Arc<Basis>,
    pub(super) policies: Arc<ConnectionPolicies>,
    pub(super) ends: Ends,
    /// Takes what the handshake has to wait for, if it has.
    pub(super) asks: Mutex<Option<oneshot::Sender<Wait>>>,
}

impl crypto::ServerConfig for Sessions {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.basis.crypto.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.basis.crypto.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, _: u32, params: &TransportParameters) -> Box<dyn crypto::Session> {
        let mut own_params = Vec::new();
        params.write(&mut own_params);
        let asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::new(Session { sessions: self, asks, at: At::Hello(Vec::new()), own_params, next_secrets: None })
    }
}

/// How far a handshake is.
enum At {
    /// Before the end of the client's hello, with what there is of it.
    Hello(Vec<u8>),
    /// Behind it, until there is a certificate.
    Waiting(Waiting),
    /// It is clear how to go on.
    Chosen(Box<ServerConnection>),
    /// It isn't, and won't be.
    Failed,
}

/// One handshake, and the keys that come of it.
struct Session {
    sessions: Arc<Sessions>,
    asks: Option<oneshot::Sender<Wait>>,
    at: At,
    /// Our transport parameters, encoded.
    own_params: Vec<u8>,
    next_secrets: Option<Secrets>,
}

impl Session {
    fn chosen(&self) -> Option<&ServerConnection> {
        match &self.at {
            At::Chosen(tls) => Some(tls),
            At::Hello(_) | At::Waiting(_) | At::Failed => None,
        }
    }

    /// Goes on behind the client's hello, by the policy that it asks for.
    fn choose(&mut self, bytes: Vec<u8>) -> Result<At, TransportError> {
        let accepted = accept(&bytes)?;
        let hello = accepted.client_hello();
        // Who speaks something else is an authority, maybe, whose questions other rules answer.
        if !hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ALPN)) {
            return Err(alert(AlertDescription::NoApplicationProtocol, "not offered HTTP/3"));
        }
        let refused = |reason| Err(alert(AlertDescription::InternalError, reason));
        match self.sessions.policies.select(&hello, self.sessions.ends) {
            Selected::Ready(config) => self.begin(&config, &bytes).map(At::Chosen),
            Selected::Later(later) => {
                let (wait, waiting) = waiting::pair(bytes, later);
                match self.asks.take().map(|asks| asks.send(wait)) {
                    Some(Ok(())) => Ok(At::Waiting(waiting)),
                    _ => refused("nobody waits for a certificate"),
                }
            }
            Selected::Refused => refused("no TLS connection policy for this client"),
        }
    }

    /// Begins the handshake by this configuration.
    fn begin(&self, config: &ServerConfig, hello: &[u8]) -> Result<Box<ServerConnection>, TransportError> {
        let mut config = config.clone();
        config.alpn_protocols = vec![ALPN.to_vec()];
        // What is sent before the handshake is over could be sent again by others.
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        let tls = ServerConnection::new(Arc::new(config), Version::V1, self.own_params.clone());
        // The policy allows no TLS 1.3, or none of its suites.
        let mut tls = tls.map_err(|error| alert(AlertDescription::ProtocolVersion, &error.to_string()))?;
        read(&mut tls, hello)?;
        Ok(Box::new(tls))
    }

    /// Goes on with what the handshake has waited for, if that is there.
    fn go_on(&mut self) {
        let At::Waiting(waiting) = &mut self.at else { return };
        let Some(config) = waiting.found() else { return };
        let At::Waiting(waiting) = std::mem::replace(&mut self.at, At::Failed) else { return };
        match self.begin(&config, &waiting.hello) {
            Ok(tls) => self.at = At::Chosen(tls),
            Err(_) => waiting.fail(),
        }
    }
}

fn read(tls: &mut ServerConnection, bytes: &[u8]) -> Result<(), TransportError> {
    tls.read_hs(bytes).map_err(|error| match tls.alert() {
        Some(description) => alert(description, &error.to_string()),
        None => TransportError {
            code: TransportErrorCode::PROTOCOL_VIOLATION,
            frame: None,
            reason: format!("TLS: {error}"),
        },
    })
}

/// Has rustls read a hello as it reads one over TCP, where it comes in records.
fn accept(hello: &[u8]) -> Result<Accepted, TransportError> {
    let mut acceptor = Acceptor::default();
    for part in hello.chunks(RECORD_BYTES_MAX) {
        let mut record = vec![HANDSHAKE, 3, 1];
        // Its length fits: a record's is below 2^16.
        record.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        record.extend_from_slice(part);
        let mut rest = &record[..];
        while !rest.is_empty() {
            match acceptor.read_tls(&mut rest) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(alert(AlertDescription::DecodeError, "the hello is not read")),
            }
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, _)) => return Err(alert(AlertDescription::DecodeError, &error.to_string())),
        }
    }
    Err(alert(AlertDescription::DecodeError, "the hello is not whole"))
}

/// The content type of a handshake record (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// The end of a connection by a TLS alert (RFC 9001 section 4.8).
fn alert(alert: AlertDescription, reason: &str) -> TransportError {
    TransportError { code: TransportErrorCode::crypto(alert.into()), frame: None, reason: reason.to_owned() }
}

/// Whether a hello is there as a whole, by its head.
///
/// # Errors
/// It is none, or larger than one may be.
fn is_whole(hello: &[u8]) -> Result<bool, TransportError> {
    let Some(&[kind, high, middle, low]) = hello.first_chunk::<MESSAGE_HEAD_BYTES>() else {
        return Ok(false);
    };
    if kind != CLIENT_HELLO {
        return Err(alert(AlertDescription::UnexpectedMessage, "the first message is no hello"));
    }
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if length > HELLO_BYTES_MAX {
        return Err(alert(AlertDescription::DecodeError, "the hello is too large"));
    }
    Ok(hello.len() >= MESSAGE_HEAD_BYTES + length)
}

fn keys(keys: rustls::quic::Keys) -> Keys {
    Keys {
        header: KeyPair { local: Box::new(keys.local.header), remote: Box::new(keys.remote.header) },
        packet: KeyPair { local: Box::new(keys.local.packet), remote: Box::new(keys.remote.packet) },
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        keys(self.sessions.basis.suite.keys(dst_cid, side.into(), Version::V1))
    }

    /// A [`crate::http::conn_info::TlsInfo`]. It is complete once the handshake is.
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let tls = self.chosen()?;
        Some(Box::new(tls_info(tls, tls.server_name())))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    /// There is none: see [`Session::choose`].
    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.chosen().is_none_or(|tls| tls.is_handshaking())
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        match &mut self.at {
            At::Hello(hello) => {
                hello.extend_from_slice(bytes);
                if !is_whole(hello)? {
                    return Ok(false);
                }
                let hello = std::mem::take(hello);
                self.at = self.choose(hello)?;
                Ok(self.chosen().is_some())
            }
            // It has had no answer yet.
            At::Waiting(_) | At::Failed => {
                Err(alert(AlertDescription::UnexpectedMessage, "more than the hello"))
            }
            At::Chosen(tls) => read(tls, bytes).map(|()| false),
        }
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(encoded) = self.chosen().and_then(|tls| tls.quic_transport_parameters()) else {
            return Ok(None);
        };
        Ok(Some(TransportParameters::read(Side::Server, &mut Cursor::new(encoded))?))
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.go_on();
        let At::Chosen(tls) = &mut self.at else { return None };
        Some(keys(match tls.write_hs(buf)? {
            KeyChange::Handshake { keys } => keys,
            KeyChange::OneRtt { keys, next } => {
                self.next_secrets = Some(next);
                keys
            }
        }))
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.next_secrets.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    /// Only clients are sent any.
    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        false
    }

    /// Nobody here asks for any.
    fn export_keying_material(
        &self,
        _: &mut [u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}
