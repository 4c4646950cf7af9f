//! The endpoint's life: accepting, answering, and giving way to another.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::access::Access;
use super::listener::{Bound, Listening, Stream};
use super::{Settings, api};
use crate::app::Instance;
use crate::config::NetworkAddress;

/// So many clients are served at once; more wait.
const CONNECTIONS_MAX: usize = 256;
/// A client's next request must have come this long after its last, head and all.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A request's head may have this many bytes, as in Caddy.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long an endpoint that is to end waits for its requests, as in Caddy.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when the system has no descriptor for a client.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An endpoint that answers.
pub struct Endpoint {
    /// The address as it was asked for.
    asked: NetworkAddress,
    actual: NetworkAddress,
    access: Arc<ArcSwap<Access>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Endpoint {
    /// Lets clients in at a socket.
    pub fn start(bound: Bound, settings: &Settings, instance: Arc<Instance>) -> Self {
        let actual = bound.actual_address();
        let access = Arc::new(ArcSwap::from_pointee(Access::new(&settings.admin, &actual)));
        let (stop, stopped) = watch::channel(false);
        log_start(&actual, &access.load(), settings.admin.enforce_origin);
        let asked = bound.address;
        let task = tokio::spawn(accept(bound.socket, instance, access.clone(), stopped));
        Self { asked, actual, access, stop, task }
    }

    /// Whether it listens where `address` says.
    pub fn is_at(&self, address: &NetworkAddress) -> bool {
        self.asked == *address
    }

    /// Goes on with other rules.
    pub fn reconfigure(&self, settings: &Settings) {
        let access = Access::new(&settings.admin, &self.actual);
        if access != **self.access.load() {
            log_start(&self.actual, &access, settings.admin.enforce_origin);
            self.access.store(Arc::new(access));
        }
    }

    /// Closes the socket, and waits in bounds until the requests under way are answered.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(target: "admin", %error, "the endpoint broke off");
        }
        tracing::info!(target: "admin", address = %self.actual, "stopped previous server");
    }
}

fn log_start(address: &NetworkAddress, access: &Access, enforce_origin: bool) {
    let origins = access.origins();
    tracing::info!(target: "admin", %address, enforce_origin, ?origins, "admin endpoint started");
    if access.is_open() && !address.is_unix() {
        tracing::warn!(target: "admin", %address, "admin endpoint on open interface; host checking disabled");
    }
}

async fn accept(
    socket: Listening,
    instance: Arc<Instance>,
    access: Arc<ArcSwap<Access>>,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut clients = JoinSet::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, socket.accept().await)
        };
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = clients.join_next() => {}
            (place, accepted) = next => match accepted {
                Ok((stream, peer)) => {
                    let client = serve(stream, peer, instance.clone(), access.clone(), stopped.clone());
                    clients.spawn(async move {
                        client.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::error!(target: "admin", %error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(socket);
    let ended = async { while clients.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
        tracing::warn!(target: "admin", "cut requests that did not end in time");
    }
}

async fn serve(
    stream: Box<dyn Stream>,
    peer: String,
    instance: Arc<Instance>,
    access: Arc<ArcSwap<Access>>,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let answer = api::answer(instance.clone(), access.load_full(), peer.clone(), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "admin", %error, "a connection broke off");
    }
}
