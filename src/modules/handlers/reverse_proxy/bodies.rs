//! Bodies on their way through: counted while they last.

use super::hosts::InFlight;
use crate::http::{Body, Watch};
pub use crate::http::{discard, gather, repeat};

/// No buffer grows beyond this, `unlimited` or not.
pub const BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request counts as running until its answer has been sent or given up.
impl Watch for InFlight {}

/// `body`, with the request counted until its end.
pub fn counted(body: Body, running: InFlight) -> Body {
    match body {
        // Nothing more will come from the upstream.
        Body::Empty | Body::Full(_) => body,
        body => body.watched(running),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Frame;

    use super::super::hosts::Host;
    use super::*;
    use crate::http::BodyError;

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
