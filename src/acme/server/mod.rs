//! An authority of our own for others: the server's side of ACME (RFC 8555).
//!
//! ```text
//!  request ──► place ──► message ──► account ──► order ──► challenge ──► certificate
//!              links     jws, nonce  storage     memory    look          storage
//! ```
//!
//! Messages are verified, and certificates signed, on threads that may block; looking at challenges waits for
//! others, and is done on the worker. Accounts and certificates are in the storage. Orders and nonces are the
//! process's, so that they outlast a reload, but not a restart.

mod accounts;
mod identifier;
mod issue;
mod jws;
mod links;
mod look;
mod nonces;
mod orders;
mod policy;
mod post;
mod problem;
mod shares;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use look::Looker;
pub use orders::Way;
pub use policy::{Policy, Rules};

use accounts::{Records, Turn, folder};
use links::{Links, Missing, Place};
use nonces::Nonces;
use orders::{Look, Orders, Seen};
use post::Dealt;
use problem::{Kind, Problem};
use shares::Newcomers;

use crate::tls::{Authority, SharedStorage, blocking};

/// A message has at most so many bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// So many messages are dealt with at once; others wait.
const MESSAGES_AT_ONCE_MAX: usize = 32;
/// So many challenges are looked at at once; others wait.
const LOOKS_AT_ONCE_MAX: usize = 8;
/// Nobody waits longer for a turn.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a client that has reached a limit had better wait. Seconds.
const RETRY_SECONDS: u32 = 10;
/// How often certificates that have ended are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60 * 60);

const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

/// What is said of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What clients call the server by if a request does not say it.
    pub host: String,
    /// The path below which everything is. It begins with a slash.
    pub path_prefix: String,
    /// How long certificates live unless an order says otherwise.
    pub lifetime: Duration,
    /// How it can be shown that a name is somebody's.
    pub ways: Vec<Way>,
    /// For which names certificates are issued.
    pub policy: Policy,
    /// Whether the root signs, in place of the intermediate.
    pub sign_with_root: bool,
}

/// A request, as far as it matters.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whom it is from, if that is known.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: Method,
    /// What the client calls the server by, with the port if it says one.
    pub host: String,
    /// The decoded path.
    pub path: String,
    /// The path as it was sent.
    pub raw_path: String,
    /// What the body is said to be.
    pub content_type: String,
    /// The body, of [`MESSAGE_BYTES_MAX`] at most.
    pub body: Bytes,
}

/// What an authority's servers have in common as long as the process lives.
#[derive(Debug)]
struct State {
    nonces: Nonces,
    orders: Mutex<Orders>,
    newcomers: Mutex<Newcomers>,
    /// Whoever changes an account or a certificate holds it.
    records: Turn,
    messages: Arc<Semaphore>,
    looks: Arc<Semaphore>,
}

static STATES: Mutex<BTreeMap<String, Weak<State>>> = Mutex::new(BTreeMap::new());

impl State {
    fn new() -> Self {
        Self {
            nonces: Nonces::new(),
            orders: Mutex::default(),
            newcomers: Mutex::default(),
            records: Turn::default(),
            messages: Arc::new(Semaphore::new(MESSAGES_AT_ONCE_MAX)),
            looks: Arc::new(Semaphore::new(LOOKS_AT_ONCE_MAX)),
        }
    }

    /// The state of an authority, which lasts as long as there is a server for it.
    fn of(authority: &str) -> Arc<Self> {
        let mut states = STATES.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, state| state.strong_count() > 0);
        let slot = states.entry(folder(authority)).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let state = Arc::new(Self::new());
            *slot = Arc::downgrade(&state);
            state
        })
    }

    /// Who has made accounts lately.
    fn newcomers(&self) -> MutexGuard<'_, Newcomers> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The orders. What is done with them is short.
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Issues certificates of an authority of our own to clients that speak ACME.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    authority: Arc<Authority>,
    records: Records,
    looker: Looker,
    state: Arc<State>,
}

impl Server {
    /// A server for an authority, which keeps its clients' accounts in the storage.
    pub fn new(
        settings: Settings,
        authority: Arc<Authority>,
        storage: SharedStorage,
        looker: Looker,
    ) -> Arc<Self> {
        let state = State::of(authority.id());
        Arc::new(Self { records: Records::new(storage, authority.id()), settings, authority, looker, state })
    }

    /// Whether a path is the server's.
    pub fn serves(&self, path: &[u8]) -> bool {
        path.starts_with(self.settings.path_prefix.as_bytes())
    }

    /// Answers a request for one of its paths.
    pub async fn answer(self: &Arc<Self>, request: Request) -> Response<Bytes> {
        let host = if request.host.is_empty() { &self.settings.host } else { &request.host };
        let links = Links::new(host, &self.settings.path_prefix, self.authority.id());
        let prefix = self.settings.path_prefix.trim_end_matches('/');
        let path = request.path.strip_prefix(prefix).unwrap_or_default();
        let place = match links::place(&request.method, path, self.authority.id()) {
            Ok(place) => place,
            Err(missing) => return missing_answer(missing),
        };
        match place {
            Place::Directory => json_answer(StatusCode::OK, &directory(&links)),
            Place::NewNonce => {
                let mut response = Response::new(Bytes::new());
                if request.method == Method::GET {
                    *response.status_mut() = StatusCode::NO_CONTENT;
                }
                self.mark(response, &links)
            }
            place => {
                let response = match self.post(place, links.clone(), request).await {
                    Ok(response) => response,
                    Err(problem) => problem_answer(&problem),
                };
                self.mark(response, &links)
            }
        }
    }

    /// Adds what every answer to a message has.
    fn mark(&self, mut response: Response<Bytes>, links: &Links) -> Response<Bytes> {
        let headers = response.headers_mut();
        set(headers, REPLAY_NONCE, &self.state.nonces.make());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        set_link(headers, &links.to("directory"), "index");
        response
    }

    async fn post(
        self: &Arc<Self>,
        place: Place,
        links: Links,
        request: Request,
    ) -> Result<Response<Bytes>, Problem> {
        let turn = wait_for_turn(&self.state.messages).await?;
        let (server, its_links) = (self.clone(), links.clone());
        let dealt = blocking(move || {
            // A client that leaves does not make room for its next message.
            let _turn = turn;
            Ok(server.deal(&place, &its_links, &request))
        });
        let dealt = dealt.await.map_err(|error| Problem::internal("dealing with a message", &error))??;
        let looking = match dealt {
            Dealt::Answer(response) => return Ok(response),
            Dealt::Look(looking) => looking,
        };
        let turn = wait_for_turn(&self.state.looks).await?;
        let (look, account) = (looking.look.clone(), looking.account.clone());
        let server = self.clone();
        // Once begun it goes on to its end: a client that leaves can't have us look again and again.
        let looked = tokio::spawn(async move {
            let _turn = turn;
            server.look(looking).await;
        });
        looked.await.map_err(|_| Problem::new(Kind::ServerInternal, ""))?;
        self.challenge_answer((&look.authorization, &look.challenge), &account, &links)
    }

    /// Looks at a challenge, and notes what was seen.
    async fn look(&self, mut looking: Looking) {
        let look = looking.look.clone();
        let seen = self.looker.look(look.way, &look.identifier, &look.token, &looking.answer).await;
        if let Seen::Wrong(problem) | Seen::Nothing(problem) = &seen {
            let (name, challenge) = (&look.identifier.value, look.way.name());
            tracing::info!(
                target: "http.handlers.acme_server", name, challenge, %problem, "a challenge is not met"
            );
        }
        looking.seen = Some(seen);
    }

    fn challenge_answer(
        &self,
        ids: (&str, &str),
        account: &str,
        links: &Links,
    ) -> Result<Response<Bytes>, Problem> {
        let document = self.state.orders().challenge_document(ids, account, links, now())?;
        let mut response = json_answer(StatusCode::OK, &document);
        set_link(response.headers_mut(), &links.authorization(ids.0), "up");
        set(response.headers_mut(), LOCATION, &links.challenge(ids.0, ids.1));
        Ok(response)
    }

    /// Forgets certificates that have ended, for as long as it is polled.
    pub async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            let records = self.records.clone();
            match blocking(move || records.sweep(now())).await {
                Ok(0) => {}
                Ok(removed) => {
                    tracing::debug!(
                        target: "http.handlers.acme_server", removed, "forgot certificates that have ended"
                    );
                }
                Err(error) => {
                    tracing::warn!(
                        target: "http.handlers.acme_server", %error,
                        "forgetting certificates that have ended failed"
                    );
                }
            }
        }
    }
}

/// A challenge that is being looked at. However it ends, it is noted.
struct Looking {
    state: Arc<State>,
    look: Look,
    account: String,
    /// What should be shown.
    answer: String,
    seen: Option<Seen>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        let seen = self.seen.take().unwrap_or(Seen::BrokeOff);
        self.state.orders().end_look(&self.look, seen, now());
    }
}

async fn wait_for_turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let busy = || {
        let problem = Problem::new(Kind::RateLimited, "the server is busy");
        problem.with_status(StatusCode::SERVICE_UNAVAILABLE)
    };
    match tokio::time::timeout(TURN_WAIT_MAX, turns.clone().acquire_owned()).await {
        Ok(Ok(turn)) => Ok(turn),
        // It is never closed.
        Ok(Err(_)) | Err(_) => Err(busy()),
    }
}

fn directory(links: &Links) -> Value {
    json!({
        "newNonce": links.to("new-nonce"),
        "newAccount": links.to("new-account"),
        "newOrder": links.to("new-order"),
        "revokeCert": links.to("revoke-cert"),
        "keyChange": links.to("key-change"),
    })
}

fn missing_answer(missing: Missing) -> Response<Bytes> {
    match missing {
        Missing::Nothing => {
            let mut response = Response::new(Bytes::from_static(b"404 page not found\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
        Missing::Method(methods) => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            for method in methods {
                if let Ok(method) = HeaderValue::from_str(method.as_str()) {
                    response.headers_mut().append(ALLOW, method);
                }
            }
            response
        }
        Missing::Authority(name) => {
            let message = format!("provisioner {name} not found");
            let document = json!({"type": "notFound", "detail": "resource not found", "message": message});
            json_answer(StatusCode::NOT_FOUND, &document)
        }
    }
}

fn problem_answer(problem: &Problem) -> Response<Bytes> {
    let mut response = json_answer(problem.status(), &problem.document());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if problem.kind == Kind::RateLimited {
        headers.insert(RETRY_AFTER, RETRY_SECONDS.into());
    }
    response
}

fn json_answer(status: StatusCode, document: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{document}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Sets a field to what we have made. What can't stand in a field comes out of the request, and stays away.
fn set(headers: &mut http::HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn set_link(headers: &mut http::HeaderMap, address: &str, relation: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("<{address}>;rel=\"{relation}\"")) {
        headers.append(LINK, value);
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
