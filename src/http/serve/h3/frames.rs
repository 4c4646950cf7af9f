//! The frames of a request (RFC 9114 sections 4.1 and 7): a head, data, and maybe trailers.
//!
//! Only heads and trailers are kept until they are whole, and they have a bound; data goes on as it
//! comes, and frames that we don't know are left out as they come.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use quinn::ReadError;

use super::code::Code;
use super::reader::{Reader, Source, put_varint, varint};

pub(super) const DATA: u64 = 0x00;
pub(super) const HEADERS: u64 = 0x01;
pub(super) const CANCEL_PUSH: u64 = 0x03;
pub(super) const SETTINGS: u64 = 0x04;
pub(super) const PUSH_PROMISE: u64 = 0x05;
pub(super) const GOAWAY: u64 = 0x07;
pub(super) const MAX_PUSH_ID: u64 = 0x0d;
/// Frames of HTTP/2, which must not be there (RFC 9114 section 7.2.8).
pub(super) const OF_HTTP_2: [u64; 4] = [0x02, 0x06, 0x08, 0x09];

/// Why a stream can't be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The client has taken back the request, or is gone.
    #[error(transparent)]
    Lost(#[from] ReadError),
    /// The stream is over, the others go on.
    #[error("malformed request: {0:?}")]
    Stream(Code),
    /// The connection is over.
    #[error("malformed frames: {0:?}")]
    Connection(Code),
    /// A head or trailers have more bytes than they may.
    #[error("the field section is too large")]
    TooLarge,
}

/// A part of a request behind its head.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    /// A field section, not decoded yet.
    Trailers(Bytes),
}

/// Where a request stands.
#[derive(Clone, Copy)]
enum At {
    /// Between frames.
    Between,
    /// In data, with this much to come.
    Data(u64),
    /// In a field section of this length.
    Section(usize),
    /// In a frame that we don't know, with this much to come.
    Unknown(u64),
}

/// The frames of a request.
pub(super) struct Frames<S: Source = quinn::RecvStream> {
    reader: Reader<S>,
    at: At,
    /// A field section has at most so many bytes.
    section_bytes_max: usize,
    /// There may be no more of it.
    has_trailers: bool,
    has_ended: bool,
    /// What a look ahead has found, until it is told.
    failure: Option<FrameError>,
}

impl<S: Source> Frames<S> {
    pub(super) fn new(source: S, section_bytes_max: usize) -> Self {
        Self {
            reader: Reader::new(source),
            at: At::Between,
            section_bytes_max,
            has_trailers: false,
            has_ended: false,
            failure: None,
        }
    }

    /// Asks the client to send no more.
    pub(super) fn stop(&mut self, code: Code) {
        self.reader.stop(code);
    }

    /// How much was read and waits for the rest of a frame, in bytes.
    #[cfg(any(test, fuzzing))]
    pub(super) fn held(&self) -> usize {
        self.reader.held().len()
    }

    /// The section of the request's head.
    ///
    /// # Errors
    /// [`FrameError`], and `H3_REQUEST_INCOMPLETE` for a stream without a head.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, FrameError>> {
        loop {
            match self.at {
                At::Section(length) => return self.poll_section(cx, length),
                At::Data(_) => return Poll::Ready(Err(FrameError::Connection(Code::FrameUnexpected))),
                At::Between | At::Unknown(_) => {
                    if !ready!(self.poll_next(cx))? {
                        return Poll::Ready(Err(FrameError::Stream(Code::RequestIncomplete)));
                    }
                }
            }
        }
    }

    /// What comes next behind the head; nothing at the end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, FrameError>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        loop {
            let next = match self.at {
                At::Data(0) => {
                    self.at = At::Between;
                    continue;
                }
                At::Data(left) => ready!(self.poll_data(cx, left)).map(Piece::Data),
                At::Section(length) => {
                    self.has_trailers = true;
                    ready!(self.poll_section(cx, length)).map(Piece::Trailers)
                }
                At::Between | At::Unknown(_) => match ready!(self.poll_next(cx)) {
                    Ok(true) if self.has_trailers => Err(FrameError::Connection(Code::FrameUnexpected)),
                    Ok(true) => continue,
                    Ok(false) => {
                        self.has_ended = true;
                        return Poll::Ready(None);
                    }
                    Err(error) => Err(error),
                },
            };
            return Poll::Ready(Some(next));
        }
    }

    /// Goes on to what is behind the head, so that it is known whether there is anything.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.has_ended && self.failure.is_none() {
            match self.at {
                At::Data(0) => self.at = At::Between,
                At::Data(_) | At::Section(_) => break,
                At::Between | At::Unknown(_) => match ready!(self.poll_next(cx)) {
                    Ok(goes_on) => self.has_ended = !goes_on,
                    Err(error) => self.failure = Some(error),
                },
            }
        }
        Poll::Ready(())
    }

    /// Whether nothing more comes, as far as is known.
    pub(super) fn is_at_end(&self) -> bool {
        self.has_ended
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, left: u64) -> Poll<Result<Bytes, FrameError>> {
        let data = ready!(self.reader.poll_take(cx, left))?;
        if data.is_empty() {
            return Poll::Ready(Err(FrameError::Connection(Code::Frame)));
        }
        self.at = At::Data(left.saturating_sub(data.len() as u64));
        Poll::Ready(Ok(data))
    }

    fn poll_section(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<Result<Bytes, FrameError>> {
        while self.reader.held().len() < length {
            if !ready!(self.reader.poll_more(cx))? {
                return Poll::Ready(Err(FrameError::Connection(Code::Frame)));
            }
        }
        self.at = At::Between;
        Poll::Ready(Ok(self.reader.take(length)))
    }

    /// Goes on to the next frame that we know; false at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, FrameError>> {
        loop {
            if let At::Unknown(0) = self.at {
                self.at = At::Between;
            }
            if let At::Unknown(left) = self.at {
                let skipped = ready!(self.reader.poll_take(cx, left))?.len() as u64;
                if skipped == 0 {
                    return Poll::Ready(Err(FrameError::Connection(Code::Frame)));
                }
                self.at = At::Unknown(left.saturating_sub(skipped));
                continue;
            }
            if let Some((kind, length)) = self.frame_start() {
                self.at = self.begin(kind, length)?;
                if let At::Unknown(_) = self.at {
                    continue;
                }
                return Poll::Ready(Ok(true));
            }
            if !ready!(self.reader.poll_more(cx))? {
                let is_cut = !self.reader.held().is_empty();
                let end = if is_cut { Err(FrameError::Connection(Code::Frame)) } else { Ok(false) };
                return Poll::Ready(end);
            }
        }
    }

    /// Takes a frame's type and length, once both are there.
    fn frame_start(&mut self) -> Option<(u64, u64)> {
        let (kind, kind_length) = varint(self.reader.held())?;
        let (length, length_length) = varint(&self.reader.held()[kind_length..])?;
        self.reader.skip(kind_length + length_length);
        Some((kind, length))
    }

    fn begin(&self, kind: u64, length: u64) -> Result<At, FrameError> {
        match kind {
            DATA => Ok(At::Data(length)),
            HEADERS => match usize::try_from(length) {
                Ok(length) if length <= self.section_bytes_max => Ok(At::Section(length)),
                _ => Err(FrameError::TooLarge),
            },
            CANCEL_PUSH | SETTINGS | PUSH_PROMISE | GOAWAY | MAX_PUSH_ID => {
                Err(FrameError::Connection(Code::FrameUnexpected))
            }
            kind if OF_HTTP_2.contains(&kind) => Err(FrameError::Connection(Code::FrameUnexpected)),
            _ => Ok(At::Unknown(length)),
        }
    }
}

/// A frame's type and length, with room for what follows.
pub(super) fn start(kind: u64, length: usize) -> BytesMut {
    const LENGTH_MAX: usize = 16;
    let mut start = BytesMut::with_capacity(LENGTH_MAX);
    put_varint(&mut start, kind);
    put_varint(&mut start, length as u64);
    start
}
