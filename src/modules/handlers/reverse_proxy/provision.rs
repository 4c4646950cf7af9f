//! From what is said of a proxy to one that runs.

use std::sync::Arc;

use ipnet::IpNet;

use super::answer::Finish;
use super::forward::Proxy;
use super::handle_response::{Precedence, ResponseHandlers};
use super::health::Passive;
use super::json::{LoadBalancing, ReverseProxy, TRANSPORT_TAG};
use super::policy;
use super::retry::Retries;
use super::rewrite::Rewrite;
use super::source::Source;
use super::tunnel::Tunnels;
use super::upstreams::{Limits, Upstream};
use super::{active, bodies};
use crate::config::ModuleJson;
use crate::config::http::{HANDLER_TAG, MatcherSet};
use crate::http::{Handler, HeaderOps, Provision, ProvisionError, ResponseHeaderOps};
use crate::metrics::{Collector, Kind, Snapshot};
use crate::modules::transports::AnyTransport;

/// The wait between attempts, if there may be several and nobody says how long to wait.
const TRY_INTERVAL: std::time::Duration = std::time::Duration::from_millis(250);

pub(super) fn provision(
    json: &ModuleJson,
    ctx: &mut Provision<'_>,
) -> Result<Box<dyn Handler>, ProvisionError> {
    let json: ReverseProxy = json.decode(HANDLER_TAG)?;
    if json.circuit_breaker.is_some() {
        return Err(ProvisionError::invalid("circuit_breaker: there is no such module"));
    }
    let transports = AnyTransport::provision(json.transport.as_ref(), TRANSPORT_TAG, ctx);
    let transports = Arc::new(transports.map_err(|error| error.at("loading transport"))?);
    let passive = json.health_checks.as_ref().and_then(|checks| checks.passive.as_ref());
    let limits = Limits::of(passive);
    let upstreams = upstreams(&json, limits)?;
    if let Some(checks) = json.health_checks.as_ref().and_then(|checks| checks.active.as_ref()) {
        active::provision(checks, &upstreams, &transports, ctx)
            .map_err(|error| error.at("provisioning active health checks"))?;
    }
    ctx.metrics().add(Arc::new(Health(upstreams.clone())));
    let lb = json.load_balancing.clone().unwrap_or_default();
    let (retries, answer_match) = retries(&lb, ctx)?;
    let headers = json.headers.clone().unwrap_or_default();
    let compile = |error: ProvisionError| error.at("provisioning embedded headers handler");
    let source = json.dynamic_upstreams.as_ref().map(|source| Source::provision(source, limits));
    Ok(Box::new(Proxy {
        upstreams,
        source: source.transpose().map_err(|error| error.at("loading upstream source module"))?,
        policy: policy::provision(lb.selection_policy.as_ref())
            .map_err(|error| error.at("loading load balancing selection policy"))?,
        retries,
        answer_match,
        passive: passive.map(Passive::new),
        transports,
        rewrite: json.rewrite.as_ref().map(|rewrite| Rewrite::provision(rewrite, ctx)).transpose()?,
        trusted: json.trusted_proxies.iter().map(|range| trusted(range)).collect::<Result<_, _>>()?,
        header_up: headers.request.as_ref().map(HeaderOps::compile).transpose().map_err(compile)?,
        request_buffer_bytes: buffer_bytes(json.request_buffers),
        response_buffer_bytes: buffer_bytes(json.response_buffers),
        handlers: ResponseHandlers::provision(&json.handle_response, Precedence::Status, ctx)?,
        verbose_logs: json.verbose_logs,
        finish: Arc::new(Finish {
            headers: headers
                .response
                .as_ref()
                .map(ResponseHeaderOps::compile)
                .transpose()
                .map_err(compile)?,
            tunnels: Tunnels::new(
                json.stream_timeout.positive(),
                usize::try_from(json.stream_buffer_size).unwrap_or(0),
                json.stream_close_delay.positive(),
            ),
        }),
    }))
}

/// Tells whether upstreams are healthy.
struct Health(Box<[Arc<Upstream>]>);

impl Collector for Health {
    fn collect(&self, into: &mut Snapshot) {
        let help = "Health status of reverse proxy upstreams.";
        let family = into.family("caddy_reverse_proxy_upstreams_healthy", Kind::Gauge, help);
        for upstream in &self.0 {
            family.set(&[("upstream", &upstream.name)], f64::from(u8::from(upstream.is_healthy())));
        }
    }
}

fn upstreams(json: &ReverseProxy, limits: Limits) -> Result<Box<[Arc<Upstream>]>, ProvisionError> {
    let one = |upstream: &super::json::Upstream| {
        let own = usize::try_from(upstream.max_requests).ok().filter(|most| *most > 0);
        let limits = Limits { max_requests: own.or(limits.max_requests), ..limits };
        let built = Upstream::provision(&upstream.dial, limits);
        built
            .map(Arc::new)
            .map_err(|error| ProvisionError::invalid(format!("upstream {}: {error}", upstream.dial)))
    };
    json.upstreams.iter().map(one).collect()
}

/// Whether and when requests are tried again, and the answers that ask for it.
fn retries(
    json: &LoadBalancing,
    ctx: &mut Provision<'_>,
) -> Result<(Retries, Option<crate::http::MatcherSets>), ProvisionError> {
    let duration = json.try_duration.positive();
    // Waiting not at all would spin while all upstreams are down.
    let interval = json.try_interval.positive().or(duration.map(|_| TRY_INTERVAL));
    // Only an expression can look at an answer. Sets without any speak of requests alone, and would
    // refuse every answer to such a request.
    let expressions: Vec<MatcherSet> =
        json.retry_match.iter().filter(|set| set.contains_key("expression")).cloned().collect();
    let mut sets = |sets: &[MatcherSet]| match sets {
        [] => Ok(None),
        sets => ctx.matcher_sets(sets).map(Some),
    };
    let retries = Retries {
        count_max: usize::try_from(json.retries).unwrap_or(0),
        duration,
        interval,
        request_match: sets(&json.retry_match)?,
    };
    Ok((retries, sets(&expressions)?))
}

fn trusted(range: &str) -> Result<IpNet, ProvisionError> {
    if range.contains('/') {
        range
            .parse()
            .map_err(|error| ProvisionError::invalid(format!("parsing CIDR expression: '{range}': {error}")))
    } else {
        range
            .parse::<std::net::IpAddr>()
            .map(IpNet::from)
            .map_err(|error| ProvisionError::invalid(format!("invalid IP address: '{range}': {error}")))
    }
}

/// How much of a body is gathered. Even "unlimited" has a bound.
fn buffer_bytes(said: i64) -> Option<usize> {
    match said {
        0 => None,
        said => Some(
            usize::try_from(said)
                .map_or(bodies::BUFFER_BYTES_MAX, |bytes| bytes.min(bodies::BUFFER_BYTES_MAX)),
        ),
    }
}
