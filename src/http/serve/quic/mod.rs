//! QUIC (RFC 9000): the endpoint of a worker at an address, and who is let in there.

mod session;
mod sockets;

use std::cell::Cell;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt};

use self::session::{Basis, Sessions};
use self::sockets::{Datagrams, WorkerIds};
use super::conn::HANDSHAKE_TIMEOUT;
use super::h3;
use super::listener::Slot;
use super::worker::{ACCEPTS_IN_A_ROW, Stop, unmapped};
use crate::http::ConnInfo;
use crate::http::conn_info::TlsInfo;
use crate::tls::Ends;

pub(super) use self::sockets::listen;

/// The one version that is spoken (RFC 9000).
const VERSION: u32 = 1;
/// So many requests may be under way on a connection, as in Go with HTTP/2.
pub(super) const REQUESTS_MAX: u32 = 250;
/// So many streams of the client's other than requests; it needs three.
const CONTROL_STREAMS_MAX: u32 = 8;
/// A client may send so much of a body before some of it is taken, on a stream and on all, in bytes.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// So much of all answers on a connection may be on its way, or wait for that, in bytes. More than with
/// TCP, where the kernel keeps what was sent until it has arrived.
const SEND_WINDOW_BYTES: u64 = 1024 * 1024;
/// A client is asked so often whether it is still there, as with TCP, and is gone when nothing has come
/// from it for longer.
const ASK_INTERVAL: Duration = Duration::from_secs(15);
const SILENCE_MAX: VarInt = VarInt::from_u32(60_000);
/// So many handshakes may be under way on a worker, with clients that have shown that their address is
/// theirs; and so many with others, who are asked for that first (RFC 9000 section 8.1) when there are more.
const HANDSHAKES_MAX: usize = 1024;
const UNPROVEN_HANDSHAKES_MAX: usize = 128;
/// So many connections a worker has at an address.
const CONNECTIONS_MAX: usize = 16 * 1024;
/// So many beginnings may wait to be looked at, with so much data each and together, in bytes.
const WAITING_MAX: usize = 1024;
const WAITING_BYTES: u64 = 16 * 1024;
const WAITING_BYTES_TOTAL: u64 = 4 * 1024 * 1024;

thread_local! {
    /// Handshakes that are under way on this worker.
    static HANDSHAKES: Cell<usize> = const { Cell::new(0) };
}

/// Counts a handshake, as long as it lives.
struct Shaking;

impl Shaking {
    fn begin() -> Self {
        HANDSHAKES.set(HANDSHAKES.get() + 1);
        Self
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        // At the end of the thread the count may be gone already.
        let _ = HANDSHAKES.try_with(|count| count.set(count.get().saturating_sub(1)));
    }
}

/// A worker's socket, and its place among those of all workers.
pub(super) struct Socket {
    pub(super) socket: UdpSocket,
    pub(super) worker: u8,
    pub(super) workers: usize,
}

/// What a socket can't be made an endpoint for.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndpointError {
    /// The system's doing.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The cryptographic library's.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// What connections at an endpoint are accepted with.
struct Door {
    endpoint: Endpoint,
    basis: Arc<Basis>,
    config: ServerConfig,
    slot: Arc<Slot>,
}

/// Serves connections that come to this socket, until it is told to stop; those that there are then
/// keep the socket.
///
/// # Errors
/// There is no endpoint to be had.
pub(super) fn serve(socket: Socket, slot: Arc<Slot>, stop: Stop) -> Result<(), EndpointError> {
    let basis = Arc::new(Basis::new()?);
    let mut config = ServerConfig::with_crypto(basis.crypto.clone());
    config
        .transport_config(Arc::new(transport()))
        .max_incoming(WAITING_MAX)
        .incoming_buffer_size(WAITING_BYTES)
        .incoming_buffer_size_total(WAITING_BYTES_TOTAL);
    let (worker, workers) = (socket.worker, socket.workers);
    let mut endpoint = EndpointConfig::default();
    endpoint.supported_versions(vec![VERSION]).cid_generator(move || Box::new(WorkerIds { worker, workers }));
    let socket = Arc::new(Datagrams::new(socket.socket)?);
    let endpoint =
        Endpoint::new_with_abstract_socket(endpoint, Some(config.clone()), socket, Arc::new(TokioRuntime))?;
    tokio::spawn(Door { endpoint, basis, config, slot }.accept(stop));
    Ok(())
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(REQUESTS_MAX.into())
        .max_concurrent_uni_streams(CONTROL_STREAMS_MAX.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(SEND_WINDOW_BYTES)
        .max_idle_timeout(Some(SILENCE_MAX.into()))
        .keep_alive_interval(Some(ASK_INTERVAL))
        .datagram_receive_buffer_size(None);
    transport
}

impl Door {
    async fn accept(self, mut stop: Stop) {
        for accepted_in_a_row in 1_u32.. {
            if accepted_in_a_row.is_multiple_of(ACCEPTS_IN_A_ROW) {
                // A flood of connections must not keep those that stand from being served.
                tokio::task::yield_now().await;
            }
            let incoming = tokio::select! {
                biased;
                incoming = self.endpoint.accept() => incoming,
                _ = &mut stop => None,
            };
            let Some(incoming) = incoming else { break };
            self.look_at(incoming);
        }
        self.endpoint.set_server_config(None);
    }

    /// Lets a client in, or doesn't.
    fn look_at(&self, incoming: Incoming) {
        let shaking = HANDSHAKES.get();
        if shaking >= HANDSHAKES_MAX || self.endpoint.open_connections() >= CONNECTIONS_MAX {
            return incoming.refuse();
        }
        if shaking >= UNPROVEN_HANDSHAKES_MAX && !incoming.remote_address_validated() {
            // It may, if its address is not validated.
            let _ = incoming.retry();
            return;
        }
        let bound = self.slot.bound();
        let Some(policies) = bound.tls.clone() else { return incoming.refuse() };
        let peer = unmapped(incoming.remote_address());
        let ip = incoming.local_ip().map(|ip| ip.to_canonical());
        let local = self.slot.local().map(|place| match ip {
            Some(ip) => (ip, place.port()).into(),
            None => unmapped(place),
        });
        let ends = Ends { local, peer: Some(peer) };
        let mut config = self.config.clone();
        config.crypto = Arc::new(Sessions { basis: self.basis.clone(), policies, ends });
        let shaking = Shaking::begin();
        tokio::spawn(shake_hands(incoming, Arc::new(config), ends, self.slot.clone(), shaking));
    }
}

/// Shakes hands with a client, and serves its connection to its end.
async fn shake_hands(
    incoming: Incoming,
    config: Arc<ServerConfig>,
    ends: Ends,
    slot: Arc<Slot>,
    shaking: Shaking,
) {
    let connecting = match incoming.accept_with(config) {
        Ok(connecting) => connecting,
        Err(error) => return tracing::debug!(%error, "QUIC handshake failed"),
    };
    // Only a client that has done its part, and shown its certificate if it must, gets here.
    let connection = match tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%error, "QUIC handshake failed"),
        Err(_) => return tracing::debug!("QUIC handshake took too long"),
    };
    drop(shaking);
    let info = connection.handshake_data().and_then(|data| data.downcast::<TlsInfo>().ok());
    let Some(info) = info.filter(|info| info.alpn.as_deref() == Some(h3::ALPN)) else { return };
    let conn = ConnInfo::new(ends.peer, ends.local, Some(Arc::from(info)));
    h3::serve(connection, conn, slot).await;
}
