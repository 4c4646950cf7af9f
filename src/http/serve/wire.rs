//! What a connection, the requests on it and the worker's clock tell each other.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use slab::Slab;

use super::streams::StreamClock;
use crate::http::{ConnInfo, clock};

/// State that belongs to a connection but is needed by its requests and its worker too.
///
/// All of it lives on one worker thread; atomics merely make it `Sync`, and relaxed ones cost what a
/// plain field costs.
#[derive(Debug, Default)]
pub struct Wire {
    /// Requests that are being answered; with HTTP/2 there may be several.
    in_flight: AtomicU32,
    /// How long, in seconds, the connection may be without a request; 0 for ever.
    idle_seconds: AtomicU32,
    /// Requests come beside each other (HTTP/2, HTTP/3).
    multiplexed: AtomicBool,
    /// The second (see [`seconds`]) at which waiting to read, or to write, ends; 0 for never.
    read_deadline: AtomicU32,
    write_deadline: AtomicU32,
    /// The same for a request as a whole, and for an answer as a whole.
    request_deadline: AtomicU32,
    answer_deadline: AtomicU32,
    overdue: AtomicBool,
    read_expired: AtomicBool,
    write_expired: AtomicBool,
    draining: AtomicBool,
    has_interim: AtomicBool,
    interim: Mutex<Vec<u8>>,
    waker: AtomicWaker,
}

/// An interim answer that is not on its way yet may be this long, together with others.
const INTERIM_BYTES_MAX: usize = 16 * 1024;

impl Wire {
    /// Counts a request in.
    pub(super) fn begin(&self) {
        self.in_flight.store(self.in_flight.load(Relaxed) + 1, Relaxed);
        if self.multiplexed.load(Relaxed) {
            self.limit_read(None);
        }
    }

    /// The present answer has been sent, or given up.
    pub(super) fn end(&self) {
        let left = self.in_flight.load(Relaxed).saturating_sub(1);
        self.in_flight.store(left, Relaxed);
        self.answer_deadline.store(0, Relaxed);
        let idle = self.idle_seconds.load(Relaxed);
        if left == 0 && idle != 0 {
            self.limit_read(Some(Duration::from_secs(idle.into())));
        }
    }

    /// After an answer the connection may be without a request for `limit` only.
    pub(super) fn limit_idle(&self, limit: Option<Duration>) {
        let seconds = limit.map_or(0, |limit| u32::try_from(limit.as_secs()).unwrap_or(u32::MAX).max(1));
        self.idle_seconds.store(seconds, Relaxed);
    }

    /// This is HTTP/2 or HTTP/3, where requests come beside each other. Being without one counts from now
    /// on.
    pub(super) fn multiplex(&self) {
        self.multiplexed.store(true, Relaxed);
        let idle = self.idle_seconds.load(Relaxed);
        self.limit_read((idle != 0).then(|| Duration::from_secs(idle.into())));
    }

    /// Whether no request is being answered.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.load(Relaxed) == 0
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

    /// The interim answers that have not been sent.
    pub(super) fn take_interim(&self) -> Option<Vec<u8>> {
        if !self.has_interim.load(Relaxed) {
            return None;
        }
        self.has_interim.store(false, Relaxed);
        Some(std::mem::take(&mut *self.interim.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Waiting to read ends after `limit`; with none it never ends.
    pub(super) fn limit_read(&self, limit: Option<Duration>) {
        self.read_expired.store(false, Relaxed);
        self.read_deadline.store(limit.map_or(0, after), Relaxed);
    }

    /// The same for writing; a deadline that already runs is kept.
    pub(super) fn limit_write(&self, limit: Option<Duration>) {
        if self.write_deadline.load(Relaxed) == 0 {
            self.write_deadline.store(limit.map_or(0, after), Relaxed);
        }
    }

    /// Something could be written after all.
    pub(super) fn wrote(&self) {
        self.write_deadline.store(0, Relaxed);
        self.write_expired.store(false, Relaxed);
    }

    /// Whether reading has waited too long, since the last look.
    pub(super) fn take_read_expired(&self) -> bool {
        self.read_expired.load(Relaxed) && self.read_expired.swap(false, Relaxed)
    }

    /// Whether writing has waited too long, since the last look.
    pub(super) fn take_write_expired(&self) -> bool {
        self.write_expired.load(Relaxed) && self.write_expired.swap(false, Relaxed)
    }

    /// The present request must have come as a whole within `limit`.
    pub(super) fn limit_request(&self, limit: Option<Duration>) {
        self.request_deadline.store(limit.map_or(0, after), Relaxed);
    }

    /// The present answer must have gone as a whole within `limit`.
    pub(super) fn limit_answer(&self, limit: Option<Duration>) {
        self.answer_deadline.store(limit.map_or(0, after), Relaxed);
    }

    /// Whether a request or an answer has taken too long as a whole.
    pub(super) fn is_overdue(&self) -> bool {
        self.overdue.load(Relaxed)
    }

    /// Something could be read after all.
    pub(super) fn read(&self) {
        self.read_deadline.store(0, Relaxed);
        self.read_expired.store(false, Relaxed);
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
        if passed(&self.request_deadline) || passed(&self.answer_deadline) {
            self.overdue.store(true, Relaxed);
            self.waker.wake();
        }
        if passed(&self.read_deadline) {
            self.read_expired.store(true, Relaxed);
            self.waker.wake();
        }
        if passed(&self.write_deadline) {
            self.write_expired.store(true, Relaxed);
            self.waker.wake();
        }
    }
}

/// Seconds since some moment, plus one so that 0 can mean never.
pub(super) fn seconds() -> u32 {
    u32::try_from(clock::now().as_secs()).unwrap_or(u32::MAX - 1).saturating_add(1)
}

pub(super) fn after(limit: Duration) -> u32 {
    // Rounded up: a deadline may be late by a second, never early.
    let limit = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX / 2);
    seconds().saturating_add(limit)
}

thread_local! {
    /// The worker's connections, each with the number of its listening address.
    static CONNECTIONS: RefCell<Slab<(u64, Arc<ConnInfo>)>> = const { RefCell::new(Slab::new()) };
}

/// A connection's place in its worker's list, for as long as it lives.
pub(super) struct Registered(usize);

impl Registered {
    /// Puts a connection on the list.
    pub(super) fn new(conn: Arc<ConnInfo>, slot: u64) -> Self {
        Self(CONNECTIONS.with_borrow_mut(|connections| connections.insert((slot, conn))))
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

thread_local! {
    /// The clocks of the worker's HTTP/2 streams.
    static CLOCKS: RefCell<Slab<Arc<StreamClock>>> = const { RefCell::new(Slab::new()) };
}

/// A clock's place among those that are looked at every second, for as long as its stream lives.
pub(super) struct ClockPlace {
    clock: Arc<StreamClock>,
    key: usize,
}

impl ClockPlace {
    /// Puts a clock there.
    pub(super) fn new(clock: Arc<StreamClock>) -> Self {
        let key = CLOCKS.with_borrow_mut(|clocks| clocks.insert(clock.clone()));
        Self { clock, key }
    }

    pub(super) fn clock(&self) -> &StreamClock {
        &self.clock
    }
}

impl Drop for ClockPlace {
    fn drop(&mut self) {
        // At the end of the thread the list may be gone already.
        let _ = CLOCKS.try_with(|clocks| {
            if let Ok(mut clocks) = clocks.try_borrow_mut() {
                clocks.try_remove(self.key);
            }
        });
    }
}

/// How many connections this worker has.
pub(super) fn connections() -> usize {
    CONNECTIONS.with_borrow(Slab::len)
}

/// Looks at the deadlines of this worker's connections; to be called every second.
pub(super) fn sweep() {
    let now = seconds();
    CONNECTIONS.with_borrow(|connections| {
        for (_, (_, conn)) in connections {
            conn.wire.check_deadlines(now);
        }
    });
    CLOCKS.with_borrow(|clocks| clocks.iter().for_each(|(_, clock)| clock.check(now)));
}

/// Ends this worker's connections after their present answers; only those of one listening address
/// if it is given.
pub(super) fn drain(slot: Option<u64>) {
    CONNECTIONS.with_borrow(|connections| {
        for (_, (of, conn)) in connections {
            if slot.is_none_or(|slot| slot == *of) {
                conn.wire.drain();
            }
        }
    });
}
