//! A lock that is held across awaits.

use std::time::Duration;

use super::{LOCK_REFRESH_INTERVAL, Lock, SharedStorage};
use crate::tls::TlsError;

/// How often somebody who waits for a lock looks again, as in Caddy.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Holds a lock of a storage, and keeps it fresh, until dropped. What touches the storage runs on the
/// runtime's threads for blocking work.
#[derive(Debug)]
pub struct Lease(tokio::task::JoinHandle<()>);

impl Lease {
    /// Waits until nobody else holds the lock. Whoever calls this sets the deadline.
    ///
    /// # Errors
    /// [`TlsError`] if the storage can't tell.
    pub async fn acquire(storage: &SharedStorage, name: &str) -> Result<Self, TlsError> {
        loop {
            let (storage, name) = (storage.clone(), name.to_owned());
            let tried = blocking(move || storage.try_lock(&name)).await?;
            match tried {
                Some(lock) => return Ok(Self(tokio::spawn(keep_fresh(lock)))),
                None => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Gives a lock back on a thread that may block.
struct Held(Option<Box<dyn Lock>>);

impl Drop for Held {
    fn drop(&mut self) {
        let Some(lock) = self.0.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(lock))),
            // The runtime has ended, so nothing else waits for this thread.
            Err(_) => drop(lock),
        }
    }
}

async fn keep_fresh(lock: Box<dyn Lock>) {
    let mut held = Held(Some(lock));
    loop {
        tokio::time::sleep(LOCK_REFRESH_INTERVAL).await;
        let Some(mut lock) = held.0.take() else { return };
        let refreshed = tokio::task::spawn_blocking(move || (lock.refresh(), lock)).await;
        let Ok((result, lock)) = refreshed else { return };
        held.0 = Some(lock);
        if let Err(error) = result {
            tracing::warn!(target: "tls", %error, "a lock of the storage could not be kept fresh");
        }
    }
}

/// Runs what may block on a thread for that.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TlsError> + Send + 'static,
) -> Result<T, TlsError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(TlsError::BrokeOff))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::FileStorage;
    use super::*;

    #[test]
    fn a_lease_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let storage: SharedStorage = Arc::new(FileStorage::new(folder.path()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let lease = Lease::acquire(&storage, "a").await.unwrap();
            assert!(storage.try_lock("a").unwrap().is_none());
            drop(lease);
            let again = Lease::acquire(&storage, "a");
            tokio::time::timeout(Duration::from_secs(5), again).await.unwrap().unwrap();
        });
    }
}
