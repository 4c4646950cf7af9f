//! Bodies on their way through: counted while they last.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::hosts::InFlight;
use crate::http::{Body, BodyError};
pub use crate::http::{discard, gather, repeat};

/// No buffer grows beyond this, `unlimited` or not.
pub const BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A body whose request counts as running until it has been sent or given up.
struct Counted {
    body: Body,
    _running: InFlight,
}

/// `body`, with the request counted until its end.
pub fn counted(body: Body, running: InFlight) -> Body {
    match body {
        // Nothing more will come from the upstream.
        Body::Empty | Body::Full(_) => body,
        body => Body::stream(Counted { body, _running: running }),
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
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
    use super::super::hosts::Host;
    use super::*;

    fn chunks(parts: &'static [&'static str]) -> Body {
        let frames =
            parts.iter().map(|part| Ok::<_, BodyError>(Frame::data(Bytes::from_static(part.as_bytes()))));
        Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames)))
    }

    #[test]
    fn a_request_counts_until_its_body_is_gone() {
        let host = Host::named("counted.test:1");
        let body = counted(chunks(&["a"]), host.begin(None));
        assert_eq!(host.in_flight(), 1);
        drop(body);
        assert_eq!(host.in_flight(), 0);
        let _body = counted(Body::from("all here"), host.begin(None));
        assert_eq!(host.in_flight(), 0);
    }
}
