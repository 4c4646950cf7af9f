//! The modules that the TLS app's configuration may name, by their names in JSON. Their rows stand in
//! higher layers.

use super::issuance::IssuerTypes;
use super::on_demand::{ManagerTypes, PermissionTypes};
use super::storage::StorageTypes;

/// The modules that the TLS app's configuration may name.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// `caddy.storage`.
    pub storages: StorageTypes,
    /// `tls.issuance`.
    pub issuers: IssuerTypes,
    /// `tls.get_certificate`.
    pub managers: ManagerTypes,
    /// `tls.permission`.
    pub permissions: PermissionTypes,
}
