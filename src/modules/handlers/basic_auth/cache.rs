//! Outcomes of comparisons, remembered for a while. Passwords themselves are not kept.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::OnceCell;

use super::hash::Busy;

/// So many outcomes are remembered, of right passwords and of wrong ones each. The oldest are forgotten
/// first; nobody can make right ones be forgotten by trying wrong ones.
const OUTCOMES_MAX: usize = 1000;

/// What stands for an account and a password.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

/// Remembered outcomes. Those who ask for the same at once wait for one comparison.
pub(super) struct Cache {
    outcomes: Mutex<Outcomes>,
    /// Makes keys useless outside of this cache.
    salt: [u8; 32],
}

#[derive(Default)]
struct Outcomes {
    right: Recent<()>,
    /// Wrong ones, and those not known yet.
    other: Recent<Arc<OnceCell<bool>>>,
}

/// A map that forgets what came first.
struct Recent<T> {
    entries: HashMap<Key, T>,
    order: VecDeque<Key>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Recent<T> {
    fn insert(&mut self, key: Key, value: T) {
        if self.entries.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > OUTCOMES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

impl Cache {
    /// An empty cache.
    ///
    /// # Errors
    /// There is no randomness for its salt.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)?;
        Ok(Self { outcomes: Mutex::default(), salt })
    }

    /// The key for a password of the account of that number, or of none.
    pub(super) fn key(&self, account: Option<usize>, password: &[u8]) -> Key {
        let mut context = Context::new(&SHA256);
        context.update(&self.salt);
        context.update(&account.map_or(u64::MAX, |account| account as u64).to_be_bytes());
        context.update(password);
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Key(key)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Outcomes) -> T) -> T {
        // Nothing here panics halfway through a change.
        f(&mut self.outcomes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the password is known to be right.
    pub(super) fn is_right(&self, key: &Key) -> bool {
        self.with(|outcomes| outcomes.right.entries.contains_key(key))
    }

    /// Whether the password is right, by a comparison if it isn't known.
    pub(super) async fn outcome<F>(&self, key: Key, compare: impl FnOnce() -> F) -> Result<bool, Busy>
    where
        F: Future<Output = Result<bool, Busy>>,
    {
        let cell = self.with(|outcomes| match outcomes.other.entries.get(&key) {
            Some(cell) => cell.clone(),
            None => {
                let cell = Arc::default();
                outcomes.other.insert(key, Arc::clone(&cell));
                cell
            }
        });
        let right = *cell.get_or_try_init(compare).await?;
        if right {
            self.with(|outcomes| outcomes.right.insert(key, ()));
        }
        Ok(right)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn each_outcome_is_worked_out_once() {
        let (cache, compared) = (Cache::new().unwrap(), Cell::new(0));
        for (account, password, right) in [
            (Some(0), "a", true),
            (Some(0), "a", true),
            (Some(1), "a", false),
            (Some(1), "a", false),
            (None, "a", false),
        ] {
            let key = cache.key(account, password.as_bytes());
            let outcome = cache.outcome(key, || {
                compared.set(compared.get() + 1);
                async move { Ok(right) }
            });
            assert_eq!(block_on(outcome), Ok(right));
            assert_eq!(cache.is_right(&key), right);
        }
        assert_eq!(compared.get(), 3);
    }

    #[test]
    fn many_ask_and_one_compares() {
        let (cache, compared) = (Cache::new().unwrap(), Cell::new(0));
        let key = cache.key(Some(0), b"a");
        let ask = || {
            cache.outcome(key, || async {
                compared.set(compared.get() + 1);
                tokio::task::yield_now().await;
                Ok(true)
            })
        };
        let all = block_on(async { tokio::join!(ask(), ask(), ask()) });
        assert_eq!((all, compared.get()), ((Ok(true), Ok(true), Ok(true)), 1));
    }

    #[test]
    fn what_could_not_be_compared_is_not_remembered() {
        let cache = Cache::new().unwrap();
        let key = cache.key(Some(0), b"a");
        assert_eq!(block_on(cache.outcome(key, || async { Err(Busy) })), Err(Busy));
        assert_eq!(block_on(cache.outcome(key, || async { Ok(true) })), Ok(true));
    }

    #[test]
    fn wrong_passwords_do_not_push_out_right_ones() {
        let cache = Cache::new().unwrap();
        let right = cache.key(Some(0), b"right");
        block_on(cache.outcome(right, || async { Ok(true) })).unwrap();
        for n in 0..OUTCOMES_MAX + 10 {
            let key = cache.key(Some(0), n.to_string().as_bytes());
            block_on(cache.outcome(key, || async { Ok(false) })).unwrap();
        }
        assert!(cache.is_right(&right));
        assert_eq!(cache.with(|outcomes| outcomes.other.entries.len()), OUTCOMES_MAX);
        assert_eq!(cache.with(|outcomes| outcomes.other.order.len()), OUTCOMES_MAX);
    }

    #[test]
    fn caches_do_not_share_keys() {
        let caches = [Cache::new().unwrap(), Cache::new().unwrap()];
        assert!(caches[0].key(None, b"a") == caches[0].key(None, b"a"));
        assert!(caches[0].key(None, b"a") != caches[1].key(None, b"a"));
    }
}
