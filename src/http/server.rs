//! One server of `apps.http`: its routes, its limits, and the first and last steps of every request.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Version, header};
use socket2::TcpKeepalive;

use super::access_log::ServerLog;
use super::alias_fields::AliasFields;
use super::content_type::Settled;
use super::serve::{WireLimits, Wrappers, has_sound_escapes, is_authority};
use super::strict_sni::{self, StrictSni};
use super::trusted_proxies::TrustedProxies;
use super::unsupported;
use super::{Body, Exchange, Provision, ProvisionError, Response, Routes, run};
use crate::config;
use crate::tls;
use crate::tls::challenges;

/// The name under which the product answers, in `Server` and `Via`.
pub const PRODUCT: &str = "Tollgate";

/// A request's head may have this many bytes, as in Caddy since 2.11.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Go reads so much more than the limit before it complains.
const HEAD_BYTES_SLACK: usize = 4 * 1024;
/// How long a client may neither send nor take anything while it owes it, as in Caddy since 2.11.
const STALL: Duration = Duration::from_secs(60);
/// A request's head must come within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A silent client is asked after this time, and again, whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A client may go by what `Alt-Svc` says for this long, as in Caddy.
const ALT_SVC_SECONDS: u32 = 2_592_000;
/// A connection may wait this long for its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// A provisioned server.
pub struct Server {
    routes: Routes,
    errors: Option<Routes>,
    limits: WireLimits,
    asks_local_address: bool,
    wrappers: Wrappers,
    trusted_proxies: Option<TrustedProxies>,
    alias_fields: AliasFields,
    log: ServerLog,
    /// For questions of authorities.
    tls: Option<Arc<tls::App>>,
    handle: ServerHandle,
    /// What `Alt-Svc` says (RFC 7838), if HTTP/3 is spoken.
    alt_svc: OnceLock<HeaderValue>,
}

/// A way for a server's own handlers to ask it again. It leads nowhere until the server stands.
#[derive(Clone, Default)]
pub struct ServerHandle(Arc<OnceLock<Weak<Server>>>);

impl ServerHandle {
    /// Answers a request that one of the server's handlers has made up. It comes from whom `x` says;
    /// no proxy's word is taken for it.
    pub async fn ask(&self, x: &mut Exchange) -> Option<Response> {
        let server = self.0.get().and_then(Weak::upgrade)?;
        Some(server.route(x).await)
    }
}

impl Server {
    /// Builds a server and everything in it.
    ///
    /// # Errors
    /// The first part that can't be built, or that asks for what there isn't.
    pub fn provision(
        name: &str,
        config: &config::http::Server,
        ctx: &mut Provision<'_>,
    ) -> Result<Self, ProvisionError> {
        let at = |error: ProvisionError| error.at(format!("server {name}"));
        unsupported::refuse(config).map_err(at)?;
        let handle = ctx.begin_server();
        ctx.trace(config.logs.as_ref().is_some_and(|logs| logs.trace));
        ctx.count_requests_of(Some(name));
        ctx.take_named_routes(&config.named_routes).map_err(at)?;
        let mut routes = ctx.routes(&config.routes).map_err(at)?;
        ctx.count_requests_of(None);
        if strict_sni::is_on(config) {
            routes = routes.behind(StrictSni);
        }
        let errors = match &config.errors {
            Some(errors) => Some(ctx.routes(&errors.routes).map_err(|error| at(error.at("error routes")))?),
            None => None,
        };
        Ok(Self {
            handle,
            log: ServerLog::provision(config.logs.as_ref(), ctx),
            tls: ctx.tls_app(),
            routes,
            errors,
            limits: limits(config),
            asks_local_address: ctx.asks_local_address() || asks_local_address(config),
            wrappers: Wrappers::provision(config).map_err(at)?,
            trusted_proxies: TrustedProxies::provision(config).map_err(at)?,
            alias_fields: AliasFields::provision(config).map_err(at)?,
            alt_svc: OnceLock::new(),
        })
    }

    /// The server, shared, and within its handlers' reach.
    pub fn share(self) -> Arc<Self> {
        let server = Arc::new(self);
        // The handle is this server's alone, so it is still empty.
        let _ = server.handle.0.set(Arc::downgrade(&server));
        server
    }

    /// How long and how much its clients may.
    pub(super) fn limits(&self) -> &WireLimits {
        &self.limits
    }

    /// Has answers over HTTP/1 and HTTP/2 tell that it speaks HTTP/3 on these ports. Once said, it stays.
    pub(super) fn advertise(&self, ports: &[u16]) {
        let offers: Vec<_> =
            ports.iter().map(|port| format!("h3=\":{port}\"; ma={ALT_SVC_SECONDS}")).collect();
        if let Ok(offers) = HeaderValue::try_from(offers.join(",")) {
            let _ = self.alt_svc.set(offers);
        }
    }

    /// What looks at connections before they are served.
    pub(super) fn wrappers(&self) -> &Wrappers {
        &self.wrappers
    }

    /// Whether something in it may ask for the address that a connection came to.
    pub(super) fn asks_local_address(&self) -> bool {
        self.asks_local_address
    }

    /// Answers one request.
    pub(super) async fn serve(&self, x: &mut Exchange) -> Response {
        if let Some(answer) = first_look(x) {
            return answer;
        }
        if let Some(tls) = &self.tls
            && challenges::is_http_path(x.uri.path())
            && let Some(answer) = Box::pin(challenge_answer(tls, x)).await
        {
            return answer;
        }
        if let Some(proxies) = &self.trusted_proxies {
            proxies.judge(x);
        }
        self.route(x).await
    }

    async fn route(&self, x: &mut Exchange) -> Response {
        // The request is logged as it came, with the fields that are dropped next.
        self.log.begin(x);
        self.alias_fields.filter(&mut x.headers);
        x.response_headers.insert(header::SERVER, HeaderValue::from_static(PRODUCT));
        if let Some(offers) = self.alt_svc.get()
            && x.version < Version::HTTP_3
        {
            x.response_headers.insert(header::ALT_SVC, offers.clone());
        }
        let (mut response, fate) = run(&self.routes, self.errors.as_ref(), x).await;
        if let Some(metered) = x.metered.take() {
            metered.answered(&mut response);
        }
        *response.status_mut() = x.interim_way().settle(response.status(), response.headers());
        let content_type = Settled::of(x.version, &mut response).await;
        let mut response = self.log.finish(x, response, &fate);
        content_type.apply(response.headers_mut());
        response
    }
}

/// Answers what Go's server answers before Caddy sees it.
fn first_look(x: &mut Exchange) -> Option<Response> {
    // Where we read heads ourselves, over HTTP/1 and HTTP/3, that is seen to.
    if x.version == http::Version::HTTP_2
        && !(has_sound_host(x) && has_sound_escapes(x.uri.path().as_bytes()))
    {
        return Some(status(StatusCode::BAD_REQUEST));
    }
    if x.method == Method::OPTIONS && x.uri.path() == "*" {
        return Some(Response::new(Body::Empty));
    }
    if let Some(expect) = x.headers.get(header::EXPECT)
        && x.version < Version::HTTP_2
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        x.close_connection = true;
        return Some(status(StatusCode::EXPECTATION_FAILED));
    }
    if x.version == http::Version::HTTP_11 && x.headers.get(header::HOST).is_some_and(HeaderValue::is_empty) {
        let mut answer = status(StatusCode::BAD_REQUEST);
        answer.headers_mut().insert(header::SERVER, HeaderValue::from_static(PRODUCT));
        return Some(answer);
    }
    None
}

/// What an authority that asks whether a name is ours wants to hear (RFC 8555 section 8.3, or a file); nothing if no
/// such question is open, since then the path is the site's.
async fn challenge_answer(tls: &tls::App, x: &mut Exchange) -> Option<Response> {
    if x.method != Method::GET {
        return None;
    }
    let (host, path) = (x.hostname().to_owned(), x.uri.path().to_owned());
    let (answer, distributed) = match challenges::http_answer(&host, &path) {
        Some(answer) => (answer, false),
        None => (tls.shared_challenge_answer(&host, &path).await?, true),
    };
    let remote = x.conn.peer.map(tracing::field::display);
    tracing::info!(target: "tls.issuance.acme", identifier = %host, challenge = "http-01", remote, distributed, "served key authentication");
    x.close_connection = true;
    let mut response = Response::new(Body::Full(answer.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Some(response)
}

/// Whether an HTTP/2 request names one host, or none, as a Host field can name it.
fn has_sound_host(x: &Exchange) -> bool {
    let mut hosts = x.headers.get_all(header::HOST).iter();
    let host = hosts.next().map_or(&b""[..], HeaderValue::as_bytes);
    hosts.next().is_none() && (host.is_empty() || is_authority(host))
}

/// Looks for the placeholder's name in all of the configuration's text, wherever it may stand.
fn asks_local_address(config: &config::http::Server) -> bool {
    // What can't be written as JSON never came from there; then better ask once too often.
    serde_json::to_string(config).map_or(true, |text| text.contains("http.request.local"))
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

/// How the kernel asks whether a silent client is still there; nothing if it is not to.
fn keep_alive(config: &config::http::Server) -> Option<TcpKeepalive> {
    let or = |said: config::Duration| {
        if said == config::Duration::ZERO { Some(KEEP_ALIVE) } else { said.positive() }
    };
    let (interval, idle) = (or(config.keepalive_interval)?, or(config.keepalive_idle)?);
    let params = TcpKeepalive::new().with_interval(interval).with_time(idle);
    Some(match u32::try_from(config.keepalive_count) {
        Ok(count @ 1..) => params.with_retries(count),
        _ => params,
    })
}

fn limits(config: &config::http::Server) -> WireLimits {
    let or = |said: config::Duration, default| {
        if said == config::Duration::ZERO { Some(default) } else { said.positive() }
    };
    let head_bytes = usize::try_from(config.max_header_bytes).unwrap_or(0);
    WireLimits {
        head_bytes_max: HEAD_BYTES_SLACK + if head_bytes == 0 { HEAD_BYTES_MAX } else { head_bytes },
        head_timeout: or(config.read_header_timeout, HEAD_TIMEOUT),
        idle_timeout: or(config.idle_timeout, IDLE_TIMEOUT),
        read_idle_timeout: or(config.read_idle_timeout, STALL),
        write_idle_timeout: or(config.write_idle_timeout, STALL),
        read_timeout: config.read_timeout.positive(),
        write_timeout: config.write_timeout.positive(),
        keep_alive: keep_alive(config),
    }
}
