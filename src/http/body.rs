//! The body of a request or an answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::serve::ClientBody;
use super::upstream::UpstreamBody;

/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body has more bytes than a handler allows, which is 413 to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("http: request body too large")]
pub struct BodyTooLarge {
    /// So many it may have.
    pub bytes_max: u64,
}

/// A body as it passes through: nothing, bytes in memory, a client's or an upstream's stream.
///
/// The variants that a proxied request needs are held without a box of their own.
#[derive(Default)]
pub enum Body {
    /// No body at all.
    #[default]
    Empty,
    /// All of it, in memory.
    Full(Bytes),
    /// What a client sends over HTTP/1.
    Client(ClientBody),
    /// What a peer of hyper's sends.
    Incoming(Incoming),
    /// What an HTTP/1 upstream sends.
    Upstream(UpstreamBody),
    /// Anything else, such as a file or a filtered body.
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    /// A body that streams whatever `body` yields.
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        use http_body_util::BodyExt as _;
        Self::Stream(Box::pin(body.map_err(Into::into)))
    }

    /// Takes all of the body, if it is in memory, has so many bytes at most, and its length is known.
    pub fn take_whole(&mut self, bytes_max: usize) -> Option<Bytes> {
        match self {
            Self::Full(bytes) if bytes.len() <= bytes_max => {
                let whole = std::mem::take(bytes);
                *self = Self::Empty;
                Some(whole)
            }
            Self::Client(client) => client.take_whole(bytes_max),
            _ => None,
        }
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        http_body::Body::is_end_stream(self)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        if text.is_empty() { Self::Empty } else { Self::Full(Bytes::from_static(text.as_bytes())) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes.into()) }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Client(client) => client.poll_frame(cx),
            Self::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Into::into),
            Self::Upstream(upstream) => {
                let frame = upstream.poll_frame(cx);
                if upstream.is_finished()
                    && let Self::Upstream(upstream) = std::mem::take(this)
                {
                    upstream.finish();
                }
                frame
            }
            Self::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Client(client) => client.is_end_stream(),
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Upstream(upstream) => upstream.is_finished(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Client(client) => client.size_hint(),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Upstream(upstream) => upstream.length().map_or_else(SizeHint::new, SizeHint::with_exact),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Client(_) => "Client",
            Self::Incoming(_) => "Incoming",
            Self::Upstream(_) => "Upstream",
            Self::Stream(_) => "Stream",
        })
    }
}
