//! The way of one request through the proxy: upstream by upstream, until one answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, SET_COOKIE, TRAILER, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use ipnet::IpNet;

use super::answer::{Answer, Finish, HeldAnswer};
use super::balance::{Policy, Subject};
use super::bodies;
use super::handle_response::{Handled, ResponseHandlers};
use super::health::Passive;
use super::hop_by_hop;
use super::overlay::Overlay;
use super::request;
use super::retry::{Failure, Retries};
use super::rewrite::{Rewrite, Rewritten};
use super::source::Source;
use super::upstreams::{Target, Upstream};
use crate::http::upstream::{Outgoing, Reason};
use crate::http::{
    Body, Exchange, Handler, HandlerError, HeaderOps, MatcherSets, Outcome, Response, Step, UpstreamField,
    UpstreamInfo,
};
use crate::modules::transports::AnyTransport;
use crate::modules::transports::fastcgi::NoAnswer;

/// So much of a body is gathered to learn its length, where it must be known.
const LENGTH_BUFFER_BYTES: usize = 4096;

/// A provisioned reverse proxy.
pub struct Proxy {
    pub(super) upstreams: Box<[Arc<Upstream>]>,
    pub(super) source: Option<Source>,
    pub(super) policy: Policy,
    pub(super) retries: Retries,
    /// Conditions on an answer (by `expression`) under which another upstream is tried.
    pub(super) answer_match: Option<MatcherSets>,
    pub(super) passive: Option<Passive>,
    pub(super) transports: Arc<AnyTransport>,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) trusted: Box<[IpNet]>,
    pub(super) header_up: Option<HeaderOps>,
    pub(super) request_buffer_bytes: Option<usize>,
    pub(super) response_buffer_bytes: Option<usize>,
    pub(super) handlers: ResponseHandlers,
    pub(super) verbose_logs: bool,
    pub(super) finish: Arc<Finish>,
}

/// A request as all upstreams are to see it.
struct Request {
    method: Method,
    target: RequestTarget,
    body: Body,
    has_body: bool,
    /// Whether the body is the client's, to be given back if no upstream took it.
    is_clients_body: bool,
    /// The body once more, if all of it was gathered, and whether its length is announced.
    again: Option<(Bytes, bool)>,
    wants_upgrade: bool,
}

enum RequestTarget {
    /// As the client wrote it.
    Plain(PathAndQuery),
    /// With escapes where the client should have written them.
    Escaped(Vec<u8>),
}

impl RequestTarget {
    fn of(x: &Exchange) -> Self {
        match (x.request_uri(), x.uri.path_and_query()) {
            (std::borrow::Cow::Borrowed(_), Some(target)) => Self::Plain(target.clone()),
            (target, _) => Self::Escaped(target.into_owned()),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Plain(target) => target.as_str().as_bytes(),
            Self::Escaped(target) => target,
        }
    }
}

impl Handler for Proxy {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Later(Box::pin(self.forward(x)))
    }
}

impl Proxy {
    /// What only some requests need is boxed: each request has room for all that is not.
    async fn forward<'p>(&'p self, x: &mut Exchange) -> Outcome<'p> {
        let started = Instant::now();
        let mut request = match self.prepare(x) {
            Ok(request) => request,
            Err(error) => return Outcome::Fail(error),
        };
        if let Some(limit) = self.gathers(&request.body) {
            Box::pin(self.gather(&mut request, limit)).await;
        }
        let mut retries = 0;
        loop {
            let attempt = self.attempt(x, &mut request, retries).await;
            let refused =
                attempt.is_ok() && self.answer_match.is_some() && Box::pin(self.is_refused(x)).await;
            let failure = match attempt {
                Ok(answer) if refused => Failure::Answer(answer.response.status()),
                Ok(answer) => {
                    if let Some(info) = &mut x.upstream {
                        info.retries = retries;
                        info.duration = Some(started.elapsed());
                    }
                    return self.answer(x, answer);
                }
                Err(failure) => failure,
            };
            let can_repeat = request.restore_body();
            if !can_repeat || !Box::pin(self.retries.wait(x, &failure, started, retries)).await {
                if request.is_clients_body {
                    x.body = request.body;
                }
                if let Some(info) = &mut x.upstream {
                    info.retries = retries;
                    info.duration = Some(started.elapsed());
                }
                return Outcome::Fail(failure.into_error());
            }
            if self.verbose_logs {
                tracing::debug!(error = %failure, retries, "retrying");
            }
            retries += 1;
        }
    }

    fn prepare(&self, x: &mut Exchange) -> Result<Request, HandlerError> {
        let look = |x: &Exchange| (x.method.clone(), RequestTarget::of(x));
        let (method, target, is_bodiless) = match &self.rewrite {
            None => {
                let (method, target) = look(x);
                (method, target, false)
            }
            Some(rewrite) => {
                let Rewritten { outcome: (method, target), changed } = rewrite.apply(x, look)?;
                (method, target, changed && rewrite.drops_body())
            }
        };
        // A request that loses its body here keeps it for the handlers that follow.
        let body = if is_bodiless { Body::Empty } else { std::mem::take(&mut x.body) };
        Ok(Request {
            method,
            target,
            has_body: !body.is_empty(),
            body,
            is_clients_body: !is_bodiless,
            again: None,
            wants_upgrade: request::upgrade(x).is_some(),
        })
    }

    /// So much of a request's body is gathered before it is sent.
    fn gathers(&self, body: &Body) -> Option<usize> {
        let needs_length = self.transports.needs_length() && body.size_hint().exact().is_none();
        self.request_buffer_bytes.or(needs_length.then_some(LENGTH_BUFFER_BYTES))
    }

    async fn gather(&self, request: &mut Request, limit: usize) {
        if request.body.is_empty() {
            return;
        }
        let gathered = bodies::gather(std::mem::take(&mut request.body), limit).await;
        if self.transports.needs_length()
            && let Some(whole) = gathered.whole()
        {
            request.body = Body::from(whole.clone());
            request.again = Some((whole, true));
            return;
        }
        if self.retries.are_possible() {
            request.again = gathered.whole().map(|whole| (whole, gathered.has_length()));
        }
        request.body = gathered.into_body();
    }

    /// One attempt at one upstream.
    async fn attempt(
        &self,
        x: &mut Exchange,
        request: &mut Request,
        retries: usize,
    ) -> Result<Answer, Failure> {
        let looked_up = match &self.source {
            Some(source) => Box::pin(source.upstreams(x)).await,
            None => None,
        };
        let pool = looked_up.as_deref().unwrap_or(&self.upstreams);
        let upstream = self.select(x, pool, request).ok_or(Failure::NoUpstream)?;
        let target = upstream
            .target(x)
            .map_err(|source| Failure::Target { name: upstream.name.to_string(), source })?;
        let mut info = UpstreamInfo::new(upstream.text(&target));
        if UpstreamField::requests_are_wanted() {
            info.requests = upstream.host.in_flight();
        }
        info.max_requests = upstream.max_requests.unwrap_or(0);
        info.fails = upstream.host.failures();
        info.retries = retries;
        x.upstream = Some(Box::new(info));
        let permit = self.transports.permit(&target.dial).await;
        let running = upstream.host.begin(permit);
        // What a slow client or a name server took is not the upstream's.
        let begun = Instant::now();
        let result = self.round_trip(x, request, &target).await;
        let latency = begun.elapsed();
        match result {
            Ok(response) => {
                if let Some(passive) = &self.passive {
                    passive.look_at(upstream, response.status(), latency);
                }
                let status = response.status().as_u16();
                tracing::debug!(upstream = %upstream.name, ?latency, status, "upstream roundtrip");
                let mut answer = Answer { response, running };
                self.note(x, &mut answer.response, latency);
                if let Some(limit) = self.response_buffer_bytes {
                    let body = std::mem::take(answer.response.body_mut());
                    *answer.response.body_mut() = Box::pin(bodies::gather(body, limit)).await.into_body();
                }
                Ok(answer)
            }
            Err(failure) => {
                tracing::debug!(upstream = %upstream.name, ?latency, error = %failure, "upstream roundtrip");
                if let (true, Some(passive)) = (failure.is_upstreams_fault(), &self.passive) {
                    passive.count_failure(upstream);
                }
                Err(failure)
            }
        }
    }

    fn select<'u>(
        &self,
        x: &mut Exchange,
        pool: &'u [Arc<Upstream>],
        request: &Request,
    ) -> Option<&'u Arc<Upstream>> {
        if !self.policy.looks_at_request() {
            return match pool {
                [only] => Some(only).filter(|only| only.is_available()),
                pool => self.policy.select_blindly(pool),
            };
        }
        let fields = request::fields(x, &self.trusted);
        let subject = Subject { x, fields: &fields, target: request.target.as_bytes() };
        let choice = self.policy.select(pool, &subject)?;
        let cookie = choice.set_cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok());
        drop(fields);
        if let Some(cookie) = cookie {
            x.response_headers.append(SET_COOKIE, cookie);
        }
        Some(choice.upstream)
    }

    async fn round_trip(
        &self,
        x: &mut Exchange,
        request: &mut Request,
        target: &Target,
    ) -> Result<Response, Failure> {
        let fields = self.fields(x, target)?;
        let outgoing = Outgoing {
            method: &request.method,
            target: request.target.as_bytes(),
            headers: fields.below(),
            omit: fields.omit(),
            extra: fields.extra(),
            upgrade: request.wants_upgrade,
            client: x.client_ip,
        };
        let transports = match &*self.transports {
            AnyTransport::Http(transports) => transports,
            AnyTransport::FastCgi(fastcgi) => {
                let prepared = fastcgi.prepare(x, &outgoing, &request.body).map_err(Failure::Refused)?;
                let answer = fastcgi.round_trip(&target.dial, &outgoing, prepared, &mut request.body);
                return Box::pin(answer).await.map_err(|error| match error {
                    NoAnswer::Refused(error) => Failure::Refused(error),
                    NoAnswer::Upstream(error) => Failure::Upstream(error),
                });
            }
        };
        let transport = transports.pick(&target.dial, x, request.wants_upgrade).map_err(Failure::Request)?;
        let interim_way = x.interim_way();
        let mut on_interim = |status: StatusCode, mut headers: HeaderMap| {
            // The client got its 100 from us when its body was first asked for.
            if status != StatusCode::CONTINUE {
                hop_by_hop::remove(&mut headers);
                interim_way.send(status, &headers);
            }
        };
        Ok(transport.round_trip(&target.dial, outgoing, &mut request.body, &mut on_interim).await?)
    }

    /// The header fields for one upstream.
    fn fields<'a>(&'a self, x: &'a Exchange, target: &'a Target) -> Result<Overlay<'a>, Failure> {
        let mut fields = request::fields(x, &self.trusted);
        let hostport = target.text.hostport.as_bytes();
        if self.transports.uses_tls() {
            fields.set(HOST, hostport);
        }
        if let Some(header_up) = &self.header_up {
            header_up.apply(&mut fields, x);
        }
        fields.settle_host(hostport);
        // The transport frames the message, whatever the configuration says.
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER] {
            fields.forget(&name);
        }
        match fields.invalid() {
            None => Ok(fields),
            Some(name) => Err(Failure::Request(format!("invalid header field value for {name}"))),
        }
    }

    /// Makes what is known of the answer known to placeholders.
    fn note(&self, x: &mut Exchange, response: &mut Response, latency: Duration) {
        let Some(info) = &mut x.upstream else { return };
        info.latency = Some(latency);
        info.status = Some(response.status());
        info.reason = response.extensions_mut().remove::<Reason>().map(|Reason(reason)| reason);
        if UpstreamField::headers_are_wanted() {
            info.headers = response.headers().clone();
        }
    }

    /// Whether another upstream should be asked, although this one has answered.
    async fn is_refused(&self, x: &mut Exchange) -> bool {
        let Some(sets) = &self.answer_match else { return false };
        sets.matches_after_lookups(x).await.unwrap_or_else(|error| {
            tracing::error!(%error, "matching answer for retry");
            false
        })
    }

    /// What becomes of an answer.
    fn answer<'p>(&'p self, x: &mut Exchange, mut answer: Answer) -> Outcome<'p> {
        match self.handlers.look(x, &answer.response) {
            Ok(Handled::PassOn) => {}
            Ok(Handled::Replace(status)) => *answer.response.status_mut() = status,
            Ok(Handled::Enter { routes, keeps_answer: true }) => {
                x.held = Some(Box::new(HeldAnswer { answer, finish: Arc::clone(&self.finish) }));
                return Outcome::Enter(routes, None);
            }
            Ok(Handled::Enter { routes, .. }) => {
                bodies::discard(answer.response.into_body());
                return Outcome::Enter(routes, None);
            }
            Err(error) => return Outcome::Fail(error),
        }
        match self.finish.finish(x, answer) {
            Ok(response) => Outcome::Respond(response),
            Err(error) => Outcome::Fail(error),
        }
    }
}

impl Request {
    /// Makes the body whole after an attempt that may have taken it. If that can't be, there is no
    /// further attempt.
    fn restore_body(&mut self) -> bool {
        if let Some((whole, has_length)) = &self.again {
            self.body = bodies::repeat(whole.clone(), *has_length);
            return true;
        }
        !self.has_body || !self.body.is_empty()
    }
}
