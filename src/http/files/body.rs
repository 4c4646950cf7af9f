//! A file, or parts of one, as the body of an answer.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::{Frame, SizeHint};

use super::open::{Wait, read_at};
use crate::http::{BodyError, unblock};

/// So much of a file is in memory for one client at most, beside what hyper has not sent yet.
const CHUNK_BYTES: u64 = 64 * 1024;
/// A disk that takes longer than this for one piece has failed.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What a body is made of.
#[derive(Debug)]
pub enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// Bytes of the file from one place up to another.
    File(u64, u64),
}

/// A body that reads a file as fast as the client takes it.
pub struct FileBody {
    file: Arc<File>,
    pieces: VecDeque<Piece>,
    left: u64,
    reading: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send>>;

impl FileBody {
    /// These pieces of `file`, one after the other.
    pub fn new(file: File, pieces: impl IntoIterator<Item = Piece>) -> Self {
        let pieces: VecDeque<Piece> = pieces.into_iter().filter(|piece| piece.bytes() > 0).collect();
        let left = pieces.iter().map(Piece::bytes).sum();
        Self { file: Arc::new(file), pieces, left, reading: None }
    }

    /// Hands on what was read from the first piece.
    fn taken(&mut self, read: Vec<u8>) -> Result<Frame<Bytes>, BodyError> {
        let Some(Piece::File(from, to)) = self.pieces.front_mut() else {
            return Err("nothing was read".into());
        };
        if read.is_empty() {
            // The client was told of more: it must see that something is missing.
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        *from += read.len() as u64;
        if from >= to {
            self.pieces.pop_front();
        }
        self.left -= read.len() as u64;
        Ok(Frame::data(read.into()))
    }
}

impl Piece {
    /// How many bytes it is.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(from, to) => to.saturating_sub(*from),
        }
    }
}

/// Reads the next chunk between two places of a file.
fn chunk(file: &File, from: u64, to: u64, wait: Wait) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; usize::try_from(CHUNK_BYTES.min(to - from)).unwrap_or(usize::MAX)];
    loop {
        match read_at(file, &mut chunk, from, wait) {
            Ok(read) => {
                chunk.truncate(read);
                return Ok(chunk);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The same on the blocking pool.
async fn read_chunk(file: Arc<File>, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let reading = unblock(move || chunk(&file, from, to, Wait::AsNeeded));
    match tokio::time::timeout(READ_TIMEOUT, reading).await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.reading.is_none() {
            match this.pieces.front_mut() {
                None => return Poll::Ready(None),
                Some(Piece::Bytes(bytes)) => {
                    let bytes = std::mem::take(bytes);
                    this.pieces.pop_front();
                    this.left -= bytes.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Piece::File(from, to)) => {
                    let (from, to) = (*from, *to);
                    match chunk(&this.file, from, to, Wait::Never) {
                        Ok(read) => return Poll::Ready(Some(this.taken(read))),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Poll::Ready(Some(Err(error.into()))),
                    }
                    this.reading = Some(read_chunk(this.file.clone(), from, to).boxed());
                }
            }
        }
        let Some(reading) = &mut this.reading else { return Poll::Ready(None) };
        let read = ready!(reading.poll_unpin(cx));
        this.reading = None;
        Poll::Ready(Some(read.map_err(Into::into).and_then(|read| this.taken(read))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn collect(body: FileBody) -> Result<Vec<u8>, BodyError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(body.collect()).map(|all| all.to_bytes().to_vec())
    }

    fn file(content: &[u8]) -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, content).unwrap();
        (dir, File::open(path).unwrap())
    }

    #[test]
    fn pieces_come_in_order() {
        let content: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let (_dir, file) = file(&content);
        let pieces =
            [Piece::Bytes("<".into()), Piece::File(3, 150_003), Piece::File(9, 9), Piece::File(0, 2)];
        let body = FileBody::new(file, pieces);
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(150_003));
        let expected = [b"<", &content[3..150_003], &content[..2]].concat();
        assert_eq!(collect(body).unwrap(), expected);
    }

    #[test]
    fn a_file_that_has_become_shorter_breaks_the_body_off() {
        let (_dir, file) = file(b"0123");
        assert!(collect(FileBody::new(file, [Piece::File(0, 9)])).is_err());
    }
}
