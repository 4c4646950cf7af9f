//! Reads for connections that hold no buffer while they wait.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// A read takes this much at most.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Reads shorter than this are copied, so that a few bytes don't hold on to a large buffer.
const COPY_BYTES_MAX: usize = 4 * 1024;
/// What a head is read with.
const SHORT_READ_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    static LARGE: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(READ_BYTES_MAX));
    static SMALL: RefCell<Box<[u8]>> = RefCell::new(vec![0; SHORT_READ_BYTES_MAX].into());
}

/// What can be read now, as much as it may be; empty at the end of the stream.
pub(super) fn read<T>(io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>>
where
    T: AsyncRead + Unpin,
{
    LARGE.with_borrow_mut(|scratch| {
        // What was handed out as a whole is either free again or replaced here.
        scratch.reserve(READ_BYTES_MAX);
        let length = ready!(pin!(io.read_buf(scratch)).poll(cx))?;
        let bytes = if length <= COPY_BYTES_MAX {
            let bytes = Bytes::copy_from_slice(scratch);
            scratch.clear();
            bytes
        } else {
            scratch.split().freeze()
        };
        Poll::Ready(Ok(bytes))
    })
}

/// The same for what is usually short, such as a head: never more than 16 KiB.
pub(super) fn read_little<T>(io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>>
where
    T: AsyncRead + Unpin,
{
    SMALL.with_borrow_mut(|scratch| {
        let mut buf = ReadBuf::new(scratch);
        ready!(Pin::new(io).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(buf.filled())))
    })
}

/// One behind the other. What comes in many pieces is not copied anew for each.
pub(super) fn join(bytes: Bytes, more: Bytes) -> Bytes {
    if bytes.is_empty() {
        return more;
    }
    let mut joined = bytes.try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
    joined.extend_from_slice(&more);
    joined.freeze()
}
