//! The JSON form of a reverse proxy
//! (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/reverse_proxy/>).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::headers::{HeaderOps, ResponseHeaderOps, ResponseMatcher};
use crate::config::http::{MatcherSet, RouteList};
use crate::config::schema;
use crate::config::{Duration, ModuleJson, Secret, WeakString, is_default};

/// The tag of a transport.
pub const TRANSPORT_TAG: &str = "protocol";
/// The tag of a selection policy.
pub const POLICY_TAG: &str = "policy";
/// The tag of a source of dynamic upstreams.
pub const SOURCE_TAG: &str = "source";

/// A reverse proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReverseProxy {
    /// How requests travel; plain HTTP unless given.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::Transport>")]
    pub transport: Option<ModuleJson>,
    /// A module that takes upstreams under stress out of service. There is none.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::CircuitBreaker>")]
    pub circuit_breaker: Option<ModuleJson>,
    /// Which upstream gets a request, and whether it is tried again.
    #[serde(skip_serializing_if = "is_default")]
    pub load_balancing: Option<LoadBalancing>,
    /// Which upstreams count as down.
    #[serde(skip_serializing_if = "is_default")]
    pub health_checks: Option<HealthChecks>,
    /// The upstreams.
    #[serde(skip_serializing_if = "is_default")]
    pub upstreams: Vec<Upstream>,
    /// Where upstreams are looked up for each request.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::UpstreamSource>")]
    pub dynamic_upstreams: Option<ModuleJson>,
    /// How long an answer may be held back to send more of it at once. Nothing is ever held back
    /// here, which every value allows.
    #[serde(skip_serializing_if = "is_default")]
    pub flush_interval: Duration,
    /// Addresses and ranges of proxies before us whose `X-Forwarded-*` are believed.
    #[serde(skip_serializing_if = "is_default")]
    pub trusted_proxies: Vec<String>,
    /// Changes to header fields both ways.
    #[serde(skip_serializing_if = "is_default")]
    pub headers: Option<Headers>,
    /// Bytes of a request's body to gather before it is sent on; -1 is all of it.
    #[serde(skip_serializing_if = "is_default")]
    pub request_buffers: i64,
    /// Bytes of an answer's body to gather before it is sent on; -1 is all of it.
    #[serde(skip_serializing_if = "is_default")]
    pub response_buffers: i64,
    /// How long a tunnel, of a WebSocket for instance, may last.
    #[serde(skip_serializing_if = "is_default")]
    pub stream_timeout: Duration,
    /// Bytes that a tunnel gathers for each direction; 0 is the default of 32 KiB.
    #[serde(skip_serializing_if = "is_default")]
    pub stream_buffer_size: i64,
    /// How long a tunnel outlives the configuration that it began under.
    #[serde(skip_serializing_if = "is_default")]
    pub stream_close_delay: Duration,
    /// Changes to method and target, for the upstream alone.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<crate::config::rewrite::Rewrite>")]
    pub rewrite: Option<Map<String, Value>>,
    /// What to do with an upstream's answer instead of passing it on; the first that matches.
    #[serde(skip_serializing_if = "is_default")]
    pub handle_response: Vec<ResponseHandler>,
    /// Taken, and without effect: successful round trips write no line at level DEBUG.
    #[serde(skip_serializing_if = "is_default")]
    pub verbose_logs: bool,
}

/// Changes to header fields both ways.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Headers {
    /// Towards upstreams.
    #[serde(skip_serializing_if = "is_default")]
    pub request: Option<HeaderOps>,
    /// Towards clients.
    #[serde(skip_serializing_if = "is_default")]
    pub response: Option<ResponseHeaderOps>,
}

/// What to do with an upstream's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseHandler {
    /// Which answers are meant; all of them unless given.
    #[serde(rename = "match", skip_serializing_if = "is_default")]
    pub matcher: Option<ResponseMatcher>,
    /// A status to give the answer instead of its own; the routes don't count then.
    #[serde(skip_serializing_if = "is_default")]
    pub status_code: WeakString,
    /// Routes to go through instead of passing the answer on.
    #[serde(skip_serializing_if = "is_default")]
    pub routes: RouteList,
}

/// One upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// Its network address, which may hold placeholders; one socket, no range of ports.
    #[serde(skip_serializing_if = "is_default")]
    pub dial: String,
    /// So many requests at a time, and then it counts as full; 0 is no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub max_requests: i64,
}

/// Which upstream gets a request, and whether it is tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoadBalancing {
    /// How to choose; at random unless given.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::SelectionPolicy>")]
    pub selection_policy: Option<ModuleJson>,
    /// So many further attempts at most.
    #[serde(skip_serializing_if = "is_default")]
    pub retries: i64,
    /// Further attempts begin within this time.
    #[serde(skip_serializing_if = "is_default")]
    pub try_duration: Duration,
    /// The wait between two attempts.
    #[serde(skip_serializing_if = "is_default")]
    pub try_interval: Duration,
    /// Which requests are tried again although the upstream may have seen them; GET unless given.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Vec<schema::Matchers>")]
    pub retry_match: Vec<MatcherSet>,
}

/// Which upstreams count as down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthChecks {
    /// By asking them now and then.
    #[serde(skip_serializing_if = "is_default")]
    pub active: Option<ActiveHealthChecks>,
    /// By how they deal with requests.
    #[serde(skip_serializing_if = "is_default")]
    pub passive: Option<PassiveHealthChecks>,
}

/// Health checks by requests of our own; they run if there is a `path`, a `uri` or a `port`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActiveHealthChecks {
    /// The path to ask for; the old form of `uri`.
    #[serde(skip_serializing_if = "is_default")]
    pub path: String,
    /// Path and query to ask for.
    #[serde(skip_serializing_if = "is_default")]
    pub uri: String,
    /// Whom to ask instead of the upstream itself, as `host:port`.
    #[serde(skip_serializing_if = "is_default")]
    pub upstream: String,
    /// The port to ask on, if it is another one.
    #[serde(skip_serializing_if = "is_default")]
    pub port: i64,
    /// Header fields to send.
    #[serde(skip_serializing_if = "is_default")]
    pub headers: BTreeMap<String, Vec<Secret>>,
    /// The method; GET unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub method: String,
    /// The body to send.
    #[serde(skip_serializing_if = "is_default")]
    pub body: String,
    /// Whether to go where a redirect points.
    #[serde(skip_serializing_if = "is_default")]
    pub follow_redirects: bool,
    /// How often; every 30 seconds unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub interval: Duration,
    /// How long an answer may take; 5 seconds unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: Duration,
    /// So many good answers in a row bring an upstream back; 1 unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub passes: i64,
    /// So many bad answers in a row take it out; 1 unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub fails: i64,
    /// Bytes of the answer's body to look at.
    #[serde(skip_serializing_if = "is_default")]
    pub max_size: i64,
    /// The status to expect, or its first digit; any 2xx unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub expect_status: i64,
    /// A regular expression for the body.
    #[serde(skip_serializing_if = "is_default")]
    pub expect_body: String,
}

/// Health checks by what becomes of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PassiveHealthChecks {
    /// How long a failure counts; 0 counts none.
    #[serde(skip_serializing_if = "is_default")]
    pub fail_duration: Duration,
    /// So many failures take an upstream out; 1 unless given.
    #[serde(skip_serializing_if = "is_default")]
    pub max_fails: i64,
    /// So many requests at a time, and then it counts as full.
    #[serde(skip_serializing_if = "is_default")]
    pub unhealthy_request_count: i64,
    /// Statuses that are failures, or their first digits.
    #[serde(skip_serializing_if = "is_default")]
    pub unhealthy_status: Vec<i64>,
    /// An answer that takes this long is a failure.
    #[serde(skip_serializing_if = "is_default")]
    pub unhealthy_latency: Duration,
}
