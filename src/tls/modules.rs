//! The modules that the TLS app's configuration may name, by their names in JSON. Their rows stand in
//! higher layers.

use super::storage::StorageTypes;

/// The modules that the TLS app's configuration may name.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// `caddy.storage`.
    pub storages: StorageTypes,
}
