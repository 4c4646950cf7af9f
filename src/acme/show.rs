//! What we show an authority, and where.

use std::sync::Arc;

use super::listener::{self, Opened, Speaks};
use crate::tls::challenges::{self, Challenge, Shown, storage_key};
use crate::tls::issuance::IssueError;
use crate::tls::{SharedStorage, blocking};

/// How we show that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By a file under a path of the name (RFC 8555 section 8.3).
    Http,
    /// By a certificate in a handshake (RFC 8737).
    TlsAlpn,
    /// By a text in the name's zone (RFC 8555 section 8.4).
    Dns,
}

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "http-01",
            Self::TlsAlpn => "tls-alpn-01",
            Self::Dns => "dns-01",
        }
    }
}

/// What is shown until this is dropped.
pub(super) struct OnShow {
    _shown: Shown,
    _opened: Option<Arc<Opened>>,
    _shared: Option<SharedAnswer>,
}

/// An answer in the storage, for instances that the authority may meet in our place.
struct SharedAnswer {
    storage: SharedStorage,
    key: String,
}

impl Drop for SharedAnswer {
    fn drop(&mut self) {
        let (storage, key) = (self.storage.clone(), std::mem::take(&mut self.key));
        let delete = move || {
            if let Err(error) = storage.delete(&key) {
                tracing::warn!(target: "tls.issuance.acme", key, %error, "an answer stays in the storage");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(delete)),
            Err(_) => delete(),
        }
    }
}

/// Where something is shown.
pub(super) struct Where<'a> {
    /// The storage and the authority's folder in it, if others may answer in our place.
    pub(super) shared: Option<(&'a SharedStorage, &'a str)>,
    /// The address to listen at where nobody listens; empty means all.
    pub(super) bind_host: &'a str,
    /// The port that the authority's look arrives at, if it comes to one.
    pub(super) port: Option<u16>,
}

/// Shows the answer of a challenge wherever the authority may look by HTTP or TLS.
pub(super) async fn show(way: Way, challenge: Challenge, at: &Where<'_>) -> Result<OnShow, IssueError> {
    let shared = match at.shared {
        Some((storage, folder)) => {
            let key = storage_key(folder, &challenge.identifier.value);
            let text = serde_json::to_vec(&challenge).map_err(IssueError::new)?;
            let answer = SharedAnswer { storage: storage.clone(), key: key.clone() };
            let storage = storage.clone();
            blocking(move || storage.store(&key, &text)).await?;
            Some(answer)
        }
        None => None,
    };
    let shown = challenges::show(challenge)?;
    let speaks = if way == Way::TlsAlpn { Speaks::Tls } else { Speaks::Http };
    let opened = match at.port {
        Some(port) => listener::open(at.bind_host, port, speaks).await,
        None => None,
    };
    Ok(OnShow { _shown: shown, _opened: opened, _shared: shared })
}
