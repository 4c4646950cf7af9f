//! Forward proxies, as they are named wherever one can be said.

use schemars::JsonSchema;
use serde::Deserialize;

/// Caddy's namespace of ways to find a forward proxy.
pub const NETWORK_PROXIES: &str = "caddy.network_proxy";
/// The tag under which such a module's name stands.
pub const NETWORK_PROXY_TAG: &str = "from";

/// The JSON form of `caddy.network_proxy.url`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkProxyUrl {
    /// Where the proxy is, with its scheme; a name and a password may stand in it.
    pub url: String,
}
