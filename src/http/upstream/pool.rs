//! Idle connections to upstreams. Each worker thread has its own, so nothing is locked and no
//! thread wakes another.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::dial::Dial;
use super::h1::H1;

/// Which connections are alike: the same transport to the same place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    pub(super) transport: u64,
    pub(super) dial: Dial,
    /// The client that the connection was opened for, if the upstream was told of it.
    pub(super) client: Option<IpAddr>,
}

struct Idle {
    conn: Box<H1>,
    expires: Instant,
}

thread_local! {
    // Every request looks here twice, and SipHash costs more than the rest of a look.
    static POOL: RefCell<HashMap<PoolKey, Vec<Idle>, RandomState>> = RefCell::default();
}

/// Takes the connection that was used last, unless the upstream has closed it or sent something
/// unasked meanwhile.
pub(super) fn take(key: &PoolKey) -> Option<Box<H1>> {
    POOL.with_borrow_mut(|pool| {
        let idle = pool.get_mut(key)?;
        while let Some(Idle { mut conn, expires }) = idle.pop() {
            if expires > Instant::now() && conn.is_quiet() {
                return Some(conn);
            }
        }
        None
    })
}

/// Keeps a connection for the next request, at most `most` of a kind and `keep` long.
pub(super) fn put(conn: Box<H1>, most: usize, keep: Duration) {
    let expires = Instant::now() + keep;
    POOL.with_borrow_mut(|pool| {
        let idle = match pool.get_mut(&conn.key) {
            Some(idle) => idle,
            None => pool.entry(conn.key.clone()).or_default(),
        };
        if idle.len() >= most && !idle.is_empty() {
            idle.remove(0);
        }
        if most > 0 {
            idle.push(Idle { conn, expires });
        }
    });
}

/// Closes what is too old or was closed from the other side; to be called every second or so.
pub(crate) fn sweep() {
    let now = Instant::now();
    POOL.with_borrow_mut(|pool| {
        pool.retain(|_, idle| {
            idle.retain_mut(|idle| idle.expires > now && idle.conn.is_quiet());
            !idle.is_empty()
        });
    });
}
