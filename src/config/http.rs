//! `apps.http`: servers, routes and matcher sets.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Duration, ModuleJson, is_default, schema, tls};

/// The HTTP app (<https://caddyserver.com/docs/json/apps/http/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "HttpApp")]
pub struct App {
    /// The port of plain HTTP; 0 means 80.
    #[serde(skip_serializing_if = "is_default")]
    pub http_port: u16,
    /// The port of HTTPS; 0 means 443.
    #[serde(skip_serializing_if = "is_default")]
    pub https_port: u16,
    /// How long requests may go on when a server stops; zero means for ever.
    #[serde(skip_serializing_if = "is_default")]
    pub grace_period: Duration,
    /// How long to go on as before after being told to stop.
    #[serde(skip_serializing_if = "is_default")]
    pub shutdown_delay: Duration,
    /// Servers by name.
    #[serde(skip_serializing_if = "is_default")]
    pub servers: BTreeMap<String, Server>,
    /// Whether metrics are gathered, and which.
    #[serde(skip_serializing_if = "is_default")]
    pub metrics: Option<Metrics>,
}

/// Which metrics are gathered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Whether they are kept apart by host.
    #[serde(skip_serializing_if = "is_default")]
    pub per_host: bool,
    /// Whether that includes hosts that no site names.
    #[serde(skip_serializing_if = "is_default")]
    pub observe_catchall_hosts: bool,
    /// Whether they are pushed by OTLP.
    #[serde(skip_serializing_if = "is_default")]
    pub otlp: bool,
}

/// One server (<https://caddyserver.com/docs/json/apps/http/servers/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The network addresses that it listens on.
    #[serde(skip_serializing_if = "is_default")]
    pub listen: Vec<String>,
    /// What stands between listener and server; modules of `caddy.listeners`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Vec<schema::ListenerWrapper>")]
    pub listener_wrappers: Vec<ModuleJson>,
    /// The same for packets; modules of `caddy.packetconns`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Vec<schema::PacketConnWrapper>")]
    pub packet_conn_wrappers: Vec<ModuleJson>,
    /// How long reading a whole request may take; zero means for ever.
    #[serde(skip_serializing_if = "is_default")]
    pub read_timeout: Duration,
    /// How long reading a request's head may take; zero means a minute.
    #[serde(skip_serializing_if = "is_default")]
    pub read_header_timeout: Duration,
    /// How long a client may be silent within a request's body.
    #[serde(skip_serializing_if = "is_default")]
    pub read_idle_timeout: Duration,
    /// How slow a request's body may come, in bytes a second.
    #[serde(skip_serializing_if = "is_default")]
    pub read_min_rate: i64,
    /// How long writing an answer may take; zero means for ever.
    #[serde(skip_serializing_if = "is_default")]
    pub write_timeout: Duration,
    /// How long a client may take no byte of an answer.
    #[serde(skip_serializing_if = "is_default")]
    pub write_idle_timeout: Duration,
    /// How slow an answer may be taken, in bytes a second.
    #[serde(skip_serializing_if = "is_default")]
    pub write_min_rate: i64,
    /// The most bytes of an answer written at once.
    #[serde(skip_serializing_if = "is_default")]
    pub max_write_chunk: i64,
    /// How long a connection may wait for its next request; zero means five minutes.
    #[serde(skip_serializing_if = "is_default")]
    pub idle_timeout: Duration,
    /// The time between TCP keep-alive probes; negative means none.
    #[serde(skip_serializing_if = "is_default")]
    pub keepalive_interval: Duration,
    /// The silence after which TCP keep-alive probes begin.
    #[serde(skip_serializing_if = "is_default")]
    pub keepalive_idle: Duration,
    /// How many TCP keep-alive probes may stay unanswered.
    #[serde(skip_serializing_if = "is_default")]
    pub keepalive_count: i64,
    /// The most bytes of a request's head; 0 means the default.
    #[serde(skip_serializing_if = "is_default")]
    pub max_header_bytes: i64,
    /// Whether an HTTP/1 request's body may be read while the answer is written.
    #[serde(skip_serializing_if = "is_default")]
    pub enable_full_duplex: bool,
    /// Header names with an underscore that are let through.
    #[serde(skip_serializing_if = "is_default")]
    pub expected_underscore_headers: Vec<String>,
    /// Header names with a dot that are let through.
    #[serde(skip_serializing_if = "is_default")]
    pub expected_dot_headers: Vec<String>,
    /// What happens to requests.
    #[serde(skip_serializing_if = "is_default")]
    pub routes: RouteList,
    /// What happens to those that fail.
    #[serde(skip_serializing_if = "is_default")]
    pub errors: Option<ErrorRoutes>,
    /// Routes that others invoke by name.
    #[serde(skip_serializing_if = "is_default")]
    pub named_routes: BTreeMap<String, Route>,
    /// How TLS is spoken; if there is one, an empty one even, the server speaks TLS.
    #[serde(skip_serializing_if = "is_default")]
    pub tls_connection_policies: Vec<tls::ConnectionPolicy>,
    /// What automatic HTTPS does.
    #[serde(skip_serializing_if = "is_default")]
    pub automatic_https: Option<AutoHttps>,
    /// Whether a request's Host must be the name of its TLS handshake; unset means only with client
    /// certificates.
    #[serde(skip_serializing_if = "is_default")]
    pub strict_sni_host: Option<bool>,
    /// Whose X-Forwarded headers are believed; a module of `http.ip_sources`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::IpSource>")]
    pub trusted_proxies: Option<ModuleJson>,
    /// The headers that hold a client's address; none means X-Forwarded-For.
    #[serde(skip_serializing_if = "is_default")]
    pub client_ip_headers: Vec<String>,
    /// Not 0: the client's address is the rightmost one that is not trusted.
    #[serde(skip_serializing_if = "is_default")]
    pub trusted_proxies_strict: i64,
    /// Whether clients on unix sockets are trusted proxies.
    #[serde(skip_serializing_if = "is_default")]
    pub trusted_proxies_unix: bool,
    /// Access logs; there are some if this is set, empty even.
    #[serde(skip_serializing_if = "is_default")]
    pub logs: Option<ServerLogs>,
    /// `h1`, `h2`, `h2c`, `h3`; none means all but `h2c`.
    #[serde(skip_serializing_if = "is_default")]
    pub protocols: Vec<String>,
    /// The same for each address of `listen`.
    #[serde(skip_serializing_if = "is_default")]
    pub listen_protocols: Vec<Option<Vec<String>>>,
    /// Whether HTTP/3 takes early data; unset means yes.
    #[serde(rename = "allow_0rtt", skip_serializing_if = "is_default")]
    pub allow_0rtt: Option<bool>,
    /// Metrics of this server; the app's are preferred.
    #[serde(skip_serializing_if = "is_default")]
    pub metrics: Option<Metrics>,
}

/// What automatic HTTPS does for a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AutoHttps {
    /// Nothing at all.
    #[serde(skip_serializing_if = "is_default")]
    pub disable: bool,
    /// No redirects from HTTP.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_redirects: bool,
    /// No certificates.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_certificates: bool,
    /// Hosts that it leaves alone.
    #[serde(skip_serializing_if = "is_default")]
    pub skip: Vec<String>,
    /// Hosts that it gets no certificates for.
    #[serde(skip_serializing_if = "is_default")]
    pub skip_certificates: Vec<String>,
    /// Whether it gets certificates even where one was loaded by hand.
    #[serde(skip_serializing_if = "is_default")]
    pub ignore_loaded_certificates: bool,
}

/// Access logs of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerLogs {
    /// The logger for hosts that `logger_names` does not hold; empty means the unnamed one.
    #[serde(skip_serializing_if = "is_default")]
    pub default_logger_name: String,
    /// Loggers by host.
    #[serde(skip_serializing_if = "is_default")]
    pub logger_names: BTreeMap<String, LoggerNames>,
    /// Hosts that are not logged.
    #[serde(skip_serializing_if = "is_default")]
    pub skip_hosts: Vec<String>,
    /// Whether hosts that `logger_names` does not hold are not logged.
    #[serde(skip_serializing_if = "is_default")]
    pub skip_unmapped_hosts: bool,
    /// Whether Cookie, Authorization and the like are logged as they are.
    #[serde(skip_serializing_if = "is_default")]
    pub should_log_credentials: bool,
    /// Whether each handler that is entered is logged.
    #[serde(skip_serializing_if = "is_default")]
    pub trace: bool,
}

/// The loggers of one host. In JSON it may also be a single name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct LoggerNames(pub Vec<String>);

impl<'de> Deserialize<'de> for LoggerNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a logger's name or a list of them")]
        enum Form {
            One(String),
            Many(Vec<String>),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::One(name) => Self(vec![name]),
            Form::Many(names) => Self(names),
        })
    }
}

impl JsonSchema for LoggerNames {
    fn schema_name() -> Cow<'static, str> {
        "LoggerNames".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "The loggers of one host: a name or a list of them.",
            "type": ["string", "array"],
            "items": {"type": "string"},
        })
    }
}

/// An ordered list of routes; Caddy's `RouteList`.
pub type RouteList = Vec<Route>;

/// A set of matchers by module name, all of which must match (AND). A list of sets matches when one
/// of them does (OR).
pub type MatcherSet = Map<String, Value>;

/// The tag under which a handler's name stands.
pub const HANDLER_TAG: &str = "handler";

/// Matchers, and what to do with the requests that they match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Of the routes with the same non-empty group, only the first that matches runs.
    #[serde(skip_serializing_if = "is_default")]
    pub group: String,
    /// One of these sets must match; no set at all matches everything.
    #[serde(rename = "match", skip_serializing_if = "is_default")]
    #[schemars(with = "Vec<schema::Matchers>")]
    pub matcher_sets: Vec<MatcherSet>,
    /// The handlers, in order.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Vec<schema::Handler>")]
    pub handle: Vec<ModuleJson>,
    /// Whether no further route runs after this one has matched.
    #[serde(skip_serializing_if = "is_default")]
    pub terminal: bool,
}

/// Routes for errors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorRoutes {
    /// The routes to go through.
    #[serde(skip_serializing_if = "is_default")]
    pub routes: RouteList,
}

/// The handler that groups others: a list of routes inside a route, with error routes of its own.
///
/// It stands here and not with its module because site blocks are made of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Subroute {
    /// The routes to go through.
    #[serde(skip_serializing_if = "is_default")]
    pub routes: RouteList,
    /// What to do if they fail.
    #[serde(skip_serializing_if = "is_default")]
    pub errors: Option<ErrorRoutes>,
}

impl Subroute {
    /// Its name as a handler.
    pub const NAME: &'static str = "subroute";

    /// Its JSON as a handler.
    pub fn into_handler(self) -> ModuleJson {
        ModuleJson::new(HANDLER_TAG, Self::NAME, &self)
    }
}
