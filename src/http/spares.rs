//! What each thread keeps of what was used for its next use.

use std::cell::RefCell;
use std::thread::LocalKey;

/// A thread's spare things of one kind.
pub(super) type Spares<T> = RefCell<Vec<T>>;

/// One of them, if there is one.
pub(super) fn take<T>(spares: &'static LocalKey<Spares<T>>) -> Option<T> {
    spares.with_borrow_mut(Vec::pop)
}

/// Keeps one more, unless there are `most` already.
pub(super) fn keep<T>(spares: &'static LocalKey<Spares<T>>, spare: T, most: usize) {
    // At the end of a thread there may be none any more.
    let _ = spares.try_with(|spares| {
        if let Ok(mut spares) = spares.try_borrow_mut()
            && spares.len() < most
        {
            spares.push(spare);
        }
    });
}
