//! Upstreams are asked now and then whether they are well (`health_uri` and the like).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{HOST, LOCATION};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::MissedTickBehavior;

use super::json::ActiveHealthChecks;
use super::upstreams::{Target, Upstream};
use crate::config::{NetworkAddress, join_host_port};
use crate::http::regexp::Regexp;
use crate::http::upstream::Outgoing;
use crate::http::{
    Body, ConnInfo, Exchange, Provision, ProvisionError, Response, Template, Unknown, Value, header_value,
    status_matches,
};
use crate::modules::transports::AnyTransport;
use crate::modules::transports::fastcgi::NoAnswer;

/// How often upstreams are asked, unless said otherwise.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long they have to answer, unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// So much of an answer's body is read, unless said otherwise.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// So many redirects are followed.
const REDIRECTS_MAX: usize = 10;
/// Under this name, header fields may tell the checked upstream's address.
const TARGET_PLACEHOLDER: &str = "http.reverse_proxy.active.target_upstream";

/// What is asked of upstreams, and what is expected of them.
struct Checks {
    method: Method,
    target: PathAndQuery,
    headers: Vec<(HeaderName, Template)>,
    body: Template,
    asked: Asked,
    follows_redirects: bool,
    interval: Duration,
    timeout: Duration,
    passes: u32,
    fails: u32,
    body_bytes_max: usize,
    status: Option<i64>,
    pattern: Option<Regexp>,
    transports: Arc<AnyTransport>,
}

/// Who is asked about an upstream.
enum Asked {
    Itself,
    /// Itself, on another port.
    Port(u16),
    /// Someone else.
    Other(Arc<Target>),
}

/// One upstream, and how its checks went lately.
struct Patient {
    upstream: Arc<Upstream>,
    target: Arc<Target>,
    passes: u32,
    fails: u32,
}

/// What is wrong with an upstream.
#[derive(Debug, thiserror::Error)]
enum Illness {
    #[error("no answer in time")]
    Silent,
    #[error("{0}")]
    NoAnswer(String),
    #[error("unexpected status code {}", .0.as_u16())]
    Status(StatusCode),
    #[error("failed to read response body: {0}")]
    BrokenBody(String),
    #[error("response body failed expectations")]
    Body,
}

/// Adds the checks to the work beside the requests, if there is anything to check.
pub fn provision(
    json: &ActiveHealthChecks,
    upstreams: &[Arc<Upstream>],
    transports: &Arc<AnyTransport>,
    ctx: &mut Provision<'_>,
) -> Result<(), ProvisionError> {
    if json.path.is_empty() && json.uri.is_empty() && json.port == 0 {
        return Ok(());
    }
    let checks = Checks::new(json, transports)?;
    let mut patients = Vec::with_capacity(upstreams.len());
    for upstream in upstreams {
        match checks.target(upstream) {
            Some(target) => {
                let upstream = Arc::clone(upstream);
                patients.push(Patient { upstream, target, passes: 0, fails: 0 });
            }
            None => tracing::error!(
                upstream = %upstream.name,
                "active health checks do not reach an upstream whose address depends on the request"
            ),
        }
    }
    ctx.run_in_background(checks.run(patients));
    Ok(())
}

impl Checks {
    fn new(json: &ActiveHealthChecks, transports: &Arc<AnyTransport>) -> Result<Self, ProvisionError> {
        let invalid =
            |what: &str, error: &dyn std::fmt::Display| ProvisionError::invalid(format!("{what}: {error}"));
        let uri = if json.uri.is_empty() { &json.path } else { &json.uri };
        let target = if uri.is_empty() { "/" } else { uri };
        let target: Uri = target.parse().map_err(|error| invalid("uri", &error))?;
        let method = if json.method.is_empty() { "GET" } else { &json.method };
        let mut headers = Vec::new();
        for (name, values) in &json.headers {
            let name: HeaderName = name.parse().map_err(|error| invalid("headers", &error))?;
            headers
                .extend(values.iter().map(|value| (name.clone(), Template::compile(value, Unknown::Keep))));
        }
        let pattern = (!json.expect_body.is_empty())
            .then(|| Regexp::new(&json.expect_body))
            .transpose()
            .map_err(|error| invalid("expect_body: compiling regular expression", &error))?;
        let at_least_one = |number: i64| u32::try_from(number.max(1)).unwrap_or(u32::MAX);
        Ok(Self {
            method: Method::from_bytes(method.as_bytes()).map_err(|error| invalid("method", &error))?,
            target: target.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
            headers,
            body: Template::compile(&json.body, Unknown::Empty),
            asked: Asked::of(json)?,
            follows_redirects: json.follow_redirects,
            interval: json.interval.positive().unwrap_or(INTERVAL),
            timeout: json.timeout.positive().unwrap_or(TIMEOUT),
            passes: at_least_one(json.passes),
            fails: at_least_one(json.fails),
            body_bytes_max: usize::try_from(json.max_size)
                .ok()
                .filter(|max| *max > 0)
                .unwrap_or(BODY_BYTES_MAX),
            status: Some(json.expect_status).filter(|status| *status > 0),
            pattern,
            transports: Arc::clone(transports),
        })
    }

    /// Whom to ask about an upstream; `None` if nobody knows where it is.
    fn target(&self, upstream: &Upstream) -> Option<Arc<Target>> {
        let itself = upstream.fixed_target()?;
        match &self.asked {
            Asked::Itself => Some(Arc::clone(itself)),
            Asked::Other(target) => Some(Arc::clone(target)),
            Asked::Port(port) => {
                let address: NetworkAddress = upstream.name.parse().ok()?;
                let host = if address.is_unix() { "" } else { &address.host };
                Target::parse(&join_host_port(host, &port.to_string())).ok().map(Arc::new)
            }
        }
    }

    /// Asks about all upstreams, again and again.
    async fn run(self, mut patients: Vec<Patient>) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            futures_util::future::join_all(patients.iter_mut().map(|patient| self.visit(patient))).await;
        }
    }

    async fn visit(&self, patient: &mut Patient) {
        let check = tokio::time::timeout(self.timeout, self.check(patient));
        let result = check.await.unwrap_or(Err(Illness::Silent));
        let host = &patient.target.text.hostport;
        match &result {
            Ok(()) => patient.passes += 1,
            Err(error) => {
                tracing::info!(host, %error, "health check failed");
                patient.fails += 1;
            }
        }
        let (enough, unhealthy) = match result {
            Ok(()) => (patient.passes >= self.passes, false),
            Err(_) => (patient.fails >= self.fails, true),
        };
        if enough && patient.upstream.unhealthy.swap(unhealthy, Ordering::Relaxed) != unhealthy {
            tracing::info!(host, "{}", if unhealthy { "host is down" } else { "host is up" });
            (patient.passes, patient.fails) = (0, 0);
        }
    }

    async fn check(&self, patient: &Patient) -> Result<(), Illness> {
        let x = request_context(&patient.upstream.name);
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name, header_value(&value.render(&x)));
        }
        let body = self.body.render(&x).into_owned();
        if !headers.contains_key(HOST) {
            headers.insert(HOST, header_value(patient.target.text.hostport.as_bytes()));
        }
        let dial = &patient.target.dial;
        let mut target = self.target.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut body = Body::from(body.clone());
            let outgoing = self.outgoing(&target, &headers);
            let response = match &*self.transports {
                AnyTransport::Http(transports) => {
                    let way = transports.pick(dial, &x, false).map_err(Illness::NoAnswer)?;
                    let answer = way.round_trip(dial, outgoing, &mut body, &mut |_, _| {}).await;
                    answer.map_err(|error| Illness::NoAnswer(error.to_string()))?
                }
                AnyTransport::FastCgi(fastcgi) => {
                    let prepared = fastcgi.prepare(&x, &outgoing, &body).map_err(refused)?;
                    let answer = fastcgi.round_trip(dial, &outgoing, prepared, &mut body).await;
                    answer.map_err(|error| match error {
                        NoAnswer::Refused(error) => refused(error),
                        NoAnswer::Upstream(error) => Illness::NoAnswer(error.to_string()),
                    })?
                }
            };
            match self.redirect(&response) {
                Some((next, host)) => {
                    target = next;
                    if let Some(host) = host {
                        headers.insert(HOST, header_value(host.as_bytes()));
                    }
                }
                None => return self.judge(response).await,
            }
        }
        Err(Illness::NoAnswer("too many redirects".into()))
    }

    fn outgoing<'a>(&'a self, target: &'a PathAndQuery, headers: &'a HeaderMap) -> Outgoing<'a> {
        Outgoing {
            method: &self.method,
            target: target.as_str().as_bytes(),
            headers,
            omit: &[],
            extra: &[],
            upgrade: false,
            client: None,
        }
    }

    /// Where a redirect points, if redirects are followed: the target, and the host if it is named.
    fn redirect(&self, response: &Response) -> Option<(PathAndQuery, Option<String>)> {
        if !self.follows_redirects || !response.status().is_redirection() {
            return None;
        }
        let location: Uri = response.headers().get(LOCATION)?.to_str().ok()?.parse().ok()?;
        let host = location.authority().map(|authority| authority.as_str().to_owned());
        Some((location.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")), host))
    }

    async fn judge(&self, response: Response) -> Result<(), Illness> {
        let status = response.status();
        let is_good = match self.status {
            Some(expected) => status_matches(status, expected),
            None => status.is_success(),
        };
        if !is_good {
            return Err(Illness::Status(status));
        }
        // Reading to the end lets the connection be used again.
        let body = Limited::new(response.into_body(), self.body_bytes_max).collect().await;
        let Some(pattern) = &self.pattern else { return Ok(()) };
        let body = body.map_err(|error| Illness::BrokenBody(error.to_string()))?.to_bytes();
        if pattern.is_match(&body) { Ok(()) } else { Err(Illness::Body) }
    }
}

impl Asked {
    fn of(json: &ActiveHealthChecks) -> Result<Self, ProvisionError> {
        if !json.upstream.is_empty() {
            let target = Target::parse(&json.upstream);
            return target
                .map(|target| Self::Other(Arc::new(target)))
                .map_err(|error| ProvisionError::invalid(format!("upstream: {error}")));
        }
        match json.port {
            0 => Ok(Self::Itself),
            port => u16::try_from(port)
                .map(Self::Port)
                .map_err(|_| ProvisionError::invalid(format!("port: {port} is none"))),
        }
    }
}

fn refused(error: crate::http::HandlerError) -> Illness {
    Illness::NoAnswer(error.message())
}

/// What placeholders are looked up in, where no client has asked.
fn request_context(upstream: &str) -> Exchange {
    let request = http::Request::new(Body::Empty);
    let mut x = Exchange::new(request, Arc::new(ConnInfo::new(None, None, None)));
    x.named.set(TARGET_PLACEHOLDER, Value::from(upstream));
    x
}
