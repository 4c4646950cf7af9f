//! Who may change the records of a name. Orders for `a.test` and `*.a.test` put theirs under the same
//! name, and not every provider keeps apart what is changed at the same time.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

type Turn = tokio::sync::Mutex<()>;

/// For the whole process, since a name's records are the same whoever changes them. It holds only names
/// that somebody changes or waits for.
static TURNS: LazyLock<Mutex<HashMap<String, Weak<Turn>>>> = LazyLock::new(Mutex::default);

/// Waits for the turn to change this name's records, which lasts until it is dropped.
pub(super) async fn of(name: &str) -> OwnedMutexGuard<()> {
    let turn = {
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let known = turns.get(name).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Arc::new(Turn::new(()));
            turns.insert(name.to_owned(), Arc::downgrade(&turn));
            turn
        })
    };
    turn.lock_owned().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_name_is_changed_by_one_at_a_time() {
        let first = of("a.test").await;
        let other = tokio::time::timeout(Duration::from_secs(5), of("b.test")).await;
        assert!(other.is_ok());
        assert!(tokio::time::timeout(Duration::from_millis(20), of("a.test")).await.is_err());
        drop(first);
        assert!(tokio::time::timeout(Duration::from_secs(5), of("a.test")).await.is_ok());
    }
}
