//! `apps.pki`: certificate authorities of our own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, ModuleJson, is_default, schema};

/// The id of the authority that is used unless another one is named.
pub const DEFAULT_CA: &str = "local";

/// Certificate authorities (<https://caddyserver.com/docs/json/apps/pki/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pki {
    /// Authorities by id; if none is given there is [`DEFAULT_CA`].
    #[serde(skip_serializing_if = "is_default")]
    pub certificate_authorities: BTreeMap<String, Ca>,
}

/// One authority.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ca {
    /// Its name for people.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// The common name in its root certificate.
    #[serde(skip_serializing_if = "is_default")]
    pub root_common_name: String,
    /// The common name in its intermediate certificate.
    #[serde(skip_serializing_if = "is_default")]
    pub intermediate_common_name: String,
    /// How long an intermediate certificate is valid.
    #[serde(skip_serializing_if = "is_default")]
    pub intermediate_lifetime: Duration,
    /// Whether the root is put into the system's trust store; unset means yes.
    #[serde(skip_serializing_if = "is_default")]
    pub install_trust: Option<bool>,
    /// The root, if it is given.
    #[serde(skip_serializing_if = "is_default")]
    pub root: Option<KeyPair>,
    /// The intermediate, if it is given.
    #[serde(skip_serializing_if = "is_default")]
    pub intermediate: Option<KeyPair>,
    /// How often to look whether something must be renewed.
    #[serde(skip_serializing_if = "is_default")]
    pub maintenance_interval: Duration,
    /// The share of a lifetime, 0 to 1, that is left when a certificate is renewed.
    #[serde(skip_serializing_if = "is_default")]
    pub renewal_window_ratio: f64,
    /// Where it keeps its keys; a module of `caddy.storage`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::Storage>")]
    pub storage: Option<ModuleJson>,
}

/// A certificate and its key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyPair {
    /// The certificate's file, or what `format` says.
    #[serde(skip_serializing_if = "is_default")]
    pub certificate: String,
    /// The key's file, or what `format` says.
    #[serde(skip_serializing_if = "is_default")]
    pub private_key: String,
    /// `pem_file`, which is the default.
    #[serde(skip_serializing_if = "is_default")]
    pub format: String,
}
