//! The body of an answer: all at once, or word by word.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::dialect::{Dialect, Summary};

/// The body of an answer.
pub(super) enum Reply {
    /// All at once; empty when it has been taken.
    Whole(Bytes),
    /// Word by word.
    Words(Words),
}

/// Words that are still to be said. They are made when the connection asks for them, so a client that does
/// not read holds them up, and one that leaves ends them.
pub(super) struct Words {
    dialect: Dialect,
    words: std::vec::IntoIter<String>,
    said: usize,
    cut: bool,
    begin: Instant,
    pace: Duration,
    next: Pin<Box<Sleep>>,
    ended: bool,
}

impl Words {
    pub(super) fn new(dialect: Dialect, words: Vec<String>, cut: bool, pace: Duration) -> Self {
        let begin = Instant::now();
        let next = Box::pin(tokio::time::sleep_until(begin + pace));
        Self { dialect, words: words.into_iter(), said: 0, cut, begin, pace, next, ended: false }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let words = match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Words(words) if words.ended => return Poll::Ready(None),
            Self::Words(words) => words,
        };
        ready!(words.next.as_mut().poll(context));
        let bytes = if let Some(word) = words.words.next() {
            words.said += 1;
            // From now, not from when this word was due: a client that held us up gets no burst.
            words.next.as_mut().reset(Instant::now() + words.pace);
            words.dialect.word(&word)
        } else {
            words.ended = true;
            let took = words.begin.elapsed();
            words.dialect.last(Summary { words: words.said, cut: words.cut, took })
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Words(words) => words.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Words(_) => SizeHint::default(),
        }
    }
}
