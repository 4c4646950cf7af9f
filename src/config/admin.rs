//! `admin`: the admin endpoint.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, ModuleJson, is_default, schema};

/// The admin endpoint (<https://caddyserver.com/docs/json/admin/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Whether there is none.
    #[serde(skip_serializing_if = "is_default")]
    pub disabled: bool,
    /// Where it listens, a network address; empty means [`default_admin_listen`].
    #[serde(skip_serializing_if = "is_default")]
    pub listen: String,
    /// Whether each request needs an Origin that is allowed.
    #[serde(skip_serializing_if = "is_default")]
    pub enforce_origin: bool,
    /// The origins that are allowed, and no other; unset means those of the address it listens on.
    #[serde(skip_serializing_if = "is_default")]
    pub origins: Option<Vec<String>>,
    /// How the configuration itself is handled.
    #[serde(skip_serializing_if = "is_default")]
    pub config: Option<ConfigSettings>,
    /// The identity that this instance has for remote administration.
    #[serde(skip_serializing_if = "is_default")]
    pub identity: Option<Identity>,
    /// Remote administration.
    #[serde(skip_serializing_if = "is_default")]
    pub remote: Option<RemoteAdmin>,
}

/// Where the admin endpoint listens unless a configuration says otherwise: what `CADDY_ADMIN` in the
/// environment says, else `localhost:2019`.
pub fn default_admin_listen() -> String {
    let said = std::env::var_os("CADDY_ADMIN").filter(|said| !said.is_empty());
    said.map_or_else(|| "localhost:2019".to_owned(), |said| said.to_string_lossy().into_owned())
}

/// How the configuration itself is handled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigSettings {
    /// Whether the running configuration is kept on disk; unset means yes.
    #[serde(skip_serializing_if = "is_default")]
    pub persist: Option<bool>,
    /// Where to get a configuration from after this one is running; a module of `caddy.config_loaders`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::ConfigLoader>")]
    pub load: Option<ModuleJson>,
    /// How long to wait before that.
    #[serde(skip_serializing_if = "is_default")]
    pub load_delay: Duration,
}

/// The identity that this instance has for remote administration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Names or addresses that the certificate is for.
    #[serde(skip_serializing_if = "is_default")]
    pub identifiers: Vec<String>,
    /// Who issues it; modules of `tls.issuance`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Vec<schema::Issuer>")]
    pub issuers: Vec<ModuleJson>,
}

/// Remote administration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteAdmin {
    /// Where it listens.
    #[serde(skip_serializing_if = "is_default")]
    pub listen: String,
    /// Who may do what.
    #[serde(skip_serializing_if = "is_default")]
    pub access_control: Vec<AdminAccess>,
}

/// What the holders of some keys may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminAccess {
    /// Base64 of the DER of their certificates.
    #[serde(skip_serializing_if = "is_default")]
    pub public_keys: Vec<String>,
    /// What they may do; none means everything.
    #[serde(skip_serializing_if = "is_default")]
    pub permissions: Vec<AdminPermissions>,
}

/// What requests are allowed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminPermissions {
    /// Paths and everything below them; none means all.
    #[serde(skip_serializing_if = "is_default")]
    pub paths: Vec<String>,
    /// Methods; none means all.
    #[serde(skip_serializing_if = "is_default")]
    pub methods: Vec<String>,
}
