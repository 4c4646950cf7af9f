//! The process's standard output and error.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::Destination;
use super::outlet::{Batch, Output};

/// Standard output.
pub fn stdout() -> Destination {
    Destination {
        key: "std:out".into(),
        name: "stdout".into(),
        standard_stream: true,
        open: Box::new(|| Stream::open(io::stdout().as_fd())),
    }
}

/// Standard error.
pub fn stderr() -> Destination {
    Destination {
        key: "std:err".into(),
        name: "stderr".into(),
        standard_stream: true,
        open: Box::new(|| Stream::open(io::stderr().as_fd())),
    }
}

/// A stream that we did not open and whose other side may be slow.
///
/// It has a descriptor of its own: the locks of `std::io` would pass a stuck pipe on to anyone else
/// who prints.
struct Stream(File);

/// How long to wait before a pipe that takes nothing right now is tried again.
const RETRY: Duration = Duration::from_millis(10);

impl Stream {
    fn open(stream: BorrowedFd<'_>) -> io::Result<Box<dyn Output>> {
        Ok(Box::new(Self(File::from(stream.try_clone_to_owned()?))))
    }
}

impl Output for Stream {
    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        let mut rest = batch.bytes();
        while !rest.is_empty() {
            match self.0.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever started us may have made the pipe a non-blocking one.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(RETRY),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
