//! What we show an authority, and where.

use std::sync::Arc;

use super::issuer::Settings;
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

/// Shows the answer of a challenge wherever the authority may look by HTTP or TLS.
pub(super) async fn show(
    way: Way,
    challenge: Challenge,
    settings: &Settings,
    storage: &SharedStorage,
    folder: &str,
) -> Result<OnShow, IssueError> {
    let shared = if settings.distributed {
        let key = storage_key(folder, &challenge.identifier.value);
        let text = serde_json::to_vec(&challenge).map_err(IssueError::new)?;
        let answer = SharedAnswer { storage: storage.clone(), key: key.clone() };
        let storage = storage.clone();
        blocking(move || storage.store(&key, &text)).await?;
        Some(answer)
    } else {
        None
    };
    let shown = challenges::show(challenge)?;
    let port = match way {
        Way::Http => settings.http_port.map(|port| (port, Speaks::Http)),
        Way::TlsAlpn => settings.tls_alpn_port.map(|port| (port, Speaks::Tls)),
        // That is for name servers.
        Way::Dns => None,
    };
    let opened = match port {
        Some((port, speaks)) => listener::open(&settings.bind_host, port, speaks).await,
        None => None,
    };
    Ok(OnShow { _shown: shown, _opened: opened, _shared: shared })
}
