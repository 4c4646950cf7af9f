//! Idle connections to upstreams. Each worker thread has its own, so nothing is locked and no
//! thread wakes another.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Weak;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};

use super::dial::Dial;
use super::h1::H1;
use crate::http::clock;

/// Which connections are alike: the same transport to the same place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    pub(super) transport: u64,
    pub(super) dial: Dial,
    /// The client that the connection was opened for, if the upstream was told of it.
    pub(super) client: Option<IpAddr>,
}

/// A [`PoolKey`] to look with, which holds on to nothing.
#[derive(Hash)]
pub(super) struct PoolLook<'a> {
    pub(super) transport: u64,
    pub(super) dial: &'a Dial,
    pub(super) client: Option<IpAddr>,
}

impl Equivalent<PoolKey> for PoolLook<'_> {
    fn equivalent(&self, key: &PoolKey) -> bool {
        self.transport == key.transport && *self.dial == key.dial && self.client == key.client
    }
}

impl PoolLook<'_> {
    pub(super) fn to_key(&self) -> PoolKey {
        PoolKey { transport: self.transport, dial: self.dial.clone(), client: self.client }
    }
}

struct Idle {
    conn: Box<H1>,
    /// By [`clock::now`].
    expires: Duration,
}

/// How many idle connections are kept, and how long.
pub(super) struct IdleLimits {
    /// So many of a kind.
    pub(super) most: usize,
    /// So long.
    pub(super) keep: Duration,
    /// At most as long as their transport is there.
    pub(super) alive: Weak<()>,
}

thread_local! {
    // Every request looks here twice, and SipHash costs more than the rest of a look.
    static POOL: RefCell<HashMap<PoolKey, Vec<Idle>, RandomState>> = RefCell::default();
}

/// Takes the connection that was used last, unless the upstream has closed it or sent something
/// unasked meanwhile.
pub(super) fn take(look: &PoolLook<'_>) -> Option<Box<H1>> {
    POOL.with_borrow_mut(|pool| {
        let idle = pool.get_mut(look)?;
        while let Some(Idle { mut conn, expires }) = idle.pop() {
            if expires > clock::now() && conn.is_quiet() {
                return Some(conn);
            }
        }
        None
    })
}

/// Keeps a connection for the next request, within its limits.
pub(super) fn put(conn: Box<H1>) {
    if conn.idle.alive.strong_count() == 0 {
        return;
    }
    let most = conn.idle.most;
    let expires = clock::now() + conn.idle.keep;
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

/// Closes what is too old, was closed from the other side, or has lost its transport.
pub(super) fn sweep() {
    let now = clock::now();
    POOL.with_borrow_mut(|pool| {
        pool.retain(|_, idle| {
            let is_of_use = |idle: &Idle| idle.expires > now && idle.conn.idle.alive.strong_count() > 0;
            idle.retain_mut(|idle| is_of_use(idle) && idle.conn.is_quiet());
            !idle.is_empty()
        });
    });
}
