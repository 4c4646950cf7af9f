//! Listener wrappers: what looks at a connection before it is served, in front of TLS or behind it.

mod proxy_protocol;

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, timeout_at};

use proxy_protocol::{Ends, Start, look};

use super::conn::PLAIN_STARTS;
use super::h1::is_authority;
use crate::config::schema::{ModuleSchema, Nothing};
use crate::config::{self, ModuleJson};
use crate::http::{ConnInfo, ProvisionError};

/// The tag under which a wrapper's name stands.
const WRAPPER_TAG: &str = "wrapper";
/// The wrapper that only marks where TLS belongs.
const TLS: &str = "tls";
/// A header of the PROXY protocol must have come within this time, unless said otherwise.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The head of a request that is to be redirected may be no longer.
const REDIRECT_HEAD_BYTES_MAX: usize = 64 * 1024;
/// As many header fields as that are looked through for the host.
const REDIRECT_FIELDS_MAX: usize = 128;

/// A server's listener wrappers, in their order.
#[derive(Default)]
pub(in crate::http) struct Wrappers {
    before_tls: Vec<Wrapper>,
    behind_tls: Vec<Wrapper>,
}

enum Wrapper {
    ProxyProtocol(ProxyProtocol),
    HttpRedirect { head_bytes_max: usize },
}

/// From whom a header of the PROXY protocol is taken.
struct ProxyProtocol {
    timeout: Option<Duration>,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    fallback: Policy,
}

/// What becomes of a header.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Policy {
    /// It is dropped.
    #[default]
    Ignore,
    /// It counts.
    Use,
    /// Who sends one is turned away.
    Reject,
    /// Who sends none is turned away.
    Require,
    /// It is not looked for.
    Skip,
}

/// The JSON form of `caddy.listeners.proxy_protocol`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ProxyProtocolJson {
    timeout: config::Duration,
    allow: Vec<String>,
    deny: Vec<String>,
    fallback_policy: Policy,
}

/// The JSON form of `caddy.listeners.http_redirect`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct HttpRedirectJson {
    max_header_bytes: i64,
}

/// What can be said of each wrapper; of the one that stands for TLS, nothing.
pub(in crate::http) const SCHEMAS: &[ModuleSchema] = &[
    ModuleSchema::of::<ProxyProtocolJson>(WRAPPERS, "proxy_protocol"),
    ModuleSchema::of::<HttpRedirectJson>(WRAPPERS, "http_redirect"),
    ModuleSchema::of::<Nothing>(WRAPPERS, "tls"),
];

const WRAPPERS: &str = "caddy.listeners";

/// A connection is not to be served.
#[derive(Debug)]
pub(super) struct Turned;

impl Wrappers {
    /// The wrappers that a server asks for.
    ///
    /// # Errors
    /// There is no such wrapper, or its own complaint.
    pub(in crate::http) fn provision(config: &config::http::Server) -> Result<Self, ProvisionError> {
        let mut wrappers = Self::default();
        let names = config.listener_wrappers.iter().map(|wrapper| wrapper.name(WRAPPER_TAG));
        let names: Vec<&str> = names.collect::<Result<_, _>>()?;
        // Without a mark, TLS comes first.
        let mut is_before = names.contains(&TLS);
        for (json, name) in config.listener_wrappers.iter().zip(names) {
            if name == TLS {
                is_before = false;
                continue;
            }
            let wrapper = Wrapper::provision(json, name)
                .map_err(|error| error.at(format!("listener wrapper {name}")))?;
            if is_before { &mut wrappers.before_tls } else { &mut wrappers.behind_tls }.push(wrapper);
        }
        Ok(wrappers)
    }

    /// Whether there are none, which costs a connection nothing.
    pub(super) fn are_none(&self) -> bool {
        self.before_tls.is_empty() && self.behind_tls.is_empty()
    }

    /// Whether there are some behind TLS.
    pub(super) fn are_behind_tls(&self) -> bool {
        !self.behind_tls.is_empty()
    }

    /// Those in front of TLS, or all where there is none, look at a connection; what they have read and left is the result. A request
    /// that one of them answers itself must come within `limit`.
    pub(super) async fn before_tls<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: &mut T,
        conn: &mut ConnInfo,
        limit: Option<Duration>,
        has_tls: bool,
    ) -> Result<Vec<u8>, Turned> {
        let behind = if has_tls { &[] } else { &self.behind_tls[..] };
        run(self.before_tls.iter().chain(behind), io, conn, limit).await
    }

    /// Those behind TLS do.
    pub(super) async fn behind_tls<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: &mut T,
        conn: &mut ConnInfo,
        limit: Option<Duration>,
    ) -> Result<Vec<u8>, Turned> {
        run(self.behind_tls.iter(), io, conn, limit).await
    }
}

async fn run<T: AsyncRead + AsyncWrite + Unpin>(
    wrappers: impl Iterator<Item = &Wrapper>,
    io: &mut T,
    conn: &mut ConnInfo,
    limit: Option<Duration>,
) -> Result<Vec<u8>, Turned> {
    let mut first = Vec::new();
    for wrapper in wrappers {
        match wrapper {
            Wrapper::ProxyProtocol(proxy_protocol) => proxy_protocol.run(io, conn, &mut first).await?,
            Wrapper::HttpRedirect { head_bytes_max } => {
                let redirecting = redirect(io, &mut first, *head_bytes_max);
                match limit {
                    Some(limit) => tokio::time::timeout(limit, redirecting).await.map_err(|_| Turned)??,
                    None => redirecting.await?,
                }
            }
        }
    }
    Ok(first)
}

impl Wrapper {
    fn provision(json: &ModuleJson, name: &str) -> Result<Self, ProvisionError> {
        match name {
            "proxy_protocol" => {
                let json: ProxyProtocolJson = json.decode(WRAPPER_TAG)?;
                let timeout = match json.timeout.as_nanos() {
                    0 => Some(HEADER_TIMEOUT),
                    _ => json.timeout.positive(),
                };
                Ok(Self::ProxyProtocol(ProxyProtocol {
                    timeout,
                    allow: ranges(&json.allow)?,
                    deny: ranges(&json.deny)?,
                    fallback: json.fallback_policy,
                }))
            }
            "http_redirect" => {
                let json: HttpRedirectJson = json.decode(WRAPPER_TAG)?;
                let said = usize::try_from(json.max_header_bytes).ok().filter(|most| *most > 0);
                let head_bytes_max =
                    said.map_or(REDIRECT_HEAD_BYTES_MAX, |most| most.min(REDIRECT_HEAD_BYTES_MAX));
                Ok(Self::HttpRedirect { head_bytes_max })
            }
            name => Err(ProvisionError::Unknown { namespace: "caddy.listeners", name: name.to_owned() }),
        }
    }
}

fn ranges(texts: &[String]) -> Result<Vec<IpNet>, ProvisionError> {
    let range = |text: &String| {
        text.parse().map_err(|error| ProvisionError::invalid(format!("parsing range '{text}': {error}")))
    };
    texts.iter().map(range).collect()
}

impl ProxyProtocol {
    fn policy(&self, peer: Option<SocketAddr>) -> Policy {
        // Whoever may open a Unix socket is trusted.
        let Some(peer) = peer.map(|peer| peer.ip().to_canonical()) else { return Policy::Use };
        let is_in = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&peer));
        if is_in(&self.deny) {
            Policy::Reject
        } else if is_in(&self.allow) {
            Policy::Use
        } else {
            self.fallback
        }
    }

    async fn run<T: AsyncRead + Unpin>(
        &self,
        io: &mut T,
        conn: &mut ConnInfo,
        first: &mut Vec<u8>,
    ) -> Result<(), Turned> {
        let policy = self.policy(conn.peer);
        if policy == Policy::Skip {
            return Ok(());
        }
        let found = match self.timeout.map(|limit| Instant::now() + limit) {
            None => header(io, first).await,
            Some(end) => timeout_at(end, header(io, first)).await.unwrap_or(match &first[..] {
                [] => Ok(None),
                _ => Err("PROXY header cut short"),
            }),
        };
        let found = found.map_err(|error| {
            tracing::debug!(target: "caddy.listeners.proxy_protocol", peer = ?conn.peer, error, "refused");
            Turned
        })?;
        match (policy, found) {
            (Policy::Reject, Some(_)) | (Policy::Require, None) => Err(Turned),
            (Policy::Use | Policy::Require, Some(Some(Ends { source, destination }))) => {
                conn.peer = Some(source);
                conn.local = conn.local.map(|_| destination);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Takes a header off the start of a connection, if there is one.
async fn header<T: AsyncRead + Unpin>(
    io: &mut T,
    first: &mut Vec<u8>,
) -> Result<Option<Option<Ends>>, &'static str> {
    loop {
        match look(first)? {
            Start::Header(length, ends) => {
                first.drain(..length);
                return Ok(Some(ends));
            }
            Start::None => return Ok(None),
            Start::Incomplete if read(io, first).await => {}
            // Whoever has sent nothing says nothing wrong.
            Start::Incomplete if first.is_empty() => return Ok(None),
            Start::Incomplete => return Err("PROXY header cut short"),
        }
    }
}

/// Redirects a request in plain HTTP to where TLS is spoken, which is the same address. Anything else
/// goes its way.
async fn redirect<T: AsyncRead + AsyncWrite + Unpin>(
    io: &mut T,
    first: &mut Vec<u8>,
    head_bytes_max: usize,
) -> Result<(), Turned> {
    let is_start = |bytes: &[u8]| PLAIN_STARTS.iter().any(|start| bytes.starts_with(start));
    let may_be = |bytes: &[u8]| PLAIN_STARTS.iter().any(|start| start.starts_with(bytes));
    while !is_start(first) {
        if !may_be(first) || !read(io, first).await {
            return Ok(());
        }
    }
    loop {
        let mut fields = [httparse::EMPTY_HEADER; REDIRECT_FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(first) {
            Ok(httparse::Status::Complete(_)) => {
                if let Some(location) = location(&request) {
                    let answer = format!(
                        "HTTP/1.0 308 Permanent Redirect\r\nConnection: close\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
                    );
                    _ = io.write_all(answer.as_bytes()).await;
                    _ = io.shutdown().await;
                }
                return Err(Turned);
            }
            Ok(httparse::Status::Partial) if first.len() < head_bytes_max && read(io, first).await => {}
            _ => return Err(Turned),
        }
    }
}

/// Where a request is to go instead, if it names a host.
fn location(request: &httparse::Request<'_, '_>) -> Option<String> {
    let target = request.path.filter(|target| target.starts_with('/'))?;
    let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let host = hosts.next().filter(|field| !field.value.is_empty() && is_authority(field.value))?;
    if hosts.next().is_some() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    Some(format!("https://{}{target}", std::str::from_utf8(host.value).ok()?))
}

/// Reads more behind `first`; false at the end of the stream.
async fn read<T: AsyncRead + Unpin>(io: &mut T, first: &mut Vec<u8>) -> bool {
    thread_local! {
        static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into());
    }
    let read = poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            Pin::new(&mut *io).poll_read(cx, &mut buf).map_ok(|()| {
                first.extend_from_slice(buf.filled());
                !buf.filled().is_empty()
            })
        })
    });
    read.await.unwrap_or(false)
}
