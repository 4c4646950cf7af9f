//! The deadlines of HTTP/2's and HTTP/3's streams.
//!
//! A client can answer pings all day and never grant a window, or never send the body it has
//! announced. So each stream has a clock, and its task ends when that has run out; the stream is
//! reset then, and the others go on. Clocks cost no timer: the worker looks at all of them once a
//! second.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;

use super::limits::WireLimits;
use super::wire::{self, ClockPlace};

/// How long one stream may still wait for its client.
pub(super) struct StreamClock {
    limits: Arc<WireLimits>,
    /// The second at which the client must have sent something, taken something, and got all of its
    /// answer; 0 for never.
    sending: AtomicU32,
    taking: AtomicU32,
    answer: AtomicU32,
    expired: AtomicBool,
    waker: AtomicWaker,
}

impl StreamClock {
    /// The clock of a stream that begins.
    pub(super) fn new(limits: Arc<WireLimits>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            sending: AtomicU32::new(0),
            taking: AtomicU32::new(0),
            answer: AtomicU32::new(0),
            expired: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    /// The client must send some of its body now.
    fn limit_sending(&self) {
        self.sending.store(self.limits.read_idle_timeout.map_or(0, wire::after), Relaxed);
    }

    fn sent(&self) {
        self.sending.store(0, Relaxed);
    }

    /// The client must take some of its answer now.
    pub(super) fn limit_taking(&self) {
        self.taking.store(self.limits.write_idle_timeout.map_or(0, wire::after), Relaxed);
    }

    /// It has.
    pub(super) fn taken(&self) {
        self.taking.store(0, Relaxed);
    }

    /// The answer must have gone as a whole within `limit`.
    pub(super) fn limit_answer(&self, limit: Option<Duration>) {
        self.answer.store(limit.map_or(0, wire::after), Relaxed);
    }

    /// Ends the stream if its time is up at the second `now`.
    pub(super) fn check(&self, now: u32) {
        let deadlines = [&self.sending, &self.taking, &self.answer].map(|deadline| deadline.load(Relaxed));
        if deadlines.iter().any(|deadline| *deadline != 0 && *deadline < now) {
            self.expired.store(true, Relaxed);
            self.waker.wake();
        }
    }
}

/// The streams of one connection. hyper runs their tasks by it.
#[derive(Clone)]
pub(super) struct Streams {
    limits: Arc<WireLimits>,
    /// The clock of the stream whose task hyper starts next.
    next: Arc<Mutex<Option<Arc<StreamClock>>>>,
}

impl Streams {
    pub(super) fn new(limits: Arc<WireLimits>) -> Self {
        Self { limits, next: Arc::default() }
    }

    /// The clock of a stream that begins. hyper calls the service first and starts the task right
    /// behind it.
    pub(super) fn begin(&self) -> Arc<StreamClock> {
        let clock = StreamClock::new(self.limits.clone());
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock.clone());
        clock
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let clock = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        tokio::spawn(Clocked { task, clock: clock.map(ClockPlace::new) });
    }
}

/// Runs the task of a stream for as long as its clock does.
pub(super) fn spawn(clock: Arc<StreamClock>, task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(Clocked { task, clock: Some(ClockPlace::new(clock)) });
}

pin_project! {
    /// The task of a stream, for as long as its clock runs.
    struct Clocked<F> {
        #[pin]
        task: F,
        clock: Option<ClockPlace>,
    }
}

impl<F: Future<Output = ()>> Future for Clocked<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if let Some(place) = this.clock {
            let clock = place.clock();
            clock.waker.register(cx.waker());
            if clock.expired.load(Relaxed) {
                tracing::debug!("a stream's client kept it waiting too long");
                return Poll::Ready(());
            }
        }
        this.task.poll(cx)
    }
}

/// The body of a request on a stream.
pub(super) struct Upload<B> {
    body: B,
    clock: Arc<StreamClock>,
}

impl<B> Upload<B> {
    pub(super) fn new(body: B, clock: Arc<StreamClock>) -> Self {
        Self { body, clock }
    }
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Upload<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending() {
            self.clock.limit_sending();
        } else {
            self.clock.sent();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Upload<B> {
    fn drop(&mut self) {
        // Nobody waits for it any more.
        self.clock.sent();
    }
}
