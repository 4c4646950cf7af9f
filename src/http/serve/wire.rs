//! What a connection's guard, the requests on it and the worker's clock tell each other.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use slab::Slab;

use super::head::Refusal;
use crate::http::ConnInfo;

/// State that belongs to a connection but is needed on both sides of hyper.
///
/// All of it lives on one worker thread; atomics merely make it `Sync`, and relaxed ones cost what a
/// plain field costs.
#[derive(Debug, Default)]
pub struct Wire {
    /// The number of the request that is refused, counted from 1.
    refused_at: AtomicU32,
    refusal: AtomicU8,
    /// Requests that were answered or are being answered.
    requests: AtomicU32,
    /// A request is being answered.
    in_flight: AtomicBool,
    /// The second (see [`seconds`]) at which waiting to read, or to write, ends; 0 for never.
    read_deadline: AtomicU32,
    write_deadline: AtomicU32,
    expired: AtomicBool,
    draining: AtomicBool,
    /// The connection has left HTTP behind.
    tunnel: AtomicBool,
    has_interim: AtomicBool,
    interim: Mutex<Vec<u8>>,
    waker: AtomicWaker,
}

/// An interim answer that is not on its way yet may be this long, together with others.
const INTERIM_BYTES_MAX: usize = 16 * 1024;

impl Wire {
    /// Counts a request in; returns why it is refused, if it is.
    pub(super) fn begin(&self) -> Option<Refusal> {
        let number = self.requests.load(Relaxed).wrapping_add(1);
        self.requests.store(number, Relaxed);
        self.in_flight.store(true, Relaxed);
        if self.refused_at.load(Relaxed) != number {
            return None;
        }
        Refusal::from_number(self.refusal.load(Relaxed))
    }

    /// The present answer has been sent, or given up.
    pub(super) fn end(&self) {
        self.in_flight.store(false, Relaxed);
    }

    /// Request `number` will be refused.
    pub(super) fn refuse(&self, number: u32, refusal: Refusal) {
        self.refused_at.store(number, Relaxed);
        self.refusal.store(refusal as u8, Relaxed);
    }

    /// Whether no request is being answered.
    pub(super) fn is_idle(&self) -> bool {
        !self.in_flight.load(Relaxed)
    }

    /// From now on the bytes are not HTTP any more.
    pub(crate) fn begin_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }

    /// Queues the head of an interim answer, to be sent before the real one. It is left out where
    /// it can't be sent in time, as RFC 9110 section 15.2 allows.
    pub(crate) fn push_interim(&self, head: &[u8]) {
        let mut interim = self.interim.lock().unwrap_or_else(PoisonError::into_inner);
        if interim.len() + head.len() <= INTERIM_BYTES_MAX {
            interim.extend_from_slice(head);
            self.has_interim.store(true, Relaxed);
        }
    }

    pub(super) fn take_interim(&self) -> Option<Vec<u8>> {
        if !self.has_interim.load(Relaxed) {
            return None;
        }
        self.has_interim.store(false, Relaxed);
        Some(std::mem::take(&mut *self.interim.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Waiting to read ends after `limit`; with none it never ends.
    pub(super) fn limit_read(&self, limit: Option<Duration>) {
        self.read_deadline.store(limit.map_or(0, after), Relaxed);
    }

    /// The same for writing; a deadline that already runs is kept.
    pub(super) fn limit_write(&self, limit: Option<Duration>) {
        if self.write_deadline.load(Relaxed) == 0 {
            self.write_deadline.store(limit.map_or(0, after), Relaxed);
        }
    }

    pub(super) fn wrote(&self) {
        self.write_deadline.store(0, Relaxed);
    }

    /// Whether a deadline has passed since the last look.
    pub(super) fn take_expired(&self) -> bool {
        self.expired.load(Relaxed) && self.expired.swap(false, Relaxed)
    }

    /// Whether the connection is to end after the present answer.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Ends the connection after the present answer.
    pub(super) fn drain(&self) {
        self.draining.store(true, Relaxed);
        self.waker.wake();
    }

    /// Whom to wake when a deadline passes or the connection is to drain.
    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    fn check_deadlines(&self, now: u32) {
        let passed = |deadline: &AtomicU32| {
            let deadline = deadline.load(Relaxed);
            deadline != 0 && deadline < now
        };
        if passed(&self.read_deadline) || passed(&self.write_deadline) {
            self.expired.store(true, Relaxed);
            self.waker.wake();
        }
    }
}

/// Seconds since the process first asked, plus one so that 0 can mean never.
fn seconds() -> u32 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed().as_secs();
    u32::try_from(elapsed).unwrap_or(u32::MAX - 1).saturating_add(1)
}

fn after(limit: Duration) -> u32 {
    // Rounded up: a deadline may be late by a second, never early.
    let limit = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX / 2);
    seconds().saturating_add(limit)
}

thread_local! {
    /// The worker's connections.
    static CONNECTIONS: RefCell<Slab<Arc<ConnInfo>>> = const { RefCell::new(Slab::new()) };
}

/// A connection's place in its worker's list, for as long as it lives.
pub(super) struct Registered(usize);

impl Registered {
    /// Puts a connection on the list.
    pub(super) fn new(conn: Arc<ConnInfo>) -> Self {
        Self(CONNECTIONS.with_borrow_mut(|connections| connections.insert(conn)))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // At the end of the thread the list may be gone already.
        let _ = CONNECTIONS.try_with(|connections| {
            if let Ok(mut connections) = connections.try_borrow_mut() {
                connections.try_remove(self.0);
            }
        });
    }
}

/// Looks at the deadlines of this worker's connections; to be called every second.
pub(super) fn sweep() {
    let now = seconds();
    CONNECTIONS.with_borrow(|connections| {
        for (_, conn) in connections {
            conn.wire.check_deadlines(now);
        }
    });
}

/// Calls `visit` with each of this worker's connections.
pub(super) fn for_each(mut visit: impl FnMut(&ConnInfo)) {
    CONNECTIONS.with_borrow(|connections| {
        for (_, conn) in connections {
            visit(conn);
        }
    });
}
