//! What one rendering may use.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Error, Value};

/// So many actions, operands and turns of loops.
const STEPS_MAX: u64 = 2_000_000;
/// Actions, parentheses and templates may be nested this deep, all together.
const DEPTH_MAX: u32 = 400;
/// So many bytes in values and output.
const BYTES_MAX: usize = 64 << 20;
/// Lists and maps may be nested this deep. What prints, copies and compares them calls itself so often.
const NESTING_MAX: u32 = 50;
/// A value may have so many items all through, where one that it holds twice counts twice.
const ITEMS_MAX: u64 = 1_000_000;
/// So many items may be looked at in all.
const ITEMS_SEEN_MAX: u64 = 20_000_000;
/// What a text or list takes besides its items, and its place among what is held.
const CONTAINER_BYTES: usize = 64;
/// No function makes a longer text of what it is given, unless it was as long before.
pub const TEXT_MAX: usize = 8 << 20;
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
    items: Cell<u64>,
    held: RefCell<Held>,
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
            items: Cell::new(ITEMS_SEEN_MAX),
            held: RefCell::default(),
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

    /// Looks through values that a function has made or is to get. What is new in them is paid for, and kept
    /// until the rendering ends.
    ///
    /// # Errors
    /// One is nested too deeply, for instance since it holds itself, or together they have too many items or
    /// too much text.
    pub(super) fn admit(&self, values: &[Value]) -> Result<(), Error> {
        let mut walk = Walk { budget: self, items: 0, text: 0 };
        let outcome = values.iter().try_for_each(|value| walk.value(value, NESTING_MAX));
        let left = self.items.get().checked_sub(walk.items);
        self.items.set(left.unwrap_or(0));
        outcome?;
        left.map(drop).ok_or_else(|| Error::new("the template looks at too many items"))
    }

    /// Lets go of all that the rendering has made, even of what holds itself or this budget.
    pub fn end(&self) {
        let mut held = std::mem::take(&mut *self.held.borrow_mut());
        held.let_go();
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

/// One look through values.
struct Walk<'b> {
    budget: &'b Budget,
    items: u64,
    text: usize,
}

impl Walk<'_> {
    fn value(&mut self, value: &Value, levels: u32) -> Result<(), Error> {
        self.items += 1;
        if self.items > ITEMS_MAX {
            return Err(Error::new("the values of the template have too many items"));
        }
        match value {
            Value::Str(text) => {
                self.text(text.len())?;
                self.hold(Rc::as_ptr(text).cast(), value)?;
            }
            Value::List(items) => {
                self.hold(Rc::as_ptr(items).cast(), value)?;
                let levels = deeper(levels)?;
                items.iter().try_for_each(|item| self.value(item, levels))?;
            }
            Value::Map(map) => {
                self.hold(Rc::as_ptr(map).cast(), value)?;
                let levels = deeper(levels)?;
                for (key, item) in map.borrow().iter() {
                    self.text(key.len())?;
                    self.value(item, levels)?;
                }
            }
            Value::Object(object) => {
                if let Some(inner) = object.holds() {
                    self.value(inner, deeper(levels)?)?;
                }
            }
            Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
        }
        Ok(())
    }

    fn text(&mut self, bytes: usize) -> Result<(), Error> {
        self.text = self.text.saturating_add(bytes);
        match self.text {
            0..=BYTES_MAX => Ok(()),
            _ => Err(Error::new("the values of the template have too much text")),
        }
    }

    /// Pays for a text, list or map as far as that has not been done.
    fn hold(&self, address: *const (), value: &Value) -> Result<(), Error> {
        let mut held = self.budget.held.borrow_mut();
        let weight = value.weight() + CONTAINER_BYTES;
        let paid = held.paid.insert(address, weight);
        self.budget.take(weight.saturating_sub(paid.unwrap_or(0)))?;
        if paid.is_none() {
            held.values.push(value.clone());
        }
        Ok(())
    }
}

fn deeper(levels: u32) -> Result<u32, Error> {
    levels.checked_sub(1).ok_or_else(|| Error::new("a value of the template is nested too deeply"))
}

/// The texts, lists and maps that there are in a rendering. Each is kept to the end, so that none goes away
/// together with all that hang on it, one within the other, and no address is used twice.
#[derive(Debug, Default)]
struct Held {
    /// How many bytes were paid for what is at an address.
    paid: HashMap<*const (), usize>,
    values: Vec<Value>,
}

impl Held {
    fn let_go(&mut self) {
        // A map may hold itself, and so long a chain of others that dropping it takes a whole stack.
        for value in &self.values {
            if let Value::Map(map) = value {
                map.take();
            }
        }
        // What remains does not change, and is nested no deeper than when it was let in.
        self.values.clear();
        self.paid.clear();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
    }
}
