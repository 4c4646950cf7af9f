//! An answer on its way to the client.

use std::io::{IoSlice, Write as _};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::response;
use http_body::Body as _;

use super::answer::{self, Asked, Framing};
use super::link::{Link, lock};
use crate::http::serve::listener::Transport;
use crate::http::{Body, BodyError, buffers};

/// Pieces of a body that are no longer than this are put behind each other, so that one call sends them:
/// that costs less than the kernel's work with a list of pieces. Longer ones are never copied.
const COPY_BYTES_MAX: usize = 4 * 1024;
/// So much is gathered before the client has to take some of it.
const GATHERED_BYTES_MAX: usize = 16 * 1024;
/// An answer that is sent without ever waiting lets others have their turn after so many calls.
const WRITES_IN_A_ROW: u32 = 16;

/// Why an answer did not reach its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// The client has gone, or took nothing for too long.
    #[error(transparent)]
    Client(#[from] std::io::Error),
    /// The body broke off.
    #[error("body: {0}")]
    Body(BodyError),
    /// The body had less than was announced.
    #[error("body shorter than its Content-Length")]
    Short,
}

/// An answer, and how much of it has been sent.
pub(super) struct Output {
    /// What is to be sent next, of which `sent` bytes have been.
    out: Vec<u8>,
    sent: usize,
    /// What follows it without being copied, and what follows that.
    long: Bytes,
    behind_long: &'static [u8],
    body: Body,
    framing: Framing,
    /// Nothing more comes from the body.
    is_over: bool,
    /// Why it broke off. What came before is still sent.
    failure: Option<AnswerError>,
    /// The connection ends behind this answer.
    pub(super) is_last: bool,
}

impl Output {
    /// An answer to a request that was `asked`, behind interim ones that have not been sent.
    pub(super) fn new(interim: &[u8], parts: &response::Parts, body: Body, asked: Asked) -> Self {
        let mut out = buffers::take();
        out.extend_from_slice(interim);
        let length = body.size_hint().exact();
        let (framing, is_last) = answer::write_head(&mut out, parts, length, asked);
        // A body that is not sent is not asked for anything.
        let is_over = matches!(framing, Framing::None | Framing::Length(0));
        let body = if is_over { Body::Empty } else { body };
        let (long, behind_long) = (Bytes::new(), &b""[..]);
        Self { out, sent: 0, long, behind_long, body, framing, is_over, failure: None, is_last }
    }

    /// Sends all there is; ready once that was everything.
    pub(super) fn poll<T: Transport>(
        &mut self,
        cx: &mut Context<'_>,
        link: &Mutex<Link<T>>,
    ) -> Poll<Result<(), AnswerError>> {
        for _ in 0..WRITES_IN_A_ROW {
            self.gather(cx);
            let mut link = lock(link);
            if self.is_sent() {
                let flushed = link.poll_flush(cx)?;
                if self.is_over {
                    ready!(flushed);
                    return Poll::Ready(self.failure.take().map_or(Ok(()), Err));
                }
                return self.wait(cx, &mut link);
            }
            let pieces = [&self.out[self.sent..], &self.long, self.behind_long];
            let written = match pieces {
                [out, [], []] => link.poll_write(cx, &[IoSlice::new(out)]),
                pieces => link.poll_write(cx, &pieces.map(IoSlice::new)),
            };
            match written? {
                Poll::Ready(length) => self.advance(length),
                Poll::Pending => return self.wait(cx, &mut link),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// While neither the body nor the client goes on, the client may leave.
    fn wait<T: Transport>(&self, cx: &mut Context<'_>, link: &mut Link<T>) -> Poll<Result<(), AnswerError>> {
        link.poll_watch(cx).map(|error| Err(error.into()))
    }

    fn is_sent(&self) -> bool {
        self.sent == self.out.len() && self.long.is_empty() && self.behind_long.is_empty()
    }

    /// Notes that so many bytes have been sent.
    fn advance(&mut self, length: usize) {
        let part = length.min(self.out.len() - self.sent);
        self.sent += part;
        let length = length - part;
        let part = length.min(self.long.len());
        self.long.advance(part);
        self.behind_long = &self.behind_long[(length - part).min(self.behind_long.len())..];
        if self.is_sent() {
            self.out.clear();
            self.sent = 0;
            // While nothing is there to be sent, nothing is held.
            if !self.is_over {
                buffers::give_back(std::mem::take(&mut self.out));
            }
        }
    }

    /// Takes what the body has now, as far as it can be sent together.
    fn gather(&mut self, cx: &mut Context<'_>) {
        // Behind what is long comes nothing before that has gone, the end of its chunk included.
        while !self.is_over
            && self.long.is_empty()
            && self.behind_long.is_empty()
            && self.out.len() < GATHERED_BYTES_MAX
        {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return,
                Poll::Ready(frame) => frame,
            };
            if self.out.capacity() == 0 {
                self.out = buffers::take();
            }
            match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                Some(Ok(Ok(data))) => self.put(data),
                Some(Ok(Err(frame))) => {
                    if let (Framing::Chunks, Ok(trailers)) = (self.framing, frame.into_trailers()) {
                        answer::write_trailers(&mut self.out, &trailers);
                        self.end();
                    }
                }
                Some(Err(error)) => {
                    self.failure = Some(AnswerError::Body(error));
                    self.end();
                }
                None => {
                    match self.framing {
                        Framing::Chunks => self.out.extend_from_slice(b"0\r\n\r\n"),
                        Framing::Length(_) => self.failure = Some(AnswerError::Short),
                        Framing::None | Framing::Close => {}
                    }
                    self.end();
                }
            }
        }
    }

    /// The body is done with: it lets go of what it holds.
    fn end(&mut self) {
        self.is_over = true;
        self.body = Body::Empty;
    }

    /// Puts data of the body behind what is to be sent.
    fn put(&mut self, mut data: Bytes) {
        if data.is_empty() {
            return;
        }
        if let Framing::Length(owed) = &mut self.framing {
            // What is more than was announced would be read as another answer.
            data.truncate(usize::try_from(*owed).unwrap_or(usize::MAX));
            *owed -= data.len() as u64;
            if *owed == 0 {
                self.end();
            }
        }
        let is_chunk = self.framing == Framing::Chunks;
        if is_chunk {
            // Writing to a Vec can't fail.
            let _ = write!(self.out, "{:x}\r\n", data.len());
        }
        if data.len() > COPY_BYTES_MAX {
            self.long = data;
            if is_chunk {
                self.behind_long = b"\r\n";
            }
            return;
        }
        self.out.extend_from_slice(&data);
        if is_chunk {
            self.out.extend_from_slice(b"\r\n");
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        buffers::give_back(std::mem::take(&mut self.out));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::task::Waker;

    use http::Version;
    use http_body::Frame;
    use proptest::prelude::*;

    use super::*;
    use crate::http::chunked::{Chunked, Piece};
    use crate::http::serve::h1::scripted::Scripted;

    /// Frames of these lengths, with a pause before those of length 0, and trailers if they are wanted.
    struct Frames(VecDeque<usize>, bool);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            match self.0.pop_front() {
                Some(0) => Poll::Pending,
                Some(length) => {
                    let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + length) as u8).collect();
                    Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
                }
                None if std::mem::take(&mut self.1) => {
                    let trailers = [("x-sum".parse().unwrap(), "7".parse().unwrap())].into_iter().collect();
                    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                }
                None => Poll::Ready(None),
            }
        }
    }

    /// What a client that takes its answer like this gets of it.
    fn sent(frames: &[usize], trailers: bool, takes: &[u16]) -> Vec<u8> {
        let client = Scripted::takes(takes);
        let got = client.got();
        let link = Mutex::new(client.link(Bytes::new(), 1000));
        let (parts, ()) = http::Response::new(()).into_parts();
        let body = Body::stream(Frames(frames.iter().copied().collect(), trailers));
        let asked = Asked { version: Version::HTTP_11, is_head: false, is_connect: false, is_last: false };
        let mut output = Output::new(b"", &parts, body, asked);
        let mut cx = Context::from_waker(Waker::noop());
        let mut polls = 0;
        while output.poll(&mut cx, &link).map(|done| done.expect("a whole answer")).is_pending() {
            polls += 1;
            assert!(polls < 1_000_000, "it does not go on");
        }
        let got = got.lock().unwrap();
        let end = memchr::memmem::find(&got, b"\r\n\r\n").expect("a head");
        got[end + 4..].to_vec()
    }

    /// Decodes chunks: the data, whether there were trailers, and nothing behind them.
    fn decoded(wire: Vec<u8>) -> (Vec<u8>, bool) {
        let (mut chunked, mut data, mut rest) = (Chunked::default(), Vec::new(), Bytes::from(wire));
        loop {
            match chunked.next(&mut rest).expect("chunks") {
                Piece::Data(piece) => data.extend_from_slice(&piece),
                Piece::More => panic!("cut short"),
                Piece::End => return (data, !rest.is_empty()),
                Piece::Trailers(_) => return (data, rest.is_empty()),
            }
        }
    }

    proptest! {
        #[test]
        fn a_slow_client_gets_the_same_answer(
            frames in prop::collection::vec(prop_oneof![Just(0), 1..40_usize, 4000..9000_usize], 0..8),
            trailers: bool,
            takes in prop::collection::vec(prop_oneof![Just(0_u16), 1..4_u16, 1..6000_u16], 1..20),
        ) {
            // Now and then it takes more, or a long answer would take long.
            let takes = [&takes[..], &[3000]].concat();
            let whole: Vec<u8> = frames
                .iter()
                .flat_map(|length| (0..*length).map(move |at| (at * 7 + length) as u8))
                .collect();
            prop_assert_eq!(decoded(sent(&frames, trailers, &takes)), (whole, trailers));
        }
    }

    #[test]
    fn a_chunks_end_stays_behind_it_wherever_a_write_ends() {
        // The head is 17 + 28 + 37 + 2 bytes long, and each chunk's size line 6.
        for cut in 84 + 6 + 5000 - 2..84 + 6 + 5000 + 4_u16 {
            let wire = sent(&[5000, 10, 5000], false, &[cut, 3, 60_000]);
            assert_eq!(decoded(wire).0.len(), 10_010, "{cut}");
        }
    }
}
