//! Between those who log and the thing that is written to: a bounded queue and one thread.
//!
//! A log call never waits for a disk or a pipe. It copies its bytes into the queue; when that is full
//! because the other side is stuck, the entry is dropped and counted, and one entry tells how many were
//! lost once it goes on. The thread takes all that has gathered at once, so that a busy service makes
//! few system calls for its logs.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::{Encoder, Entry, Level, LogError, Value};

/// How much may wait to be written, for each output. While that is written, as much again may gather.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;
/// A buffer that has grown beyond this is given back when it is empty.
const QUEUE_BYTES_KEPT: usize = 64 << 10;
/// How long entries gather before they are written, so that not each of them wakes the thread.
const GATHER: Duration = Duration::from_millis(2);
/// A failing output is mentioned this often at most.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// What is written to, on a thread of its own where it may block as it likes.
pub trait Output: Send {
    /// Writes whole entries.
    ///
    /// # Errors
    /// Some of them were not written, and won't be.
    fn write(&mut self, batch: &Batch) -> io::Result<()>;

    /// When [`Output::tick`] wants to be called even if nothing is written until then.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    ///
    /// # Errors
    /// It could not be done.
    fn tick(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Entries that are written together.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each entry ends in `bytes`.
    ends: Vec<usize>,
}

impl Batch {
    /// Adds an entry.
    pub fn push(&mut self, entry: &[u8]) {
        self.bytes.extend_from_slice(entry);
        self.ends.push(self.bytes.len());
    }

    /// All entries in one piece.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The entries one by one.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    fn clear(&mut self) {
        self.ends.clear();
        self.bytes.clear();
        if self.bytes.capacity() > QUEUE_BYTES_KEPT {
            *self = Self::default();
        }
    }
}

/// Where a log goes, not yet opened.
pub struct Destination {
    /// Outputs with the same key are the same output, also across a reload.
    pub key: String,
    /// What people call it: a path, `stderr`.
    pub name: String,
    /// Whether it is the process's standard output or error, which may be a terminal.
    pub standard_stream: bool,
    /// Opens it.
    pub open: Box<dyn FnOnce() -> io::Result<Box<dyn Output>> + Send>,
}

/// An open output with its queue. It is closed, once its queue is written, when the last of those
/// who share it lets it go.
pub struct Outlet {
    shared: Arc<Shared>,
    key: String,
    name: String,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Something is there to be written, or the outlet is closed.
    filled: Condvar,
    /// Everything was written.
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Batch,
    lost: u64,
    /// The thread has taken entries that it is still writing.
    writing: bool,
    /// The thread is asleep, so that it has to be woken.
    asleep: bool,
    /// Nobody can log here any more.
    closed: bool,
}

impl Shared {
    /// The queue. No code that holds it can panic half-way through a change.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All open outputs, by key.
static OPEN: LazyLock<Mutex<HashMap<String, Weak<Outlet>>>> = LazyLock::new(Mutex::default);

impl Outlet {
    /// The output for `destination`: the open one with that key, or a new one. `encoder` says how many
    /// entries were lost, should it come to that.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(destination: Destination, encoder: Arc<dyn Encoder>) -> Result<Arc<Self>, LogError> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outlet) = open.get(&destination.key).and_then(Weak::upgrade) {
            return Ok(outlet);
        }
        open.retain(|_, outlet| outlet.strong_count() > 0);
        let Destination { key, name, open: opener, .. } = destination;
        let error = |source| LogError::Open { name: name.clone(), source };
        let output = opener().map_err(error)?;
        let shared =
            Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() });
        let writer = Writer { shared: shared.clone(), name: name.clone(), encoder, complained: None };
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || writer.run(output))
            .map_err(|source| LogError::Open { name: name.clone(), source })?;
        let outlet = Arc::new(Self { shared, key, name });
        open.insert(outlet.key.clone(), Arc::downgrade(&outlet));
        Ok(outlet)
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Queues one entry, or drops and counts it if the queue is full.
    pub fn push(&self, entry: &[u8]) {
        let mut queue = self.shared.queue();
        if queue.waiting.bytes.len() + entry.len() > QUEUE_BYTES_MAX {
            queue.lost += 1;
            return;
        }
        queue.waiting.push(entry);
        if std::mem::take(&mut queue.asleep) {
            drop(queue);
            self.shared.filled.notify_one();
        }
    }

    /// Waits until everything is written, or `deadline` has come; whether everything was.
    fn flush(&self, deadline: Instant) -> bool {
        let mut queue = self.shared.queue();
        while queue.writing || !queue.waiting.ends.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.shared.emptied.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_one();
    }
}

/// Waits until all logs are written, but not longer than `limit`: a stuck pipe must not keep the
/// process from ending. Whether all were. It blocks, so it is for the process's end.
pub fn flush(limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let outlets: Vec<_> = open.values().filter_map(Weak::upgrade).collect();
    drop(open);
    // All of them get their chance, so there is no stopping at the first that fails.
    outlets.iter().filter(|outlet| !outlet.flush(deadline)).count() == 0
}

/// The thread's side of an [`Outlet`].
struct Writer {
    shared: Arc<Shared>,
    name: String,
    encoder: Arc<dyn Encoder>,
    complained: Option<Instant>,
}

impl Writer {
    fn run(mut self, mut output: Box<dyn Output>) {
        let mut batch = Batch::default();
        while let Some(lost) = self.take(output.as_mut(), &mut batch) {
            if lost > 0 {
                self.tell_lost(lost, &mut batch);
            }
            let written = output.write(&batch);
            batch.clear();
            let mut queue = self.shared.queue();
            queue.writing = false;
            drop(queue);
            self.shared.emptied.notify_all();
            if let Err(error) = written {
                self.complain(&error);
            }
        }
    }

    /// Waits for entries and takes them into `batch`; how many were lost meanwhile. `None` at the end.
    fn take(&mut self, output: &mut dyn Output, batch: &mut Batch) -> Option<u64> {
        let shared = self.shared.clone();
        let mut queue = shared.queue();
        while queue.waiting.ends.is_empty() && queue.lost == 0 {
            if queue.closed {
                return None;
            }
            queue.asleep = true;
            let Some(due) = output.due() else {
                queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = due.saturating_duration_since(Instant::now());
            queue = shared.filled.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
            if Instant::now() >= due {
                drop(queue);
                if let Err(error) = output.tick() {
                    self.complain(&error);
                }
                queue = shared.queue();
            }
        }
        queue.asleep = false;
        if !queue.closed {
            drop(queue);
            std::thread::sleep(GATHER);
            queue = shared.queue();
        }
        queue.writing = true;
        std::mem::swap(&mut queue.waiting, batch);
        Some(std::mem::take(&mut queue.lost))
    }

    fn tell_lost(&self, lost: u64, batch: &mut Batch) {
        let mut line = Vec::new();
        let entry = Entry {
            level: Level::Warn,
            time: SystemTime::now(),
            logger: "log",
            caller: None,
            message: "entries were dropped because this output could not keep up",
            fields: &[("count", Value::Uint(lost))],
        };
        self.encoder.encode(&entry, &mut line);
        batch.push(&line);
    }

    /// Mentions in the default log that this output fails, now and then.
    fn complain(&mut self, error: &io::Error) {
        if self.complained.is_some_and(|at| at.elapsed() < COMPLAINT_INTERVAL) {
            return;
        }
        self.complained = Some(Instant::now());
        tracing::error!(target: "log", output = %self.name, %error, "writing log entries failed");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;
    use crate::log::{EncoderOptions, Json};

    /// An output that hands its batches to a test, and only goes on when it is told to.
    struct Gate {
        written: SyncSender<String>,
        go_on: Receiver<()>,
    }

    impl Output for Gate {
        fn write(&mut self, batch: &Batch) -> io::Result<()> {
            for entry in batch.entries() {
                let _ = self.written.send(String::from_utf8_lossy(entry).into_owned());
            }
            let _ = self.go_on.recv();
            Ok(())
        }
    }

    fn gate(key: &str) -> (Arc<Outlet>, Receiver<String>, SyncSender<()>) {
        let (written, entries) = sync_channel(2 * QUEUE_BYTES_MAX / ENTRY_BYTES);
        let (release, go_on) = sync_channel(1);
        let destination = Destination {
            key: key.into(),
            name: key.into(),
            standard_stream: false,
            open: Box::new(move || Ok(Box::new(Gate { written, go_on }))),
        };
        let encoder = Arc::new(Json::new(&EncoderOptions::default()));
        (Outlet::open(destination, encoder).unwrap(), entries, release)
    }

    /// How long an entry is in the test of a full queue.
    const ENTRY_BYTES: usize = 1 << 10;
    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn entries_arrive_in_order_and_the_last_owner_closes() {
        let (outlet, entries, release) = gate("test:order");
        drop(release);
        for number in 0..100 {
            outlet.push(format!("{number}\n").as_bytes());
        }
        drop(outlet);
        let all: Vec<_> = entries.iter().collect();
        assert_eq!(all.len(), 100);
        assert_eq!(all[99], "99\n");
    }

    #[test]
    fn the_same_key_is_the_same_output() {
        let (first, _entries, _release) = gate("test:same");
        let (second, _, _) = gate("test:same");
        assert!(Arc::ptr_eq(&first, &second));
        let (other, _, _) = gate("test:other");
        assert!(!Arc::ptr_eq(&first, &other));
    }

    #[test]
    fn a_stuck_output_costs_bounded_memory_and_never_blocks() {
        let (outlet, entries, release) = gate("test:stuck");
        let entry = vec![b'x'; ENTRY_BYTES];
        outlet.push(&entry);
        assert_eq!(entries.recv_timeout(PATIENCE).unwrap().len(), ENTRY_BYTES);
        // The output is stuck now. Ten times what fits:
        let pushed = 10 * QUEUE_BYTES_MAX / entry.len();
        for _ in 0..pushed {
            outlet.push(&entry);
        }
        assert!(outlet.shared.queue().waiting.bytes.len() <= QUEUE_BYTES_MAX);
        assert!(!outlet.flush(Instant::now() + Duration::from_millis(10)));
        drop(release);
        drop(outlet);
        let all: Vec<_> = entries.iter().collect();
        let kept = QUEUE_BYTES_MAX / entry.len();
        assert_eq!(all.len(), kept + 1);
        assert!(all[kept].contains(&format!("\"count\":{}", pushed - kept)), "{}", all[kept]);
    }

    #[test]
    fn flush_waits_for_what_is_queued() {
        let (outlet, entries, release) = gate("test:flush");
        outlet.push(b"a\n");
        release.send(()).unwrap();
        assert!(outlet.flush(Instant::now() + PATIENCE));
        assert_eq!(entries.try_recv().unwrap(), "a\n");
    }
}
