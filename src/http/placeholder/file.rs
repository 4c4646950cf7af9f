//! `{file.PATH}`: a file's text, without making a request wait for the disk.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

/// So much of a file is read; the rest is cut off, as in Caddy.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// So often a file is looked at again while it is used.
const REFRESH: Duration = Duration::from_secs(1);

/// A file's text. It is read at load, and read anew in the background once a second while requests
/// use it, so that a key can be changed without a reload and no worker ever waits for a disk.
#[derive(Debug, Clone)]
pub struct FileValue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: Box<Path>,
    text: ArcSwap<Box<[u8]>>,
    start: Instant,
    /// Milliseconds after `start` when the file was last read, or is being read.
    read_at: AtomicU64,
}

impl FileValue {
    /// Reads the file. One that can't be read is empty, and said to be missing in the log.
    pub(super) fn new(path: &str) -> Self {
        let path: Box<Path> = Path::new(path).into();
        let text = ArcSwap::from_pointee(read(&path));
        Self(Arc::new(Shared { path, text, start: Instant::now(), read_at: AtomicU64::new(0) }))
    }

    /// The text as it was at most a moment before the last use.
    pub(super) fn value(&self) -> Cow<'_, [u8]> {
        self.refresh();
        Cow::Owned(self.0.text.load().to_vec())
    }

    /// Whether there is no text, or no file.
    pub fn is_empty(&self) -> bool {
        self.0.text.load().is_empty()
    }

    fn refresh(&self) {
        let elapsed = |shared: &Shared| u64::try_from(shared.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (now, last) = (elapsed(&self.0), self.0.read_at.load(Ordering::Relaxed));
        if u128::from(now.saturating_sub(last)) < REFRESH.as_millis() {
            return;
        }
        // Whoever sets the time reads the file, so at most one read is under way.
        if self.0.read_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let shared = self.0.clone();
            runtime.spawn_blocking(move || shared.text.store(Arc::new(read(&shared.path))));
        }
    }
}

fn read(path: &Path) -> Box<[u8]> {
    let mut text = Vec::new();
    let opened = std::fs::File::open(path);
    if let Err(error) = opened.and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text)) {
        tracing::error!(file = %path.display(), %error, "placeholder: failed to read file");
        return Box::default();
    }
    // One line end at the end does not count.
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    if text.last() == Some(&b'\r') {
        text.pop();
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_cut_off() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, read) in
            [("key", "key"), ("key\n", "key"), ("key\r\n", "key"), ("key\n\n", "key\n"), ("", "")]
        {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(&*FileValue::new(file.path().to_str().unwrap()).value(), read.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn a_missing_file_is_empty() {
        assert_eq!(&*FileValue::new("/nonexistent/key").value(), b"");
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old").unwrap();
        let value = FileValue::new(file.path().to_str().unwrap());
        std::fs::write(file.path(), "new").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            assert_eq!(&*value.value(), b"old");
            std::thread::sleep(REFRESH);
            value.refresh();
        });
        // Dropping the runtime waits for the read that has begun.
        drop(runtime);
        assert_eq!(&*value.value(), b"new");
    }
}
