//! What one rendering may use.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Error;

/// So many actions, operands and turns of loops.
const STEPS_MAX: u64 = 2_000_000;
/// Actions, parentheses and templates may be nested this deep, all together.
const DEPTH_MAX: u32 = 400;
/// So many bytes in values and output.
const BYTES_MAX: usize = 64 << 20;
/// A rendering ends after this time, whatever it waits for.
const TIME_MAX: Duration = Duration::from_secs(30);
/// The clock is looked at once in so many steps.
const STEPS_PER_LOOK: u64 = 1024;

/// What one rendering may still use, with all that it includes.
#[derive(Debug)]
pub struct Budget {
    steps: Cell<u64>,
    depth: Cell<u32>,
    bytes: Cell<usize>,
    deadline: Instant,
    cancelled: Arc<AtomicBool>,
}

impl Budget {
    /// A whole one, for a rendering that ends early once `cancelled` is set.
    pub fn new(cancelled: Arc<AtomicBool>) -> Self {
        Self {
            steps: Cell::new(STEPS_MAX),
            depth: Cell::new(DEPTH_MAX),
            bytes: Cell::new(BYTES_MAX),
            deadline: Instant::now() + TIME_MAX,
            cancelled,
        }
    }

    /// Until when it may go on.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes one step.
    pub(super) fn step(&self) -> Result<(), Error> {
        let left = self.steps.get();
        if left == 0 {
            return Err(Error::new("the template takes too many steps"));
        }
        self.steps.set(left - 1);
        if left.is_multiple_of(STEPS_PER_LOOK) { self.look() } else { Ok(()) }
    }

    /// Looks whether it is over.
    ///
    /// # Errors
    /// It has taken too long, or nobody waits for it any more.
    pub fn look(&self) -> Result<(), Error> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::new("nobody waits for it any more"));
        }
        if Instant::now() > self.deadline {
            return Err(Error::new("the template takes too long"));
        }
        Ok(())
    }

    /// Takes memory for so many bytes.
    ///
    /// # Errors
    /// So many are not left.
    pub fn take(&self, bytes: usize) -> Result<(), Error> {
        let left = self.bytes.get().checked_sub(bytes);
        self.bytes.set(left.ok_or_else(|| Error::new("the template makes too much text"))?);
        Ok(())
    }

    /// Goes one level deeper.
    pub(super) fn enter(&self) -> Result<Level<'_>, Error> {
        let left = self.depth.get();
        if left == 0 {
            return Err(Error::new("the template is nested too deeply, or includes itself"));
        }
        self.depth.set(left - 1);
        Ok(Level(self))
    }
}

/// A level of nesting, left when it is dropped.
pub(super) struct Level<'b>(&'b Budget);

impl Drop for Level<'_> {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get() + 1);
    }
}
