//! QUIC (RFC 9000): the endpoint of a worker at an address, and who is let in there.

mod session;
mod sockets;
mod waiting;

use std::cell::Cell;
use std::net::UdpSocket;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::thread::LocalKey;
use std::time::Duration;

use quinn::{
    Connection, Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use tokio::sync::oneshot;

use self::session::{Basis, Sessions};
use self::sockets::{Datagrams, WorkerIds};
use self::waiting::Wait;
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
/// So are all if more than so many wait for a certificate on the worker.
const UNPROVEN_WAITING_MAX: usize = 16;
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

/// Counts a handshake among others of this worker, as long as it lives.
struct Counted(&'static LocalKey<Cell<usize>>);

impl Counted {
    fn begin(among: &'static LocalKey<Cell<usize>>) -> Self {
        among.set(among.get() + 1);
        Self(among)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // At the end of the thread the count may be gone already.
        let _ = self.0.try_with(|count| count.set(count.get().saturating_sub(1)));
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
        let are_many = shaking >= UNPROVEN_HANDSHAKES_MAX || waiting::count() >= UNPROVEN_WAITING_MAX;
        if are_many && !incoming.remote_address_validated() {
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
        let (asks, asked) = oneshot::channel();
        let basis = self.basis.clone();
        config.crypto = Arc::new(Sessions { basis, policies, ends, asks: Mutex::new(Some(asks)) });
        let shaking = Counted::begin(&HANDSHAKES);
        let slot = self.slot.clone();
        tokio::spawn(async move {
            match shake_hands(incoming, Arc::new(config), asked, shaking).await {
                Ok(connection) => serve_connection(connection, ends, slot).await,
                Err(error) => tracing::debug!(%error, "QUIC handshake failed"),
            }
        });
    }
}

/// Why a client did not get in.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error("it took too long")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error(transparent)]
    Wait(#[from] waiting::WaitError),
}

/// Shakes hands with a client. Only one that has done its part, and shown its certificate if it must,
/// gets in.
async fn shake_hands(
    incoming: Incoming,
    config: Arc<ServerConfig>,
    asked: oneshot::Receiver<Wait>,
    shaking: Counted,
) -> Result<Connection, HandshakeError> {
    let mut connecting = pin!(incoming.accept_with(config)?);
    let step = tokio::time::timeout(HANDSHAKE_TIMEOUT, async {
        tokio::select! {
            biased;
            connected = connecting.as_mut() => Step::Connected(connected),
            Ok(wait) = asked => Step::Waits(wait),
        }
    });
    match step.await? {
        Step::Connected(connected) => Ok(connected?),
        Step::Waits(wait) => {
            drop(shaking);
            Ok(Box::pin(waiting::until_connected(connecting, wait)).await?)
        }
    }
}

/// How far a handshake has come.
enum Step {
    Connected(Result<Connection, quinn::ConnectionError>),
    Waits(Wait),
}

/// Serves a connection to its end.
async fn serve_connection(connection: Connection, ends: Ends, slot: Arc<Slot>) {
    let info = connection.handshake_data().and_then(|data| data.downcast::<TlsInfo>().ok());
    let Some(info) = info.filter(|info| info.alpn.as_deref() == Some(h3::ALPN)) else { return };
    let conn = ConnInfo::new(ends.peer, ends.local, Some(Arc::from(info)));
    h3::serve(connection, conn, slot).await;
}
