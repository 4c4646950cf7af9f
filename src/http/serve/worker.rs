//! A worker: one thread, one single-threaded runtime, its own listeners and upstream connections.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::listener::{Listener, Slot};
use super::{conn, wire};
use crate::http::{ConnInfo, upstream};

/// What the engine tells a worker.
pub(super) enum Command {
    /// Accept from this socket.
    Listen(Listener, Arc<Slot>),
    /// Accept no more at this address, and end its connections after their present answers.
    Unlisten(u64),
    /// Accept no more at all, and end once all connections have ended or the time is over.
    Stop(Option<Duration>, oneshot::Sender<()>),
}

/// So many commands may wait; more make the engine wait.
const COMMANDS_MAX: usize = 64;
/// How often the clock looks at deadlines and idle upstream connections.
const TICK: Duration = Duration::from_secs(1);

/// Starts a worker thread.
pub(super) fn start(number: usize) -> io::Result<mpsc::Sender<Command>> {
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()?;
    std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || runtime.block_on(run(receiver)))?;
    Ok(sender)
}

/// Name look-ups and password hashes of one worker run on so many threads at most.
const BLOCKING_THREADS_MAX: usize = 16;

async fn run(mut commands: mpsc::Receiver<Command>) {
    let clock = tokio::spawn(tick());
    let mut listeners: HashMap<u64, Vec<JoinHandle<()>>> = HashMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen(listener, slot) => {
                let id = slot.id();
                match accept(listener, slot) {
                    Ok(task) => listeners.entry(id).or_default().push(task),
                    Err(error) => tracing::error!(%error, "can't accept from a socket"),
                }
            }
            Command::Unlisten(id) => {
                for task in listeners.remove(&id).unwrap_or_default() {
                    task.abort();
                }
                wire::drain(Some(id));
            }
            Command::Stop(grace, done) => {
                for task in listeners.drain().flat_map(|(_, tasks)| tasks) {
                    task.abort();
                }
                // Aborted tasks close their sockets when they are next looked at.
                tokio::task::yield_now().await;
                wire::drain(None);
                wait_until_idle(grace).await;
                let _ = done.send(());
                break;
            }
        }
    }
    clock.abort();
}

async fn tick() {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        wire::sweep();
        upstream::sweep();
    }
}

async fn wait_until_idle(grace: Option<Duration>) {
    let idle = async {
        while wire::connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match grace {
        Some(grace) => drop(tokio::time::timeout(grace, idle).await),
        None => idle.await,
    }
}

/// Accepts from a socket until the task is aborted.
fn accept(listener: Listener, slot: Arc<Slot>) -> io::Result<JoinHandle<()>> {
    Ok(match listener {
        Listener::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((io, peer)) => {
                            // Asking costs a system call, and hardly a configuration wants to know.
                            let wanted = slot.bound().server.asks_local_address();
                            let local = if wanted { io.local_addr().ok() } else { None };
                            let conn = ConnInfo::new(Some(unmapped(peer)), local.map(unmapped), None);
                            tokio::spawn(conn::serve(io, conn, slot.clone()));
                        }
                        Err(error) => pause(&error).await,
                    }
                }
            })
        }
        Listener::Unix(listener) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            tokio::spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((io, _)) => {
                            tokio::spawn(conn::serve(io, ConnInfo::new(None, None, None), slot.clone()));
                        }
                        Err(error) => pause(&error).await,
                    }
                }
            })
        }
    })
}

/// An IPv4 client of a socket for both families looks like one.
fn unmapped(address: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Without descriptors, or after a client that has already left, accepting goes on in a moment.
async fn pause(error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::error!(%error, "accepting a connection failed");
    tokio::time::sleep(Duration::from_millis(20)).await;
}
