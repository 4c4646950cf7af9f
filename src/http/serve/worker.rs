//! A worker: one thread, one single-threaded runtime, its own listeners and upstream connections.

use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use super::late::Late;
use super::listener::{Listener, Slot, Transport};
use super::{conn, quic, wire};
use crate::http::{ConnInfo, per_worker, upstream};
use crate::memory;

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
    std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        per_worker::enlist(number);
        memory::keep_on_this_thread();
        runtime.block_on(run(receiver));
    })?;
    Ok(sender)
}

/// Name look-ups and password hashes of one worker run on so many threads at most.
const BLOCKING_THREADS_MAX: usize = 16;

async fn run(mut commands: mpsc::Receiver<Command>) {
    let clock = tokio::spawn(tick());
    // An accepting task ends when its sender is dropped.
    let mut listeners: HashMap<u64, Vec<oneshot::Sender<()>>> = HashMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen(listener, slot) => {
                let (running, stop) = oneshot::channel();
                listeners.entry(slot.id()).or_default().push(running);
                if let Err(error) = accept(listener, slot, stop) {
                    tracing::error!(%error, "can't accept from a socket");
                }
            }
            Command::Unlisten(id) => {
                listeners.remove(&id);
                wire::drain(Some(id));
            }
            Command::Stop(grace, done) => {
                listeners.clear();
                // The tasks take in who already waits, close their sockets and end.
                tokio::time::sleep(Duration::from_millis(1)).await;
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

/// Accepts from a socket until it is told to stop.
fn accept(listener: Listener, slot: Arc<Slot>, stop: Stop) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let listener = watch(listener)?;
            let accept = move |cx: &mut Context<'_>| poll_accept(&listener, cx);
            tokio::spawn(accept_from(accept, slot, stop));
        }
        Listener::Unix(listener) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            let accept = move |cx: &mut Context<'_>| listener.poll_accept(cx).map_ok(|(io, _)| (io, None));
            tokio::spawn(accept_from(accept, slot, stop));
        }
        Listener::Quic(socket) => quic::serve(socket, slot, stop).map_err(io::Error::other)?,
    }
    Ok(())
}

/// Enlists a listener with the reactor.
#[expect(
    unsafe_code,
    reason = "tokio has no other way to a listener of which connections are not enlisted too"
)]
fn watch(listener: std::net::TcpListener) -> io::Result<AsyncFd<mio::net::TcpListener>> {
    let listener = mio::net::TcpListener::from_std(listener);
    // SAFETY: the listener owns its descriptor, keeps the same one, and closes it only when it is
    // dropped, which is after the `AsyncFd` around it, which owns it, has let go of it.
    unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }.map_err(Into::into)
}

/// Accepts a connection that the reactor does not know of; tokio's own listener would tell it.
fn poll_accept(
    listener: &AsyncFd<mio::net::TcpListener>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Late, Option<SocketAddr>)>> {
    loop {
        let mut ready = ready!(listener.poll_read_ready(cx))?;
        // It is only told that there is nothing to wait for if there was nothing.
        if let Ok(accepted) = ready.try_io(|listener| listener.get_ref().accept()) {
            let (socket, peer) = accepted?;
            return Poll::Ready(Ok((Late::new(socket.into()), Some(unmapped(peer)))));
        }
    }
}

/// Resolves, or fails, when accepting is to end.
pub(super) type Stop = oneshot::Receiver<()>;

async fn accept_from<T>(
    mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<(T, Option<SocketAddr>)>>,
    slot: Arc<Slot>,
    mut stop: Stop,
) where
    T: Transport + 'static,
{
    for accepted_in_a_row in 1_u32.. {
        if accepted_in_a_row.is_multiple_of(ACCEPTS_IN_A_ROW) {
            // A flood of connections must not keep those that stand from being served.
            tokio::task::yield_now().await;
        }
        // Who already waits when the end comes is still served.
        let accepted = poll_fn(|cx| match poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            Poll::Pending => Pin::new(&mut stop).poll(cx).map(|_| None),
        });
        match accepted.await {
            Some(Ok((io, peer))) => {
                // Asking for our own address costs a call, and hardly a configuration wants to know; but
                // of clients that connect by address, it tells the certificate.
                let bound = slot.bound();
                let asks = bound.tls.is_some() || bound.server.asks_local_address();
                let local = if asks { io.local() } else { None };
                let conn = ConnInfo::new(peer, local.map(unmapped), None);
                // Boxed, since tokio moves a task's future about when it begins and ends.
                tokio::spawn(Box::pin(conn::serve(io, conn, slot.clone())));
            }
            Some(Err(error)) => pause(&error).await,
            None => return,
        }
    }
}

/// After so many connections others get their turn.
pub(super) const ACCEPTS_IN_A_ROW: u32 = 32;

/// An IPv4 client of a socket for both families looks like one.
pub(super) fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Without descriptors, or after a client that has already left, accepting goes on in a moment.
async fn pause(error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::error!(%error, "accepting a connection failed");
    tokio::time::sleep(Duration::from_millis(20)).await;
}
