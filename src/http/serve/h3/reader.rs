//! Reading what a stream brings, with a bound on what is held of it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use quinn::ReadError;

use super::code::Code;

/// So much is read at once, in bytes.
const READ_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    /// What is read comes here first, so that a stream that waits has no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES_MAX].into());
}

/// Where bytes of the client's come from.
pub(super) trait Source {
    /// Reads some of them; none at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, ReadError>>;

    /// Asks the client to send no more.
    fn stop(&mut self, code: Code);
}

impl Source for quinn::RecvStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, ReadError>> {
        Self::poll_read(self, cx, buf)
    }

    fn stop(&mut self, code: Code) {
        // That it was stopped or has ended before changes nothing.
        let _ = Self::stop(self, code.into());
    }
}

/// A stream in the client's direction. Dropped before its end, it asks the client to send no more.
pub(super) struct Reader<S: Source = quinn::RecvStream> {
    source: S,
    /// What was read and not taken yet: less than a frame that must be whole, and one read.
    held: BytesMut,
    has_ended: bool,
}

impl<S: Source> Reader<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, held: BytesMut::new(), has_ended: false }
    }

    /// What was read and not taken yet.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Reads some more; false at the end of the stream.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ReadError>> {
        self.poll_read(cx, READ_BYTES_MAX, |held, read| held.extend_from_slice(read))
    }

    /// Takes what is there, at most so many bytes; nothing at the end of the stream.
    pub(super) fn poll_take(&mut self, cx: &mut Context<'_>, max: u64) -> Poll<Result<Bytes, ReadError>> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        if !self.held.is_empty() {
            let length = self.held.len().min(max);
            return Poll::Ready(Ok(self.take(length)));
        }
        let mut taken = Bytes::new();
        ready!(self.poll_read(cx, max.min(READ_BYTES_MAX), |_, read| taken = Bytes::copy_from_slice(read)))?;
        Poll::Ready(Ok(taken))
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        keep: impl FnOnce(&mut BytesMut, &[u8]),
    ) -> Poll<Result<bool, ReadError>> {
        if self.has_ended {
            return Poll::Ready(Ok(false));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let length = ready!(self.source.poll_read(cx, &mut scratch[..max]))?;
            self.has_ended = length == 0;
            keep(&mut self.held, &scratch[..length]);
            Poll::Ready(Ok(length > 0))
        })
    }

    /// Takes so many bytes of those that are held.
    pub(super) fn take(&mut self, length: usize) -> Bytes {
        self.held.split_to(length).freeze()
    }

    /// Leaves out so many bytes of those that are held.
    pub(super) fn skip(&mut self, length: usize) {
        self.held.advance(length);
    }

    /// Waits for some more; false at the end of the stream.
    pub(super) async fn more(&mut self) -> Result<bool, ReadError> {
        poll_fn(|cx| self.poll_more(cx)).await
    }

    /// Asks the client to send no more.
    pub(super) fn stop(&mut self, code: Code) {
        self.has_ended = true;
        self.source.stop(code);
    }
}

impl<S: Source> Drop for Reader<S> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.stop(Code::NoError);
        }
    }
}

/// The integer that some bytes begin with, and its length (RFC 9000 section 16); nothing if it is
/// not whole.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(1..length)?;
    let start = u64::from(first & 0b0011_1111);
    Some((rest.iter().fold(start, |value, byte| value << 8 | u64::from(*byte)), length))
}

/// Writes an integer in that form.
pub(super) fn put_varint(buf: &mut BytesMut, value: u64) {
    let (length, mark) = match value {
        ..0x40 => (1, 0b0000_0000),
        0x40..0x4000 => (2, 0b0100_0000),
        0x4000..0x4000_0000 => (4, 0b1000_0000),
        // There are none above 2^62.
        _ => (8, 0b1100_0000),
    };
    let at = buf.len();
    buf.extend_from_slice(&value.to_be_bytes()[8 - length..]);
    buf[at] |= mark;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_rfc_9000() {
        // Appendix A.1.
        for (bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ] {
            assert_eq!(varint(bytes), Some((value, bytes.len())));
            assert_eq!(varint(&bytes[..bytes.len() - 1]), None);
            let mut written = BytesMut::new();
            put_varint(&mut written, value);
            assert_eq!(written, bytes);
        }
    }
}
