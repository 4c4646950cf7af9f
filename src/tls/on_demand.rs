//! Certificates at handshakes: who has them ready, and who says whether a name may get one.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use rustls::server::ClientHello;

use super::issuance::IssuerContext;
use super::{Certificate, Modules, TlsError};
use crate::config::ModuleJson;

/// The tag under which a certificate manager's name stands.
pub const MANAGER_TAG: &str = "via";
/// The tag under which a permission's name stands.
pub const PERMISSION_TAG: &str = "module";

/// An answer that is waited for.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What others are told of a handshake.
#[derive(Clone, Debug, Default)]
pub struct Hello {
    /// The name that the client asks for, in lower case; empty for none.
    pub server_name: String,
    /// What it can verify, as numbers on the wire.
    pub signature_schemes: Vec<u16>,
    /// What it can speak, as numbers on the wire.
    pub cipher_suites: Vec<u16>,
    /// Our own address.
    pub local: Option<IpAddr>,
    /// The client's address.
    pub remote: Option<SocketAddr>,
}

impl Hello {
    /// What stands in a client's hello.
    pub(super) fn new(hello: &ClientHello<'_>, ends: super::Ends) -> Self {
        Self {
            server_name: hello.server_name().unwrap_or_default().to_ascii_lowercase(),
            signature_schemes: hello.signature_schemes().iter().copied().map(u16::from).collect(),
            cipher_suites: hello.cipher_suites().iter().copied().map(u16::from).collect(),
            local: ends.local.map(|local| local.ip().to_canonical()),
            remote: ends.peer,
        }
    }
}

/// Who has certificates ready at handshakes: a module of `tls.get_certificate`.
pub trait CertificateManager: fmt::Debug + Send + Sync {
    /// The certificate for a handshake; `None` if it has none for it.
    fn certificate<'a>(&'a self, hello: &'a Hello) -> Answer<'a, Result<Option<Arc<Certificate>>, String>>;
}

/// Who says whether a certificate may be got at a handshake: a module of `tls.permission`.
pub trait Permission: fmt::Debug + Send + Sync {
    /// Whether this name may have one.
    fn ask<'a>(&'a self, name: &'a str) -> Answer<'a, Result<(), Denied>>;
}

/// Why a name gets no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// It was said so.
    #[error("certificate not allowed by permission module: {0}")]
    Refused(String),
    /// Nobody could say.
    #[error("{0}")]
    Failed(String),
}

/// A row of the table of certificate managers.
#[derive(Debug)]
pub struct ManagerType {
    /// Its name in JSON, without the namespace.
    pub id: &'static str,
    /// Makes one of a module's JSON.
    pub provision: fn(&ModuleJson, &IssuerContext<'_>) -> Result<Arc<dyn CertificateManager>, TlsError>,
}

/// A row of the table of permissions.
#[derive(Debug)]
pub struct PermissionType {
    /// Its name in JSON, without the namespace.
    pub id: &'static str,
    /// Makes one of a module's JSON.
    pub provision: fn(&ModuleJson, &IssuerContext<'_>) -> Result<Arc<dyn Permission>, TlsError>,
}

/// The certificate managers that there are, by their names in JSON.
pub type ManagerTypes = HashMap<&'static str, &'static ManagerType>;
/// The permissions that there are, by their names in JSON.
pub type PermissionTypes = HashMap<&'static str, &'static PermissionType>;

/// Makes the managers that a policy names.
///
/// # Errors
/// [`TlsError`] for one that there isn't, or that makes no sense.
pub(super) fn managers(
    said: &[ModuleJson],
    modules: &Modules,
    context: &IssuerContext<'_>,
) -> Result<Vec<Arc<dyn CertificateManager>>, TlsError> {
    let provision = |json: &ModuleJson| {
        let name = json.name(MANAGER_TAG)?;
        let row = modules.managers.get(name);
        let row = row.ok_or_else(|| TlsError::unknown_module("tls.get_certificate", name))?;
        (row.provision)(json, context).map_err(|error| error.at(format!("certificate manager {name}")))
    };
    said.iter().map(provision).collect()
}

/// Makes the permission that a configuration names, if it names one.
///
/// # Errors
/// [`TlsError`] for one that there isn't, or that makes no sense.
pub(super) fn permission(
    said: Option<&crate::config::tls::OnDemand>,
    modules: &Modules,
    context: &IssuerContext<'_>,
) -> Result<Option<Arc<dyn Permission>>, TlsError> {
    let Some(said) = said else { return Ok(None) };
    if !said.ask.is_empty() && said.permission.is_some() {
        let problem = "on-demand TLS config conflict: both 'ask' endpoint and a 'permission' module are specified; 'ask' is deprecated, so use only the permission module";
        return Err(TlsError::Invalid(problem.into()));
    }
    let by_ask;
    let json = match &said.permission {
        Some(json) => json,
        None if !said.ask.is_empty() => {
            by_ask = ModuleJson::new(PERMISSION_TAG, "http", &serde_json::json!({"endpoint": said.ask}));
            &by_ask
        }
        None => return Ok(None),
    };
    let name = json.name(PERMISSION_TAG)?;
    let row = modules.permissions.get(name);
    let row = row.ok_or_else(|| TlsError::unknown_module("tls.permission", name))?;
    (row.provision)(json, context).map(Some).map_err(|error| error.at("on-demand TLS permission"))
}
