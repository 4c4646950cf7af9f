//! The modules that the TLS app's configuration may name, by their names in JSON. Their rows stand in
//! higher layers.

use super::issuance::IssuerTypes;
use super::on_demand::{ManagerTypes, PermissionTypes};
use super::storage::StorageTypes;
use super::{client_auth, load, matcher, storage, tickets, trust_pool};
use crate::config::schema::ModuleSchema;

/// What can be said of the modules whose types are of this layer.
pub fn schemas() -> impl Iterator<Item = &'static ModuleSchema> {
    let lists = [
        load::SCHEMAS,
        matcher::SCHEMAS,
        trust_pool::SCHEMAS,
        client_auth::SCHEMAS,
        storage::SCHEMAS,
        tickets::SCHEMAS,
    ];
    lists.into_iter().flatten()
}

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
