//! One request on its way to an answer: what handlers and matchers see.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Uri, Version};
use smallvec::SmallVec;

use super::{Body, ConnInfo, HandlerError, UpstreamInfo};

/// One request and what has been gathered for its answer.
pub struct Exchange {
    /// The method.
    pub method: Method,
    /// The target as it stands now; rewrites change it, [`Exchange::original`] keeps the first one.
    pub uri: Uri,
    /// The request's HTTP version.
    pub version: Version,
    /// The request's header fields; handlers may change them. `Host` is always among them if the
    /// client named one, whichever HTTP version it speaks.
    pub headers: HeaderMap,
    /// The request's body. Whoever reads it takes it.
    pub body: Body,
    /// What the engine passes along beside the request, such as hyper's upgrade handle.
    pub extensions: Extensions,
    /// The connection that the request came by.
    pub conn: Arc<ConnInfo>,
    /// The client's address as far as `trusted_proxies` lets us believe it.
    pub client_ip: Option<IpAddr>,
    /// Whether the client is a proxy that the server's `trusted_proxies` names.
    pub trusted_proxy: bool,
    /// Header fields that handlers have put on the answer so far.
    pub response_headers: HeaderMap,
    /// Named values: `{http.vars.*}`, and what handlers leave for placeholders of their own.
    pub vars: Vars,
    /// The error that the error routes are dealing with (`{err.*}`).
    pub error: Option<HandlerError>,
    /// The upstream that the request went to last, and its answer (`{http.reverse_proxy.*}`).
    pub upstream: Option<Box<UpstreamInfo>>,
    /// Method and target before the first change, if there was one.
    pub original: Option<Box<OriginalRequest>>,
    /// The connection is to end once this answer is sent.
    pub close_connection: bool,
    /// The answer is not written; the connection just ends (`abort`).
    pub abort: bool,
    /// When the request's head had been read.
    pub started: std::time::Instant,
    /// Bits of the route groups that a route has already satisfied.
    pub(super) groups: SmallVec<[u64; 2]>,
}

/// A request's method and target as the client sent them (`{http.request.orig_*}`).
#[derive(Debug, Clone)]
pub struct OriginalRequest {
    /// The method.
    pub method: Method,
    /// The target.
    pub uri: Uri,
}

impl Exchange {
    /// An exchange for a request that has just arrived.
    pub fn new(request: http::Request<Body>, conn: Arc<ConnInfo>) -> Self {
        let (parts, body) = request.into_parts();
        let client_ip = conn.peer.map(|peer| peer.ip());
        Self {
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers,
            body,
            extensions: parts.extensions,
            conn,
            client_ip,
            trusted_proxy: false,
            response_headers: HeaderMap::new(),
            vars: Vars::default(),
            error: None,
            upstream: None,
            original: None,
            close_connection: false,
            abort: false,
            started: std::time::Instant::now(),
            groups: SmallVec::new(),
        }
    }

    /// Remembers method and target before they are changed for the first time.
    pub fn keep_original(&mut self) {
        if self.original.is_none() {
            self.original =
                Some(Box::new(OriginalRequest { method: self.method.clone(), uri: self.uri.clone() }));
        }
    }

    /// Puts back the method and target that the client sent, before error routes run.
    pub fn restore_original(&mut self) {
        if let Some(original) = &self.original {
            self.method = original.method.clone();
            self.uri = original.uri.clone();
        }
    }

    /// The client's `Host`, or the authority of an absolute target; with the port as it was sent.
    pub fn host(&self) -> &str {
        // An absolute-form target beats the Host header (RFC 9112 section 3.2.2).
        if let Some(authority) = self.uri.authority() {
            return authority.as_str();
        }
        self.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("")
    }
}

/// A value of a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text; bytes, because header values need not be UTF-8.
    Text(Cow<'static, [u8]>),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

impl Value {
    /// The value as placeholders print it.
    pub fn to_text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Int(number) => Cow::Owned(number.to_string().into_bytes()),
            Self::Float(number) => Cow::Owned(number.to_string().into_bytes()),
            Self::Bool(truth) => Cow::Borrowed(if *truth { b"true" } else { b"false" }),
        }
    }
}

/// A request's named values. Few are set per request, so a scanned list beats a hash map.
#[derive(Debug, Default)]
pub struct Vars(SmallVec<[(Cow<'static, str>, Value); 2]>);

impl Vars {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Sets `name`, whether or not it had a value.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: Value) {
        let name = name.into();
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Forgets `name`.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }
}
