//! Who changes zones: what a DNS provider does, and the table of all of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::config::ModuleJson;
use crate::dns::{RecordData, UpdateError};
use crate::fetch::{Client, FetchError};
use crate::tls::TlsError;

/// Caddy's namespace of DNS providers.
pub const NAMESPACE: &str = "dns.providers";
/// The tag under which a provider's name stands.
const TAG: &str = "name";

/// What a zone is to have for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The whole name, without a dot at its end.
    pub name: String,
    /// What is said of it.
    pub data: RecordData,
    /// How long caches may keep it; zero leaves that to the provider.
    pub ttl: Duration,
}

/// What a change comes to.
pub type Changed<'a> = BoxFuture<'a, Result<(), ProviderError>>;

/// Who can change a zone. Whoever calls it sets the deadline.
pub trait DnsProvider: Send + Sync + fmt::Debug {
    /// Adds a record beside those that its name has already.
    fn append<'a>(&'a self, zone: &'a str, record: &'a Record) -> Changed<'a>;

    /// Removes the record with this name and data, and no other. That it is not there is no error.
    fn delete<'a>(&'a self, zone: &'a str, record: &'a Record) -> Changed<'a>;
}

/// Why a zone was not changed, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The zone's server was asked by DNS in vain.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The provider could not be asked.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The provider does not do it, and says why.
    #[error("{0}")]
    Refused(String),
    /// The provider's answer makes no sense.
    #[error("an answer that makes no sense: {0}")]
    Answer(String),
    /// It took too long.
    #[error("not done within {0:?}")]
    Timeout(Duration),
}

/// A row of the table of providers.
#[derive(Debug)]
pub struct DnsProviderType {
    /// Its name in JSON, without the namespace.
    pub id: &'static str,
    /// The provider that a module's JSON describes. What asks by HTTP does it with the client.
    pub provision: fn(&ModuleJson, &Client) -> Result<Arc<dyn DnsProvider>, TlsError>,
}

/// The providers that there are, by their names in JSON.
pub type DnsProviders = HashMap<&'static str, &'static DnsProviderType>;

/// The provider that a configuration describes.
///
/// # Errors
/// [`TlsError`] if there is no such module, or its JSON does not fit.
pub fn provision(
    json: &ModuleJson,
    types: &DnsProviders,
    client: &Client,
) -> Result<Arc<dyn DnsProvider>, TlsError> {
    let name = json.name(TAG)?;
    let unknown = || TlsError::unknown_module(NAMESPACE, name);
    let row = types.get(name).ok_or_else(unknown)?;
    (row.provision)(json, client).map_err(|error| error.at(format!("DNS provider {name}")))
}

/// Reads a provider's own fields.
///
/// # Errors
/// [`TlsError`] for one that does not fit.
pub fn decode<T: DeserializeOwned>(json: &ModuleJson) -> Result<T, TlsError> {
    Ok(json.decode(TAG)?)
}
