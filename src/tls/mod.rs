//! Certificates, handshakes and trust.
//!
//! A configuration's `tls` and `pki` apps become one [`App`]: the certificates that it loads or
//! manages ([`CertificateStore`]), the authorities that issue them ([`Authorities`]), and from these
//! for each server the [`ConnectionPolicies`] that answer handshakes. Handshakes only read; what is
//! renewed in the background is swapped in whole.
//!
//! This layer knows no directive and no HTTP, and sets no process-wide default of rustls.

mod app;
mod authority;
mod automation;
mod certificate;
pub mod challenges;
mod client;
mod client_auth;
mod error;
mod internal;
pub mod issuance;
mod load;
mod matcher;
mod modules;
mod ocsp;
pub mod on_demand;
mod placeholder;
mod policy;
mod provider;
mod renewal_info;
mod secrets_log;
mod selection;
mod storage;
mod store;
#[cfg(test)]
mod testing;
mod tickets;
mod trust_pool;
mod trust_store;

pub use app::App;
pub use authority::{Authorities, Authority, RequestOrder, SignedRequest, SigningRequest, by_hand};
pub use automation::{internal_policy, tailscale_manager};
pub use certificate::Certificate;
pub use client::{ClientOptions, Trust, own_client_config};
pub use error::TlsError;
pub use internal::internal_issuer;
pub use matcher::Ends;
pub use modules::{Modules, schemas};
#[cfg(test)]
pub(crate) use ocsp::testing as ocsp_testing;
pub use placeholder::expand;
pub use policy::{ConnectionPolicies, HttpVersions, Selected};
pub use provider::{is_cipher_suite, is_curve, is_protocol_version, provider};
pub use renewal_info::RenewalInfo;
pub use storage::{
    FileStorage, Lease, Lock, SharedStorage, Storage, StorageType, blocking, decode as decode_storage,
    is_key, open as open_storage, safe,
};
pub use store::CertificateStore;
#[cfg(test)]
pub(crate) use testing::{careless_client, curious_client};
pub use trust_pool::TrustPool;
pub use trust_store::{TrustError, TrustStore};
