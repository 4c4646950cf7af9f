//! Interim answers (1xx) on their way to the client.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};

use super::ConnInfo;

/// So many may wait; further ones are left out, as RFC 9110 section 15.2 allows.
const WAITING_MAX: usize = 8;

/// How interim answers reach a client.
#[derive(Clone, Copy, Debug)]
pub enum InterimWay<'x> {
    /// By its connection, which has no other answer under way.
    Connection(&'x ConnInfo),
    /// By the stream of its request.
    Stream(&'x Interims),
    /// Not at all, which RFC 9110 section 15.2 allows.
    Nowhere,
}

impl InterimWay<'_> {
    /// Sends the head of one before the real answer. Where it can't go in time it is left out.
    pub fn send(self, status: StatusCode, headers: &HeaderMap) {
        match self {
            Self::Connection(conn) => conn.send_interim(status, headers),
            Self::Stream(interims) => interims.push(status, headers.clone()),
            Self::Nowhere => {}
        }
    }

    /// The status that ends a request which a handler has ended with `status`: no interim one can, so it is sent
    /// as one and a 200 follows it, as with Go. A 101 ends HTTP.
    pub fn settle(self, status: StatusCode, headers: &HeaderMap) -> StatusCode {
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return status;
        }
        self.send(status, headers);
        StatusCode::OK
    }
}

/// What waits to be sent before one request's answer, beside those of others on the same connection. It all
/// happens on one worker.
#[derive(Debug, Default)]
pub struct Interims {
    waiting: Mutex<VecDeque<(StatusCode, HeaderMap)>>,
    waker: AtomicWaker,
}

impl Interims {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(StatusCode, HeaderMap)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has one sent.
    pub fn push(&self, status: StatusCode, headers: HeaderMap) {
        let mut waiting = self.lock();
        if waiting.len() < WAITING_MAX {
            waiting.push_back((status, headers));
            drop(waiting);
            self.waker.wake();
        }
    }

    /// The next one to be sent.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<(StatusCode, HeaderMap)> {
        self.waker.register(cx.waker());
        self.lock().pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn they_come_in_their_order_and_not_without_bound() {
        let interims = Interims::default();
        for status in 100..200 {
            interims.push(StatusCode::from_u16(status).unwrap(), HeaderMap::new());
        }
        let mut cx = Context::from_waker(Waker::noop());
        for status in 100..100 + WAITING_MAX as u16 {
            assert!(matches!(interims.poll_next(&mut cx), Poll::Ready((next, _)) if next == status));
        }
        assert!(interims.poll_next(&mut cx).is_pending());
    }
}
