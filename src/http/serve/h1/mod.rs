//! HTTP/1 towards clients (RFC 9112).
//!
//! Ours, not hyper's: a gate has to see every byte before it is believed, so with hyper each head was read
//! twice, and what hyper holds for a connection, 8 KiB for reading alone, is most of what a silent stream
//! costs. Here a connection is one task that holds its socket and, while it waits, no buffer. The figures
//! are in docs/architecture.md.

mod answer;
mod body;
mod close;
mod head;
#[cfg(any(test, fuzzing))]
pub mod laws;
mod link;
mod output;
mod refusal;
mod request;
#[cfg(any(test, fuzzing))]
mod scripted;
mod sending;
mod watch;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header};

use super::conn::{self, Aborted, Responded};
use super::listener::{Rewind, Slot, Transport};
use super::wire::{Registered, Wire};
use crate::http::{Body, ClientIo, ConnInfo, Upgrade, header_maps};
use answer::Asked;
pub use body::ClientBody;
pub(in crate::http) use head::{has_sound_escapes, is_authority};
use link::{Link, lock};
use output::{AnswerError, Output};
use refusal::Refusal;
use request::Request;

/// How a connection ends.
enum End {
    /// The client may still be sending, and is let finish for a moment.
    Closing,
    /// There is nobody to take leave of, or it is better not to.
    Broken,
    /// It goes on as another protocol.
    Switched(tokio::sync::oneshot::Sender<ClientIo>),
}

/// Serves a connection that begins with `first`, to its end. `must_shut` says that closing it takes more
/// than dropping it.
pub(super) async fn serve<T>(io: T, first: Bytes, conn: ConnInfo, slot: Arc<Slot>, must_shut: bool)
where
    T: Transport + 'static,
{
    let conn = Arc::new(conn);
    let limits = slot.bound().limits.clone();
    let registered = Registered::new(conn.clone(), slot.id());
    if slot.is_closed() {
        conn.wire.drain();
    }
    let link = Arc::new(Mutex::new(Link::new(io, first, conn.clone(), limits)));
    let mut serving = pin!(to_its_end(&link, &conn, &slot, must_shut));
    poll_fn(|cx| {
        let served = serving.as_mut().poll(cx);
        if served.is_pending() {
            // A waker is good for one time.
            conn.wire.register(cx.waker());
        }
        served
    })
    .await;
    drop(registered);
}

async fn to_its_end<T>(link: &Arc<Mutex<Link<T>>>, conn: &Arc<ConnInfo>, slot: &Slot, must_shut: bool)
where
    T: Transport + 'static,
{
    match requests(link, conn, slot).await {
        End::Closing => close::close(link, must_shut).await,
        End::Broken => drop(lock(link).take_io()),
        End::Switched(tunnel) => {
            let mut link = lock(link);
            let early = std::mem::take(&mut link.held);
            if let Some(io) = link.take_io() {
                // Without a receiver any more there is nothing to go on with.
                let _ = tunnel.send(ClientIo::new(Rewind::new(io, early)));
            }
        }
    }
}

/// Answers one request after the other.
async fn requests<T>(link: &Arc<Mutex<Link<T>>>, conn: &Arc<ConnInfo>, slot: &Slot) -> End
where
    T: Transport + 'static,
{
    loop {
        let request = match poll_fn(|cx| lock(link).poll_next(cx)).await {
            Ok(Some(request)) => request,
            Ok(None) => return End::Closing,
            Err(refusal) => return refuse(link, conn, refusal).await,
        };
        match exchange(link, conn, slot, request).await {
            Ok(Behind::Next) => {}
            Ok(Behind::End) => return End::Closing,
            Ok(Behind::Tunnel(tunnel)) => return End::Switched(tunnel),
            Err(error) => {
                tracing::trace!(%error, "connection ended");
                return End::Broken;
            }
        }
        if !poll_fn(|cx| lock(link).poll_end(cx)).await {
            return End::Closing;
        }
        // Requests that are there at once are answered at once: others must have their turn.
        tokio::task::coop::consume_budget().await;
    }
}

/// What comes behind an answer.
enum Behind {
    Next,
    End,
    Tunnel(tokio::sync::oneshot::Sender<ClientIo>),
}

/// Why a request was not answered, or not to the end.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error(transparent)]
    Aborted(#[from] Aborted),
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// One request and its answer.
async fn exchange<T>(
    link: &Arc<Mutex<Link<T>>>,
    conn: &Arc<ConnInfo>,
    slot: &Slot,
    request: Request,
) -> Result<Behind, ExchangeError>
where
    T: Transport + 'static,
{
    let in_flight = InFlight::begin(&conn.wire);
    let keeps_alive = request.keeps_alive;
    let (request, upgrade) = assemble(link, request);
    let asked = Asked::new(request.method(), request.version());
    let Responded { parts, body } = {
        let bound = slot.bound();
        conn.wire.limit_answer(bound.limits.write_timeout);
        let mut responding = pin!(conn::respond(request, conn.clone(), &bound, None));
        poll_fn(|cx| {
            lock(link).check_reader();
            if let Poll::Ready(response) = responding.as_mut().poll(cx) {
                return Poll::Ready(response.map_err(ExchangeError::from));
            }
            lock(link).poll_watch(cx).map(|error| Err(AnswerError::Client(error).into()))
        })
        .await?
    };
    let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    let is_left = poll_fn(|cx| Poll::Ready(lock(link).is_left(cx))).await;
    let (interim, expects) = {
        let mut link = lock(link);
        (link.begin_answer(), link.expects)
    };
    // A client that still waits to be told to send its body may send it or not.
    let is_last = is_left || expects || !keeps_alive || conn.wire.is_draining();
    let mut output = Output::new(&interim, &parts, body, Asked { is_last, ..asked });
    header_maps::give_back(parts.headers);
    let is_last = output.is_last;
    poll_fn(|cx| {
        lock(link).check_reader();
        output.poll(cx, link)
    })
    .await?;
    drop(output);
    drop(in_flight);
    Ok(match upgrade {
        Some(sender) if switches => Behind::Tunnel(sender),
        _ if is_last => Behind::End,
        _ => Behind::Next,
    })
}

/// The request with its body, and whom its connection goes to if it changes the protocol.
fn assemble<T: Transport + 'static>(
    link: &Arc<Mutex<Link<T>>>,
    head: Request,
) -> (http::Request<Body>, Option<tokio::sync::oneshot::Sender<ClientIo>>) {
    let body = match head.follows {
        head::Follows::Head => Body::Empty,
        follows => Body::Client(ClientBody::new(link.clone(), follows)),
    };
    let mut request = http::Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = head.uri;
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers;
    let sender = head.upgrades.then(|| {
        let (sender, upgrade) = Upgrade::new();
        request.extensions_mut().insert(upgrade);
        sender
    });
    (request, sender)
}

/// Says why there is no answer, and ends the connection: what comes behind can't be trusted.
async fn refuse<T: Transport>(link: &Arc<Mutex<Link<T>>>, conn: &ConnInfo, refusal: Refusal) -> End {
    let in_flight = InFlight::begin(&conn.wire);
    let (status, text) = refusal.answer();
    let response = http::Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let Ok(response) = response.body(Body::from(text)) else { return End::Broken };
    let (parts, body) = response.into_parts();
    let interim = lock(link).begin_answer();
    let asked = Asked { version: Version::HTTP_11, is_head: false, is_connect: false, is_last: true };
    let mut output = Output::new(&interim, &parts, body, asked);
    let sent = poll_fn(|cx| output.poll(cx, link)).await;
    drop(in_flight);
    if sent.is_ok() { End::Closing } else { End::Broken }
}

/// A request that is being answered.
struct InFlight<'a>(&'a Wire);

impl<'a> InFlight<'a> {
    fn begin(wire: &'a Wire) -> Self {
        wire.begin();
        Self(wire)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
