//! HTTP/2, with bounds on what a client can make us keep and do, and on how long it may take.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::conn::{WRITE_BUFFER_BYTES_MAX, respond_on_stream};
use super::limits::WireLimits;
use super::listener::{Slot, Transport};
use super::streams::{Streams, Upload};
use super::wire::Registered;
use crate::http::{Body, ConnInfo};

/// So many requests may be under way on a connection, as in Go.
const STREAMS_MAX: u32 = 250;
/// A client may send so much of a body before some of it is taken, on a stream and on all.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// A client that was told to go, and has nothing under way, is given this long.
const GOODBYE: Duration = Duration::from_secs(3);

/// Serves a connection to its end.
pub(super) async fn serve<T>(io: T, conn: ConnInfo, slot: Arc<Slot>)
where
    T: Transport + 'static,
{
    let conn = Arc::new(conn);
    let limits = slot.bound().limits.clone();
    conn.wire.limit_idle(limits.idle_timeout);
    conn.wire.multiplex();
    let registered = Registered::new(conn.clone(), slot.id());
    if slot.is_closed() {
        conn.wire.drain();
    }
    let streams = Streams::new(limits.clone());
    let service = {
        let (conn, streams) = (conn.clone(), streams.clone());
        service_fn(move |request: http::Request<Incoming>| {
            let clock = streams.begin();
            let mut request = request.map(|body| match body.is_end_stream() {
                true => Body::Empty,
                false => Body::stream(Upload::new(body, clock.clone())),
            });
            join_cookies(request.headers_mut());
            respond_on_stream(request, conn.clone(), slot.bound(), clock, None)
        })
    };
    let connection = hyper::server::conn::http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_send_buf_size(WRITE_BUFFER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(limits.write_idle_timeout)
        .serve_connection(TokioIo::new(Paced { io, conn: conn.clone(), limits }), service);
    let mut connection = pin!(connection);
    let mut ending = false;
    let ended = poll_fn(|cx| {
        let wire = &conn.wire;
        wire.register(cx.waker());
        let idle = wire.take_read_expired() && wire.is_idle();
        if (wire.is_draining() || idle) && !ending {
            ending = true;
            connection.as_mut().graceful_shutdown();
            // Some never answer to that, or have not even begun.
            wire.limit_idle(Some(GOODBYE));
            if wire.is_idle() {
                wire.limit_read(Some(GOODBYE));
            }
        } else if ending && idle {
            return Poll::Ready(Ok(()));
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::trace!(%error, "connection ended");
    }
    drop(registered);
}

/// Puts cookies together that a client has only taken apart to compress them better: upstreams that speak
/// HTTP/1 look at one field (RFC 9113 section 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // What may stand in each of them may in all together.
    if let Ok(mut joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        joined.set_sensitive(headers.get_all(COOKIE).iter().any(HeaderValue::is_sensitive));
        headers.insert(COOKIE, joined);
    }
}

/// A transport whose client must take something of what is written, now and then.
struct Paced<T> {
    io: T,
    conn: Arc<ConnInfo>,
    limits: Arc<WireLimits>,
}

impl<T> Paced<T> {
    fn timed<N>(&self, written: Poll<io::Result<N>>) -> Poll<io::Result<N>> {
        let wire = &self.conn.wire;
        if written.is_ready() {
            wire.wrote();
        } else if wire.take_write_expired() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        } else {
            wire.limit_write(self.limits.write_idle_timeout);
        }
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.timed(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.timed(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.timed(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.timed(shut)
    }
}
