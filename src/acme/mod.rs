//! Certificates from authorities that speak ACME (RFC 8555), such as Let's Encrypt.
//!
//! ```text
//!  order ──► account ──► challenge ──► the authority looks ──► certificate
//!            │           │
//!            storage     http-01, tls-alpn-01: what this process and those that
//!                        share its storage answer; dns-01: a record in a zone
//! ```
//!
//! The protocol itself is the crate `instant-acme`'s. Here is what is around it: accounts in the storage as
//! Caddy keeps them, which challenge to take, what is shown where, how fast authorities may be asked, and which
//! of several chains to take. ZeroSSL's own interface, which is none of ACME, is beside it (`zerossl`).

mod account;
mod chains;
mod client;
pub mod dns01;
mod issuer;
mod listener;
mod message;
mod order;
mod pace;
pub mod server;
mod show;
mod zerossl;

pub use chains::ChainPreference;
pub use issuer::{AcmeIssuer, ExternalAccount, Settings};
pub use zerossl::{ZeroSslIssuer, ZeroSslSettings};
