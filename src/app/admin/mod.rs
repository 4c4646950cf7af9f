//! The admin endpoint: what a running instance can be told over HTTP, on this machine.
//!
//! It runs on the control thread, apart from the workers, so that neither a flood of requests to the
//! sites nor one to the endpoint touches the other.

mod access;
mod api;
mod body;
mod config;
mod endpoint;
mod listener;
mod load;
mod pki;

pub use endpoint::Endpoint;
pub use listener::Bound;
pub use load::{SOURCE_ADAPTER, SOURCE_FILE};

use http::StatusCode;

use super::provision::{self, LoadError};
use crate::config::{Admin, NetworkAddress, default_admin_listen};

/// What a configuration says about the endpoint.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    admin: Admin,
    /// Where it listens; nowhere if it is disabled.
    address: Option<NetworkAddress>,
}

impl Settings {
    /// Reads what a configuration says.
    ///
    /// # Errors
    /// The address makes no sense, or there are several.
    pub fn new(admin: Option<&Admin>) -> Result<Self, LoadError> {
        let admin = admin.cloned().unwrap_or_default();
        let address = if admin.disabled { None } else { Some(address(&admin)?) };
        Ok(Self { admin, address })
    }

    /// Where it listens; nowhere if it is disabled.
    pub fn address(&self) -> Option<&NetworkAddress> {
        self.address.as_ref()
    }
}

/// The one address that the endpoint of `admin` listens at.
///
/// # Errors
/// The address makes no sense, or there are several.
pub fn address(admin: &Admin) -> Result<NetworkAddress, LoadError> {
    const OF: &str = "admin endpoint";
    let text = if admin.listen.is_empty() { default_admin_listen() } else { admin.listen.clone() };
    let address = provision::address(OF, &text)?;
    if address.port_count() == 1 {
        return Ok(address);
    }
    let problem = "it must be one address".to_owned();
    Err(LoadError::Address { of: OF.to_owned(), address: text, problem })
}

/// A refusal, and its status.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, message: impl std::fmt::Display) -> Self {
        Self { status, message: message.to_string() }
    }

    fn method_not_allowed(method: &http::Method) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("method {method} not allowed"))
    }
}
