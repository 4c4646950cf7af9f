//! Where commands go: to one server, to those of a cluster by their keys, or to the master that sentinels
//! name. All of it blocks.

mod cluster;
mod connection;
mod failover;

use std::thread;
use std::time::{Duration, Instant};

pub(super) use connection::{Login, RedisError};

use super::options::{Kind, Options};
use super::resp::Reply;
use cluster::Cluster;
use connection::Connections;
use failover::Failover;

/// How long to wait before a server that could not do it is asked again.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// What is tried again is given up after so many times the deadline of one command.
const DEADLINES: u32 = 3;
/// Errors by which a server says that another one, or the same one later, can do it.
const PASSING: &[&str] = &["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"];

/// Host and port.
pub(super) type Address = (String, u16);

/// The servers of a storage.
#[derive(Debug)]
pub(super) enum Servers {
    One(Box<Connections>),
    Cluster(Cluster),
    Failover(Failover),
}

impl Servers {
    /// # Errors
    /// [`RedisError`] if they can't be reached, or don't let us in.
    pub(super) fn open(options: &Options) -> Result<Self, RedisError> {
        let Options { kind, addresses, login, .. } = options;
        let (addresses, login) = (addresses.clone(), login.clone());
        let servers = match kind {
            Kind::One => {
                let address = addresses.into_iter().next().unwrap_or_default();
                Self::One(Box::new(Connections::new(address, login)))
            }
            Kind::Cluster => Self::Cluster(Cluster::new(addresses, login)),
            Kind::Failover { master_name, sentinels } => {
                Self::Failover(Failover::new(addresses, sentinels.clone(), master_name.clone(), login))
            }
        };
        match &servers {
            Self::One(one) => drop(one.run(&[b"PING"])?),
            Self::Cluster(cluster) => cluster.ping()?,
            Self::Failover(failover) => drop(failover.run(&[b"PING"])?),
        }
        Ok(servers)
    }

    /// Whether keys of one command may be at several servers, so that it can have but one.
    pub(super) fn divide_keys(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Runs a command that is about a key. It may be sent more than once, so it must do no harm twice.
    ///
    /// # Errors
    /// [`RedisError`].
    pub(super) fn run(&self, key: &str, command: &[&[u8]]) -> Result<Reply, RedisError> {
        match self {
            Self::One(one) => one.run(command),
            Self::Cluster(cluster) => cluster.run(key, command),
            Self::Failover(failover) => failover.run(command),
        }
    }
}

/// Whether it makes sense to ask again, perhaps elsewhere.
fn passes(error: &RedisError) -> bool {
    match error {
        RedisError::Io(..) => true,
        // Servers before Redis 7 tell within a script's error that they are replicas.
        RedisError::Said(_, said) => {
            PASSING.iter().any(|code| is_code(said, code)) || said.contains("-READONLY ")
        }
        RedisError::Kind(_) | RedisError::Nobody(_) => false,
    }
}

/// Whether an error of a server's begins with this word.
fn is_code(said: &str, code: &str) -> bool {
    said.split(' ').next() == Some(code)
}

/// Whether what was begun then has taken too long.
fn is_too_late(begin: Instant, login: &Login) -> bool {
    begin.elapsed() >= login.timeout * DEADLINES
}

/// Waits before something is tried again; not if it would be too late then.
fn may_try_again(begin: Instant, login: &Login) -> bool {
    let may = begin.elapsed() + RETRY_INTERVAL < login.timeout * DEADLINES;
    if may {
        thread::sleep(RETRY_INTERVAL);
    }
    may
}
