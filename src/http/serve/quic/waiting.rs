//! Handshakes that wait for a certificate, as those over TCP do.
//!
//! QUIC's library asks a session what there is to send when a packet of the client's has come, and can't
//! be told to ask in between. So a session that waits has its packets acknowledged and says nothing, and
//! goes on when its client next asks whether it is heard (RFC 9002 section 6.2.2.1). Clients ask at
//! distances that double, so it comes to at most as long again.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{Connecting, Connection, ConnectionError};
use rustls::ServerConfig;
use tokio::sync::oneshot;

use super::{Counted, HANDSHAKE_TIMEOUT};
use crate::tls::on_demand::Answer;

/// So many wait on a worker; further ones are refused, and their clients come over TCP.
const WAITING_MAX: usize = 256;

thread_local! {
    static WAITING: Cell<usize> = const { Cell::new(0) };
}

/// How many wait on this worker.
pub(super) fn count() -> usize {
    WAITING.get()
}

/// What a handshake waits for, and how to tell its session.
pub(super) struct Wait {
    later: Answer<'static, Option<Arc<ServerConfig>>>,
    found: oneshot::Sender<Arc<ServerConfig>>,
    failed: oneshot::Receiver<()>,
}

/// The session's side of it.
pub(super) struct Waiting {
    /// What the client has said so far.
    pub(super) hello: Vec<u8>,
    found: oneshot::Receiver<Arc<ServerConfig>>,
    failed: oneshot::Sender<()>,
}

/// The two sides of a handshake that waits with this hello.
pub(super) fn pair(hello: Vec<u8>, later: Answer<'static, Option<Arc<ServerConfig>>>) -> (Wait, Waiting) {
    let (found, awaited) = oneshot::channel();
    let (failed, failure) = oneshot::channel();
    (Wait { later, found, failed: failure }, Waiting { hello, found: awaited, failed })
}

impl Waiting {
    /// What it waits for, once it is there.
    pub(super) fn found(&mut self) -> Option<Arc<ServerConfig>> {
        self.found.try_recv().ok()
    }

    /// It is of no use to this client. The session has no other way to say so when it isn't reading.
    pub(super) fn fail(self) {
        let _ = self.failed.send(());
    }
}

/// Why a handshake that has waited failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WaitError {
    /// Too many wait.
    #[error("too many handshakes wait for a certificate")]
    Full,
    /// There is none to be had.
    #[error("no certificate for this client")]
    None,
    /// The client doesn't go on.
    #[error("the client took too long")]
    Late,
    /// It has left, or failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// Waits for what a handshake needs, and then for its end.
pub(super) async fn until_connected(
    mut connecting: Pin<&mut Connecting>,
    wait: Wait,
) -> Result<Connection, WaitError> {
    if count() >= WAITING_MAX {
        return Err(WaitError::Full);
    }
    let _waits = Counted::begin(&WAITING);
    let begin = Instant::now();
    let Wait { later, found, failed } = wait;
    let config = tokio::select! {
        biased;
        // It can't be complete: so the client is gone.
        connected = connecting.as_mut() => return Ok(connected?),
        config = later => config.ok_or(WaitError::None)?,
    };
    let _ = found.send(config);
    // The client may ask as late as this.
    let limit: Duration = HANDSHAKE_TIMEOUT + begin.elapsed();
    let connected = async {
        tokio::select! {
            biased;
            connected = connecting.as_mut() => Ok(connected?),
            Ok(()) = failed => Err(WaitError::None),
        }
    };
    tokio::time::timeout(limit, connected).await.unwrap_or(Err(WaitError::Late))
}
