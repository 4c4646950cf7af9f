//! The engine from outside: start, change what is listened to, stop.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::listener::{self, Address, Bound, Listener, Place};
use super::protocols::Protocols;
use super::worker::{self, Command};
use crate::config::NetworkAddress;
use crate::http::Server;
use crate::tls::ConnectionPolicies;

/// What is to be served at one address.
pub struct Listen {
    /// The address, of one port.
    pub address: NetworkAddress,
    /// What answers there.
    pub server: Arc<Server>,
    /// How TLS is spoken there, if it is.
    pub tls: Option<Arc<ConnectionPolicies>>,
    /// Which versions of HTTP are spoken there.
    pub protocols: Protocols,
}

/// What connections to an address come by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// TCP, or a Unix socket.
    Stream,
    Quic,
}

impl By {
    /// The name of an address among all that are listened at.
    fn name(self, address: &NetworkAddress) -> String {
        match self {
            Self::Stream => address.to_string(),
            Self::Quic => format!("quic {address}"),
        }
    }
}

impl Listen {
    /// What connections to it come by.
    fn ways(&self) -> impl Iterator<Item = By> + use<> {
        let (is_unix, has_tls) = (self.address.is_unix(), self.tls.is_some());
        // HTTP/3 needs TLS, and a file can't be a socket of both kinds.
        let by_quic = self.protocols.h3 && has_tls && !is_unix;
        let by_stream = self.protocols.need_tcp(has_tls);
        by_stream.then_some(By::Stream).into_iter().chain(by_quic.then_some(By::Quic))
    }
}

/// An address can't be listened to.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address}: {source}")]
pub struct ListenError {
    /// The address.
    pub address: String,
    /// Why not.
    pub source: io::Error,
}

/// The worker threads. There is one engine in a process, and it outlives configurations.
pub struct Engine {
    workers: Vec<mpsc::Sender<Command>>,
    addresses: Mutex<HashMap<String, Arc<Address>>>,
    next_address: AtomicU64,
}

/// An address that was opened: its name, and a socket for each worker.
type Fresh = (String, Arc<Address>, Vec<Listener>);

/// What is to become of addresses.
#[derive(Default)]
struct Plan {
    fresh: Vec<Fresh>,
    kept: Vec<(Arc<Address>, Bound)>,
    /// Those of all addresses that are to be served.
    names: HashSet<String>,
    /// The ports on which servers speak HTTP/3.
    offers: Vec<(Arc<Server>, Vec<u16>)>,
}

impl Plan {
    fn offer(&mut self, server: &Arc<Server>, local: Option<SocketAddr>) {
        let Some(port) = local.map(|local| local.port()) else { return };
        match self.offers.iter_mut().find(|(of, _)| Arc::ptr_eq(of, server)) {
            Some((_, ports)) => ports.push(port),
            None => self.offers.push((server.clone(), vec![port])),
        }
    }
}

impl Engine {
    /// Starts so many workers.
    ///
    /// # Errors
    /// The system has no thread left, or none of what a runtime needs.
    pub fn start(workers: NonZeroUsize) -> io::Result<Self> {
        // Each connection takes a descriptor, each proxied one two; as Go does, all that we may have.
        if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
            tracing::warn!(%error, "raising the limit of open files");
        }
        let workers = (0..workers.get()).map(worker::start).collect::<io::Result<_>>()?;
        Ok(Self { workers, addresses: Mutex::default(), next_address: AtomicU64::new(0) })
    }

    /// Makes `listens`, and nothing else, what is served.
    ///
    /// Addresses that are new are bound first; if one can't be, nothing has changed. Those that stay
    /// keep their sockets, and from their next request on connections are served anew. Those that
    /// are gone are closed, and their connections end after their present answers.
    ///
    /// # Errors
    /// The first address that can't be bound.
    pub async fn apply(&self, listens: Vec<Listen>) -> Result<(), ListenError> {
        let mut plan = Plan::default();
        for listen in &listens {
            if let Err(error) = self.plan(listen, &mut plan).await {
                plan.fresh.iter().for_each(|(_, address, _)| address.close());
                return Err(error);
            }
        }
        // Nothing can fail from here on.
        for (server, ports) in plan.offers {
            server.advertise(&ports);
        }
        for (address, bound) in plan.kept {
            address.rebind(&bound);
        }
        for (name, address, sockets) in plan.fresh {
            for ((worker, slot), socket) in self.workers.iter().zip(address.slots()).zip(sockets) {
                let _ = worker.send(Command::Listen(socket, slot.clone())).await;
            }
            self.lock().insert(name, address);
        }
        for address in self.take_gone(&plan.names) {
            address.close();
            for worker in &self.workers {
                let _ = worker.send(Command::Unlisten(address.id())).await;
            }
        }
        Ok(())
    }

    /// Finds or opens the sockets of an address.
    async fn plan(&self, listen: &Listen, plan: &mut Plan) -> Result<(), ListenError> {
        let mut beside = None;
        for by in listen.ways() {
            let name = by.name(&listen.address);
            if !plan.names.insert(name.clone()) {
                continue;
            }
            let bound = Bound::new(listen.server.clone(), listen.tls.clone(), listen.protocols);
            let local = if let Some(address) = self.address(&name) {
                let local = address.local();
                plan.kept.push((address, bound));
                local
            } else {
                let opened = self.open(&listen.address, by, beside).await;
                let (sockets, place) =
                    opened.map_err(|source| ListenError { address: name.clone(), source })?;
                let id = self.next_address.fetch_add(1, Ordering::Relaxed);
                let address = Arc::new(Address::new(id, place, &bound, self.workers.len()));
                let local = address.local();
                plan.fresh.push((name, address, sockets));
                local
            };
            match by {
                By::Stream => beside = local,
                By::Quic => plan.offer(&listen.server, local),
            }
        }
        Ok(())
    }

    /// Accepts no more, and waits until what has begun is done, at most for `grace` if it is given.
    pub async fn shutdown(self, grace: Option<Duration>) {
        for address in self.lock().values() {
            address.close();
        }
        let mut stopping = Vec::new();
        for worker in &self.workers {
            let (done, stopped) = oneshot::channel();
            if worker.send(Command::Stop(grace, done)).await.is_ok() {
                stopping.push(stopped);
            }
        }
        for stopped in stopping {
            let _ = stopped.await;
        }
    }

    /// The TCP addresses that are listened to, with the ports that the system has chosen where it was
    /// to choose.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> =
            self.lock().values().filter(|of| !of.is_quic()).filter_map(|of| of.local()).collect();
        addresses.sort_unstable();
        addresses
    }

    /// Opens an address for all workers. If the system is to choose QUIC's port, that is the one of TCP
    /// `beside` it.
    async fn open(
        &self,
        address: &NetworkAddress,
        by: By,
        beside: Option<SocketAddr>,
    ) -> io::Result<(Vec<Listener>, Place)> {
        if address.is_unix() {
            let (path, mode) = address.unix_path().map_err(io::Error::other)?;
            let first = listener::listen_unix(path.as_ref(), mode)?;
            // A Unix socket has one queue; the workers share it.
            let others: Vec<_> =
                (1..self.workers.len()).map(|_| first.try_clone()).collect::<Result<_, _>>()?;
            let listeners = std::iter::once(first).chain(others).map(Listener::Unix).collect();
            return Ok((listeners, Place::Unix(path.into())));
        }
        let located = listener::locate(address).await?;
        if by == By::Quic {
            let chosen = beside.filter(|_| located.port() == 0);
            let (listeners, local) = listener::listen_quic(chosen.unwrap_or(located), self.workers.len())?;
            return Ok((listeners, Place::Udp(local)));
        }
        let (listeners, local) = listener::listen_tcp(located, self.workers.len())?;
        if address.start_port == 0 {
            tracing::info!(target: "http", input_address = %address, actual_address = %local, "port 0 listener");
        }
        Ok((listeners, Place::Tcp(local)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Address>>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self, name: &str) -> Option<Arc<Address>> {
        self.lock().get(name).cloned()
    }

    fn take_gone(&self, names: &HashSet<String>) -> Vec<Arc<Address>> {
        let mut addresses = self.lock();
        let gone: Vec<String> = addresses.keys().filter(|name| !names.contains(*name)).cloned().collect();
        gone.iter().filter_map(|name| addresses.remove(name)).collect()
    }
}
