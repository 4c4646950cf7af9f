//! HTTP/3 (RFC 9114): one connection, its streams, and how it ends.
//!
//! The framing is ours. What a client can make us keep is a head, trailers or a control frame that is
//! not whole yet, each with a bound, and what QUIC's windows let in.

mod body;
mod budget;
mod code;
mod control;
mod frames;
#[cfg(any(test, fuzzing))]
pub mod laws;
mod message;
mod qpack;
mod reader;
mod stream;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;

use self::budget::Budget;
use self::code::Code;
use super::limits::WireLimits;
use super::listener::Slot;
use super::streams::{self, StreamClock};
use super::wire::{self, Registered};
use super::{has_sound_escapes, is_authority};
use crate::http::ConnInfo;

/// The protocol's name in TLS (RFC 9114 section 3.1).
pub(super) const ALPN: &[u8] = b"h3";

/// Streams of the client's are numbered in steps of so many (RFC 9000 section 2.1).
const STREAM_STEP: u64 = 4;
/// A client must have left room on our control stream within this time.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);
/// A client that was told to go has this long to learn of it before its connection closes: some round
/// trips, within bounds.
const GOODBYE_ROUND_TRIPS: u32 = 3;
const GOODBYE_MIN: Duration = Duration::from_millis(10);
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// What the streams of a connection share.
struct Shared {
    connection: quinn::Connection,
    conn: Arc<ConnInfo>,
    slot: Arc<Slot>,
    limits: Arc<WireLimits>,
    /// Streams with requests that are not over yet.
    active: AtomicUsize,
    /// What the client has said beside its requests.
    said: control::Said,
    /// Requests that it may make for nothing.
    budget: Budget,
    /// Woken when the last stream is over.
    waker: AtomicWaker,
}

impl Shared {
    /// Counts a request that the client made for nothing, and ends the connection if there are too many.
    fn waste(&self) {
        if !self.budget.spend(wire::seconds()) {
            tracing::debug!("an HTTP/3 client takes back its requests, or malforms them, too often");
            self.connection.close(Code::ExcessiveLoad.into(), b"too many requests for nothing");
        }
    }

    fn is_idle(&self) -> bool {
        self.active.load(Relaxed) == 0
    }
}

/// Counts a request, as long as it lives.
struct Active(Arc<Shared>);

impl Active {
    fn new(shared: Arc<Shared>) -> Self {
        shared.active.store(shared.active.load(Relaxed) + 1, Relaxed);
        Self(shared)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let left = self.0.active.load(Relaxed).saturating_sub(1);
        self.0.active.store(left, Relaxed);
        if left == 0 {
            self.0.waker.wake();
        }
    }
}

/// What happens on a connection.
enum Event {
    Request(quinn::SendStream, quinn::RecvStream),
    Control(quinn::RecvStream),
    /// No further requests are to be served.
    Drain,
    /// None are under way any more.
    Idle,
    Closed,
}

/// Serves a connection to its end.
pub(super) async fn serve(connection: quinn::Connection, conn: ConnInfo, slot: Arc<Slot>) {
    let conn = Arc::new(conn);
    let limits = slot.bound().limits.clone();
    conn.wire.limit_idle(limits.idle_timeout);
    conn.wire.multiplex();
    let registered = Registered::new(conn.clone(), slot.id());
    if slot.is_closed() {
        conn.wire.drain();
    }
    let shared = Arc::new(Shared {
        connection,
        conn,
        slot,
        limits,
        active: AtomicUsize::new(0),
        said: control::Said::default(),
        budget: Budget::default(),
        waker: AtomicWaker::new(),
    });
    if let Err(error) = run(&shared).await {
        tracing::trace!(%error, "connection ended");
    }
    shared.connection.close(Code::NoError.into(), b"");
    drop(registered);
}

async fn run(shared: &Arc<Shared>) -> Result<(), ControlError> {
    let mut control = in_time(control::open(&shared.connection, shared.limits.head_bytes_max)).await?;
    let mut next_stream = 0;
    let mut is_draining = false;
    loop {
        match next(shared, is_draining).await {
            Event::Request(send, recv) if is_draining || shared.has_moved() => {
                reject(send, recv);
                if !is_draining {
                    shared.conn.wire.drain();
                }
            }
            Event::Request(send, recv) => {
                next_stream = u64::from(quinn::VarInt::from(send.id())) + STREAM_STEP;
                let active = Active::new(shared.clone());
                let clock = StreamClock::new(shared.limits.clone());
                let serving = stream::serve(shared.clone(), send, recv, clock.clone());
                streams::spawn(clock, async move {
                    serving.await;
                    drop(active);
                });
            }
            Event::Control(recv) => {
                let shared = shared.clone();
                tokio::spawn(async move { control::read(&shared, recv).await });
            }
            Event::Drain => {
                is_draining = true;
                in_time(control::go_away(&mut control, next_stream)).await?;
            }
            Event::Idle => {
                say_goodbye(shared).await;
                return Ok(());
            }
            Event::Closed => return Ok(()),
        }
    }
}

/// Waits for what happens next.
async fn next(shared: &Shared, is_draining: bool) -> Event {
    let wire = &shared.conn.wire;
    let ending = poll_fn(|cx| {
        wire.register(cx.waker());
        shared.waker.register(cx.waker());
        let has_idled = wire.take_read_expired() && wire.is_idle();
        match is_draining {
            true if shared.is_idle() => Poll::Ready(Event::Idle),
            false if wire.is_draining() || has_idled => Poll::Ready(Event::Drain),
            _ => Poll::Pending,
        }
    });
    tokio::select! {
        biased;
        event = ending => event,
        stream = shared.connection.accept_bi() => match stream {
            Ok((send, recv)) => Event::Request(send, recv),
            Err(_) => Event::Closed,
        },
        stream = shared.connection.accept_uni() => match stream {
            Ok(recv) => Event::Control(recv),
            Err(_) => Event::Closed,
        },
    }
}

/// Nothing was done about a request, so the client may ask again elsewhere.
fn reject(mut send: quinn::SendStream, mut recv: quinn::RecvStream) {
    let _ = send.reset(Code::RequestRejected.into());
    let _ = recv.stop(Code::RequestRejected.into());
}

/// Lets the client learn that it is to go; closing at once would take the word back.
async fn say_goodbye(shared: &Shared) {
    let wait = (shared.connection.rtt() * GOODBYE_ROUND_TRIPS).clamp(GOODBYE_MIN, GOODBYE_MAX);
    let leaving = async {
        while let Ok((send, recv)) = shared.connection.accept_bi().await {
            reject(send, recv);
        }
    };
    let _ = tokio::time::timeout(wait, leaving).await;
}

/// Why nothing can be said on our control stream.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error(transparent)]
    Write(#[from] quinn::WriteError),
    #[error("the client leaves no room for a control stream")]
    NoRoom,
}

/// Says something on our control stream, for which a client has to leave room (RFC 9114 section 6.2).
async fn in_time<T>(saying: impl Future<Output = Result<T, quinn::WriteError>>) -> Result<T, ControlError> {
    Ok(tokio::time::timeout(CONTROL_TIMEOUT, saying).await.map_err(|_| ControlError::NoRoom)??)
}

impl Shared {
    /// Whether the client's address is another than the one that its handshake came from. Rules about
    /// addresses, and logs, go by that one; so its further requests have to come by a new connection.
    fn has_moved(&self) -> bool {
        let ip = self.connection.remote_address().ip().to_canonical();
        self.conn.peer.is_some_and(|peer| peer.ip() != ip)
    }
}
