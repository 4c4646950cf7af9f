//! A body that is compressed while it passes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use crate::http::{Body, BodyError, Encoder};

/// So much is compressed in one go, so that others have their turn on the worker.
const WORK_BYTES: usize = 128 * 1024;
/// The compressor is given pieces of this size.
const PIECE_BYTES: usize = 32 * 1024;
/// What was compressed leaves when it is so much.
const OUT_BYTES: usize = 16 * 1024;

/// A body and what compresses it. Of what has come in, it keeps the frame at hand and what the
/// compressor keeps; when nothing more comes, everything that came goes out.
pub(super) struct EncodedBody {
    body: Body,
    /// None when the end has been written.
    encoder: Option<Box<dyn Encoder>>,
    /// What was read and is to be compressed next.
    input: Bytes,
    out: Vec<u8>,
    /// So much of the body has been compressed.
    pub(super) taken: u64,
    /// Something of it is still inside the compressor.
    is_dirty: bool,
    tail: Option<Tail>,
}

/// What comes behind the data.
enum Tail {
    Trailers(HeaderMap),
    Failure(BodyError),
}

impl EncodedBody {
    /// `body`, compressed by `encoder`.
    pub(super) fn new(body: Body, encoder: Box<dyn Encoder>) -> Self {
        let (input, out) = (Bytes::new(), Vec::new());
        Self { body, encoder: Some(encoder), input, out, taken: 0, is_dirty: false, tail: None }
    }

    /// All of it, if that is to be had, is not longer than `bytes_max`, and nothing comes behind it.
    pub(super) fn whole(&mut self, bytes_max: usize) -> Option<Bytes> {
        let is_whole = self.encoder.is_none() && self.tail.is_none() && self.out.len() <= bytes_max;
        is_whole.then(|| std::mem::take(&mut self.out).into())
    }

    /// Whether `poll_fill` may bring more that [`Self::whole`] could use.
    pub(super) fn is_open(&self, bytes_max: usize) -> bool {
        self.encoder.is_some() && self.out.len() <= bytes_max
    }

    /// Compresses some of what there is. Waits only if there is nothing; `flushes` says that what is
    /// inside the compressor goes out before that.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, flushes: bool) -> Poll<()> {
        let until = self.taken + WORK_BYTES as u64;
        while self.encoder.is_some() && self.out.len() < OUT_BYTES && self.taken < until {
            if !self.input.is_empty() {
                self.compress_piece();
                continue;
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending if flushes && self.is_dirty => {
                    self.flush();
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.finish(),
                Poll::Ready(Some(Err(error))) => {
                    self.flush();
                    self.fail(error);
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.input = data,
                    Err(frame) => {
                        self.finish();
                        if let (Ok(trailers), None) = (frame.into_trailers(), &self.tail) {
                            self.tail = Some(Tail::Trailers(trailers));
                        }
                    }
                },
            }
        }
        Poll::Ready(())
    }

    fn compress_piece(&mut self) {
        let piece = self.input.split_to(self.input.len().min(PIECE_BYTES));
        self.taken += piece.len() as u64;
        self.is_dirty = true;
        self.run(|encoder, out| encoder.write(&piece, out));
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.is_dirty) {
            self.run(|encoder, out| encoder.flush(out));
        }
    }

    fn finish(&mut self) {
        self.run(|encoder, out| encoder.finish(out));
        // Neither is held while the client takes the rest.
        self.encoder = None;
        self.body = Body::Empty;
    }

    fn fail(&mut self, error: BodyError) {
        self.encoder = None;
        self.body = Body::Empty;
        self.tail = Some(Tail::Failure(error));
    }

    fn run(&mut self, step: impl FnOnce(&mut dyn Encoder, &mut Vec<u8>) -> std::io::Result<()>) {
        let Some(encoder) = self.encoder.as_deref_mut() else { return };
        if let Err(error) = step(encoder, &mut self.out) {
            self.fail(error.into());
        }
    }
}

impl http_body::Body for EncodedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.out.is_empty() {
            ready!(this.poll_fill(cx, true));
            if this.out.is_empty() {
                // A long stretch of what can be said in a few bytes.
                this.flush();
            }
        }
        if !this.out.is_empty() {
            let out = std::mem::take(&mut this.out);
            return Poll::Ready(Some(Ok(Frame::data(out.into()))));
        }
        Poll::Ready(match this.tail.take() {
            Some(Tail::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Tail::Failure(error)) => Some(Err(error)),
            None if this.encoder.is_some() => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.out.is_empty() && self.tail.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;

    use super::*;

    type Pieces = mpsc::Sender<Result<Frame<Bytes>, BodyError>>;

    /// A body that is given its pieces one by one.
    struct Fed(mpsc::Receiver<Result<Frame<Bytes>, BodyError>>);

    impl http_body::Body for Fed {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.0.poll_recv(cx)
        }
    }

    fn gzip() -> Box<dyn Encoder> {
        crate::modules::encoders::provision("gzip", &serde_json::json!({})).unwrap().1.begin().unwrap()
    }

    fn fed() -> (Pieces, EncodedBody) {
        let (pieces, fed) = mpsc::channel(8);
        (pieces, EncodedBody::new(Body::stream(Fed(fed)), gzip()))
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, BodyError> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    fn unpacked(packed: &[u8]) -> String {
        let (mut text, mut piece) = (Vec::new(), [0; 100]);
        let mut reader = flate2::read::GzDecoder::new(packed);
        while let Ok(n @ 1..) = reader.read(&mut piece) {
            text.extend_from_slice(&piece[..n]);
        }
        String::from_utf8(text).unwrap()
    }

    fn run(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
    }

    #[test]
    fn each_piece_can_be_read_when_it_has_come_and_trailers_follow() {
        run(async {
            let (pieces, mut body) = fed();
            let (mut packed, mut whole) = (Vec::new(), String::new());
            for piece in ["{\"n\":1}\n", "{\"n\":2}\n", "{\"n\":3}\n"] {
                pieces.send(data(piece)).await.unwrap();
                whole += piece;
                packed.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
                assert_eq!(unpacked(&packed), whole);
            }
            assert!(!body.is_end_stream());
            let trailers = HeaderMap::from_iter([(http::header::ETAG, "t".parse().unwrap())]);
            pieces.send(Ok(Frame::trailers(trailers))).await.unwrap();
            packed.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
            let mut text = String::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
            assert_eq!(text, whole, "with its end");
            assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap()["etag"], "t");
            assert!(body.is_end_stream() && body.frame().await.is_none());
        });
    }

    #[test]
    fn what_came_before_a_failure_goes_out_before_it() {
        run(async {
            let (pieces, mut body) = fed();
            pieces.send(data("so far")).await.unwrap();
            pieces.send(Err("broke off".into())).await.unwrap();
            let packed = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(unpacked(&packed), "so far");
            assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "broke off");
            assert!(body.frame().await.is_none());
        });
    }

    #[test]
    fn nothing_is_read_before_it_is_asked_for_and_little_at_a_time() {
        run(async {
            let size = 3_000_000;
            let zeros = Bytes::from(vec![b'0'; size]);
            let mut body = EncodedBody::new(Body::Full(zeros), gzip());
            assert_eq!(body.taken, 0);
            let (mut packed, mut before) = (Vec::new(), 0);
            while let Some(frame) = body.frame().await {
                let frame = frame.unwrap().into_data().unwrap();
                assert!(!frame.is_empty() && frame.len() <= 2 * OUT_BYTES);
                packed.extend_from_slice(&frame);
                assert!(body.taken - before <= 2 * WORK_BYTES as u64);
                before = body.taken;
            }
            assert_eq!(unpacked(&packed), "0".repeat(size));
        });
    }

    #[test]
    fn a_short_body_is_to_be_had_whole() {
        run(async {
            let (pieces, mut body) = fed();
            pieces.send(data("one")).await.unwrap();
            let waits = std::future::poll_fn(|cx| Poll::Ready(body.poll_fill(cx, false).is_pending())).await;
            assert!(waits && body.is_open(100) && body.whole(100).is_none());
            drop(pieces);
            std::future::poll_fn(|cx| body.poll_fill(cx, false)).await;
            assert!(!body.is_open(100) && body.whole(1).is_none());
            assert_eq!(unpacked(&body.whole(100).unwrap()), "one");
        });
    }
}
