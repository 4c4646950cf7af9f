//! A body that somebody watches on its way: what passes, and that it has ended or was given up.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{Body, BodyError};

/// Watches a body. It is dropped with the body: when all of it has gone, or nobody wants the rest.
pub trait Watch: Send + Unpin + 'static {
    /// These bytes have been taken.
    fn passed(&mut self, _data: &[u8]) {}
}

impl Body {
    /// The same body with somebody who watches it.
    pub fn watched(self, watch: impl Watch) -> Self {
        Self::Stream(Box::pin(Watched { body: self, watch }))
    }
}

struct Watched<W> {
    body: Body,
    watch: W,
}

impl<W: Watch> http_body::Body for Watched<W> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.watch.passed(data);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt as _;
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;

    struct Count(Arc<AtomicU64>);

    impl Watch for Count {
        fn passed(&mut self, data: &[u8]) {
            self.0.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_watches_is_told_what_passes_and_goes_with_the_body() {
        let count = Arc::new(AtomicU64::new(0));
        let mut body = Body::from("four").watched(Count(count.clone()));
        assert_eq!(body.size_hint().exact(), Some(4));
        assert_eq!(count.load(Ordering::Relaxed), 0);
        let frame = body.frame().now_or_never().flatten().expect("a frame").expect("a sound one");
        assert_eq!(frame.into_data().expect("data"), "four");
        assert_eq!((count.load(Ordering::Relaxed), body.is_empty()), (4, true));
        assert_eq!(Arc::strong_count(&count), 2);
        drop(body);
        assert_eq!(Arc::strong_count(&count), 1);
    }
}
