//! Bodies of which a part is held in memory: read so far, and still to be sent.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::{Body, BodyError};

/// A body that was gathered: what was read of it, and what is still to come.
pub struct Gathered {
    /// What was read, in the order it came.
    pub frames: VecDeque<Frame<Bytes>>,
    /// What is still to come; nothing if the body has ended.
    pub rest: Option<Body>,
    /// The length that the body had announced.
    length: Option<u64>,
    /// Why reading it broke off.
    error: Option<BodyError>,
}

/// Reads up to `limit` bytes of `body`.
pub async fn gather(mut body: Body, limit: usize) -> Gathered {
    let length = body.size_hint().exact();
    let mut gathered = Gathered { frames: VecDeque::new(), rest: None, length, error: None };
    let mut bytes = 0;
    while bytes < limit {
        match body.frame().await {
            None => return gathered,
            Some(Ok(frame)) => {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                gathered.frames.push_back(frame);
            }
            Some(Err(error)) => {
                gathered.error = Some(error);
                return gathered;
            }
        }
    }
    gathered.rest = Some(body);
    gathered
}

/// Reads the first data of `body`, and of what is there behind it so much that there are `limit` bytes.
pub async fn gather_arrived(mut body: Body, limit: usize) -> Gathered {
    let length = body.size_hint().exact();
    let mut gathered = Gathered { frames: VecDeque::new(), rest: None, length, error: None };
    let mut bytes = 0;
    while bytes < limit {
        let frame = match bytes {
            0 => body.frame().await,
            _ => match body.frame().now_or_never() {
                Some(frame) => frame,
                None => break,
            },
        };
        match frame {
            None => return gathered,
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
            Some(Ok(frame)) => {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                gathered.frames.push_back(frame);
            }
            Some(Err(error)) => {
                gathered.error = Some(error);
                return gathered;
            }
        }
    }
    gathered.rest = Some(body);
    gathered
}

impl Gathered {
    /// So many bytes were read.
    pub fn bytes(&self) -> usize {
        self.frames.iter().filter_map(Frame::data_ref).map(Bytes::len).sum()
    }

    /// The whole body, if it was read to its end and can be sent more than once.
    pub fn whole(&self) -> Option<Bytes> {
        if self.rest.is_some() || self.error.is_some() {
            return None;
        }
        let parts: Vec<&[u8]> =
            self.frames.iter().filter_map(Frame::data_ref).map(|data| &data[..]).collect();
        Some(parts.concat().into())
    }

    /// Whether the body's length had been announced, so that it can be announced again.
    pub fn has_length(&self) -> bool {
        self.length.is_some()
    }

    /// The first bytes that were read.
    pub fn start(&self) -> &[u8] {
        self.frames.front().and_then(Frame::data_ref).map_or(b"", |data| data)
    }

    /// The body as it was, to be read again from its start.
    pub fn into_body(self) -> Body {
        if self.frames.is_empty() && self.rest.is_none() && self.error.is_none() && self.length == Some(0) {
            return Body::Empty;
        }
        Body::stream(Rejoined(self))
    }
}

/// A body that was gathered whole, once more.
pub fn repeat(whole: Bytes, has_length: bool) -> Body {
    if has_length {
        return Body::from(whole);
    }
    let frames = VecDeque::from([Frame::data(whole)]);
    Gathered { frames, rest: None, length: None, error: None }.into_body()
}

/// Lets go of a body. If all of it has come already, its connection serves the next request;
/// nothing is waited for.
pub fn discard(mut body: Body) {
    // A frame has at most the size of one read, and an endless body is one that keeps us waiting or
    // shows here.
    const FRAMES_MAX: usize = 8;
    for _ in 0..FRAMES_MAX {
        match body.frame().now_or_never() {
            Some(Some(Ok(_))) => {}
            _ => return,
        }
    }
}

/// What was read, and then what is still to come.
struct Rejoined(Gathered);

impl http_body::Body for Rejoined {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Gathered { frames, rest, error, length } = &mut self.get_mut().0;
        if let Some(frame) = frames.pop_front() {
            if let (Some(length), Some(data)) = (length.as_mut(), frame.data_ref()) {
                *length = length.saturating_sub(data.len() as u64);
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let Gathered { frames, rest, error, .. } = &self.0;
        frames.is_empty() && error.is_none() && rest.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (self.0.length, &self.0.rest) {
            (Some(length), _) if !self.0.frames.is_empty() => SizeHint::with_exact(length),
            (Some(length), None) => SizeHint::with_exact(length),
            (Some(_), Some(rest)) => rest.size_hint(),
            (None, _) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(parts: &'static [&'static str]) -> Body {
        let frames =
            parts.iter().map(|part| Ok::<_, BodyError>(Frame::data(Bytes::from_static(part.as_bytes()))));
        Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames)))
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn text(body: Body) -> String {
        let bytes = run(body.collect()).unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_body_within_the_limit_is_gathered_whole() {
        let gathered = run(gather(chunks(&["one", "two"]), 100));
        assert_eq!(gathered.whole().unwrap(), "onetwo");
        assert!(!gathered.has_length());
        assert_eq!(gathered.start(), b"one");
        let body = gathered.into_body();
        assert_eq!(body.size_hint().exact(), None);
        assert_eq!(text(body), "onetwo");
    }

    #[test]
    fn of_a_longer_one_the_rest_streams() {
        let gathered = run(gather(chunks(&["one", "two", "three"]), 4));
        assert_eq!(gathered.frames.len(), 2);
        assert!(gathered.whole().is_none());
        assert_eq!(text(gathered.into_body()), "onetwothree");
    }

    #[test]
    fn an_announced_length_stays_announced() {
        let gathered = run(gather(Body::from("12345".to_owned().into_bytes()), 100));
        assert!(gathered.has_length());
        let body = gathered.into_body();
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(text(body), "12345");
        assert!(matches!(run(gather(Body::Empty, 100)).into_body(), Body::Empty));
    }

    #[test]
    fn a_failure_shows_where_it_happened() {
        let frames = [Ok(Frame::data(Bytes::from_static(b"a"))), Err(BodyError::from("broke off"))];
        let body = Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
        let gathered = run(gather(body, 100));
        assert!(gathered.whole().is_none());
        let mut body = gathered.into_body();
        assert!(run(body.frame()).unwrap().is_ok());
        assert!(run(body.frame()).unwrap().is_err());
    }
}
