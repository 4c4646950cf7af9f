//! `transport http`: HTTP/1.1, or HTTP/2 with TLS or without (`h2c`).
//!
//! ```caddyfile
//! :8080 {
//! 	reverse_proxy https://models.example:8443 {
//! 		transport http {
//! 			dial_timeout 2s
//! 			response_header_timeout 10m
//! 			tls_server_name models.internal
//! 		}
//! 	}
//! }
//! ```

mod connect;
mod parse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NAMESPACE;
use crate::adapt::SubmoduleSyntax;
use crate::config::schema::{self, ModuleSchema, Nothing};
use crate::config::{Duration, ModuleJson, NETWORK_PROXIES, NetworkProxyUrl, is_default};
use crate::module::Module;

pub use connect::{Permit, Transports};

/// The name in JSON.
pub const NAME: &str = "http";

pub(super) static MODULE: Module = Module {
    submodules: &[
        SubmoduleSyntax { namespace: NAMESPACE, name: NAME, syntax: parse::SYNTAX, parse: parse::parse },
        SubmoduleSyntax { namespace: NETWORK_PROXIES, name: "none", syntax: "none", parse: parse::no_proxy },
        SubmoduleSyntax {
            namespace: NETWORK_PROXIES,
            name: "url",
            syntax: "url <url>",
            parse: parse::proxy_url,
        },
    ],
    schemas: &[
        ModuleSchema::of::<HttpTransport>("http.reverse_proxy.transport", NAME),
        ModuleSchema::of::<Nothing>("caddy.network_proxy", "none"),
        ModuleSchema::of::<NetworkProxyUrl>("caddy.network_proxy", "url"),
    ],
    ..Module::EMPTY
};

const TRUST_POOLS: &str = "tls.ca_pool.source";
const TRUST_POOL_TAG: &str = "provider";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/reverse_proxy/transport/http/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpTransport {
    /// DNS servers to ask instead of the system's.
    #[serde(skip_serializing_if = "is_default")]
    pub resolver: Option<Resolver>,
    /// TLS to the upstream; even an empty object switches it on.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: Option<Tls>,
    /// How long idle connections are kept, and how many.
    #[serde(skip_serializing_if = "is_default")]
    pub keep_alive: Option<KeepAlive>,
    /// Whether to ask for compressed answers on our own account. We never do, so that an answer
    /// comes as the client asked for it.
    #[serde(skip_serializing_if = "is_default")]
    pub compression: Option<bool>,
    /// So many connections to an upstream at a time; 0 is no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_conns_per_host: i64,
    /// The version of the PROXY protocol that tells the upstream of the client.
    #[serde(skip_serializing_if = "is_default")]
    pub proxy_protocol: String,
    /// A forward proxy; the old form of `network_proxy`.
    #[serde(skip_serializing_if = "is_default")]
    pub forward_proxy_url: String,
    /// A connection must stand within this time; 3 seconds unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub dial_timeout: Duration,
    /// The head start of IPv6 over IPv4.
    #[serde(skip_serializing_if = "is_default")]
    pub dial_fallback_delay: Duration,
    /// An answer's head must have come within this time; no limit unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub response_header_timeout: Duration,
    /// How long to wait for a 100 before the body is sent. It is sent at once, which every value
    /// allows.
    #[serde(skip_serializing_if = "is_default")]
    pub expect_continue_timeout: Duration,
    /// Bytes that an answer's head may have.
    #[serde(skip_serializing_if = "is_default")]
    pub max_response_header_size: i64,
    /// A hint without effect: writes are as large as what there is to write.
    #[serde(skip_serializing_if = "is_default")]
    pub write_buffer_size: i64,
    /// A hint without effect: reads share one buffer.
    #[serde(skip_serializing_if = "is_default")]
    pub read_buffer_size: i64,
    /// The upstream must send something within this time whenever we wait for it.
    #[serde(skip_serializing_if = "is_default")]
    pub read_timeout: Duration,
    /// The upstream must take something within this time whenever we send.
    #[serde(skip_serializing_if = "is_default")]
    pub write_timeout: Duration,
    /// Versions to speak: `1.1`, `2`, `h2c`.
    #[serde(skip_serializing_if = "is_default")]
    pub versions: Vec<String>,
    /// Our own address towards upstreams.
    #[serde(skip_serializing_if = "is_default")]
    pub local_address: String,
    /// How to find a forward proxy; the environment's unless given.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::NetworkProxy>")]
    pub network_proxy: Option<ModuleJson>,
}

impl HttpTransport {
    /// Makes it fit upstreams that are written with `https://` or `h2c://`.
    pub fn fit(&mut self, https: bool, h2c: bool) {
        if https {
            self.tls.get_or_insert_default();
        }
        if h2c {
            self.versions = vec!["h2c".into(), "2".into()];
        }
    }
}

/// DNS servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resolver {
    /// Their network addresses.
    #[serde(skip_serializing_if = "is_default")]
    pub addresses: Vec<String>,
}

/// TLS to upstreams.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Whom to trust, by a module of `tls.ca_pool.source`; the system's authorities unless given.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::CaPool>")]
    pub ca: Option<ModuleJson>,
    /// The same as certificates in base64; an old form.
    #[serde(skip_serializing_if = "is_default")]
    pub root_ca_pool: Vec<String>,
    /// The same as PEM files; an old form.
    #[serde(skip_serializing_if = "is_default")]
    pub root_ca_pem_files: Vec<String>,
    /// Our certificate towards upstreams.
    #[serde(skip_serializing_if = "is_default")]
    pub client_certificate_file: String,
    /// Its key.
    #[serde(skip_serializing_if = "is_default")]
    pub client_certificate_key_file: String,
    /// The subject of a managed certificate to use instead.
    #[serde(skip_serializing_if = "is_default")]
    pub client_certificate_automate: String,
    /// Trusts whoever answers. Not for production.
    #[serde(skip_serializing_if = "is_default")]
    pub insecure_skip_verify: bool,
    /// The handshake must be done within this time.
    #[serde(skip_serializing_if = "is_default")]
    pub handshake_timeout: Duration,
    /// The name to ask for and to verify, with placeholders; the upstream's host unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub server_name: String,
    /// Whether handshakes may be repeated: `never`, `once`, `freely`.
    #[serde(skip_serializing_if = "is_default")]
    pub renegotiation: String,
    /// Ports without TLS.
    #[serde(skip_serializing_if = "is_default")]
    pub except_ports: Vec<String>,
    /// Key exchange groups.
    #[serde(skip_serializing_if = "is_default")]
    pub curves: Vec<String>,
}

/// Idle connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeepAlive {
    /// Whether connections are kept at all.
    #[serde(skip_serializing_if = "is_default")]
    pub enabled: Option<bool>,
    /// How often TCP probes a silent connection; every 30 seconds unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub probe_interval: Duration,
    /// So many in all; 0 is no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_idle_conns: i64,
    /// So many for each upstream; 32 unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub max_idle_conns_per_host: i64,
    /// An idle one is kept this long; 2 minutes unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub idle_timeout: Duration,
}
