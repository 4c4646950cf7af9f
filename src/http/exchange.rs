//! One request on its way to an answer: what handlers and matchers see.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use smallvec::SmallVec;

use super::header_maps;
use super::lookup::Lookups;
use super::placeholder::{host_of, request_path, request_uri};
use super::regexp::{Captures, GroupKey};
use super::{
    AccessEntry, Body, ConnInfo, HandlerError, InterimWay, Interims, Metered, NamedSource, UpstreamInfo,
    Vars, target,
};

/// So deep may one `map` use the outcome of another.
const SOURCE_DEPTH_MAX: u8 = 8;

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
    /// What the engine passes along beside the request, such as the way to change the protocol.
    pub extensions: Extensions,
    /// The connection that the request came by.
    pub conn: Arc<ConnInfo>,
    /// Where interim answers go, if they don't go by [`ConnInfo::send_interim`].
    pub(crate) interims: Option<Arc<Interims>>,
    /// The client's address as far as `trusted_proxies` lets us believe it.
    pub client_ip: Option<IpAddr>,
    /// Whether the client is a proxy that the server's `trusted_proxies` names.
    pub trusted_proxy: bool,
    /// Header fields that handlers have put on the answer so far.
    pub response_headers: HeaderMap,
    /// Variables by their names: `{http.vars.NAME}`.
    pub vars: Vars,
    /// What handlers leave for other placeholders, by their full names: `http.auth.user.id`.
    pub named: Vars,
    /// Placeholders that are worked out when they are used; the first that knows a name counts.
    pub sources: SmallVec<[Arc<dyn NamedSource>; 1]>,
    /// What regular expressions have found, the latest last (`{http.regexp.*}`).
    pub captures: Vec<Captures>,
    /// The error that the error routes are dealing with (`{err.*}`).
    pub error: Option<HandlerError>,
    /// The upstream that the request went to last, and its answer (`{http.reverse_proxy.*}`).
    pub upstream: Option<Box<UpstreamInfo>>,
    /// The answer that `intercept` has taken up last (`{http.intercept.*}`).
    pub intercepted: Option<Box<InterceptedAnswer>>,
    /// What one handler keeps for another, such as an answer for `copy_response`.
    pub held: Option<Box<dyn Any + Send>>,
    /// Method and target before the first change, if there was one.
    pub original: Option<Box<OriginalRequest>>,
    /// Its entry in an access log, if it is logged.
    pub log: Option<Box<AccessEntry>>,
    /// Where it is counted, if it is.
    pub metered: Option<Box<Metered>>,
    /// No handler has answered: the answer is an empty 200.
    pub unhandled: bool,
    /// The connection is to end once this answer is sent.
    pub close_connection: bool,
    /// The answer is not written; the connection just ends (`abort`).
    pub abort: bool,
    /// When the request's head had been read.
    pub started: std::time::Instant,
    /// The whole body, if a placeholder asks for it.
    kept_body: Option<Bytes>,
    uuid: OnceCell<Box<str>>,
    source_depth: Cell<u8>,
    /// Bits of the route groups that a route has already satisfied.
    pub(super) groups: SmallVec<[u64; 2]>,
    /// What the present route's matchers have had to look up.
    pub(super) lookups: Option<Box<Lookups>>,
}

/// A request's method and target as the client sent them (`{http.request.orig_*}`).
#[derive(Debug, Clone)]
pub struct OriginalRequest {
    /// The method.
    pub method: Method,
    /// The target.
    pub uri: Uri,
}

/// An answer that was taken up on its way to the client.
#[derive(Debug, Clone)]
pub struct InterceptedAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
}

impl Exchange {
    /// An exchange for a request that has just arrived.
    ///
    /// The authority of an absolute target (or HTTP/2's `:authority`) beats the Host field
    /// (RFC 9112 section 3.2.2): it is put there, and the target keeps path and query only.
    pub fn new(request: http::Request<Body>, conn: Arc<ConnInfo>) -> Self {
        let (mut parts, body) = request.into_parts();
        if let Some(authority) = parts.uri.authority() {
            // An authority's characters may all stand in a header field.
            if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
                parts.headers.insert(HOST, host);
            }
            let target = parts.uri.path_and_query().cloned();
            parts.uri = Uri::from(target.unwrap_or(PathAndQuery::from_static("/")));
        }
        let client_ip = conn.peer.map(|peer| peer.ip());
        Self {
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers,
            body,
            extensions: parts.extensions,
            conn,
            interims: None,
            client_ip,
            trusted_proxy: false,
            response_headers: header_maps::take(),
            vars: Vars::default(),
            named: Vars::default(),
            sources: SmallVec::new(),
            captures: Vec::new(),
            error: None,
            upstream: None,
            intercepted: None,
            held: None,
            original: None,
            log: None,
            metered: None,
            unhandled: false,
            close_connection: false,
            abort: false,
            started: std::time::Instant::now(),
            kept_body: None,
            uuid: OnceCell::new(),
            source_depth: Cell::new(0),
            groups: SmallVec::new(),
            lookups: None,
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

    /// The request's host as the client named it, with the port if it did; empty if it named none.
    pub fn host(&self) -> &str {
        self.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
    }

    /// The host without its port.
    pub fn hostname(&self) -> &str {
        host_of(self.host())
    }

    /// The same without the brackets that an IPv6 address still has if there was no port.
    pub fn bare_hostname(&self) -> &str {
        let host = self.hostname();
        let host = host.strip_prefix('[').unwrap_or(host);
        host.strip_suffix(']').unwrap_or(host)
    }

    /// The decoded path.
    pub fn path(&self) -> Cow<'_, [u8]> {
        request_path(&self.uri)
    }

    /// The decoded path as the client sent it, before any rewrite.
    pub fn original_path(&self) -> Cow<'_, [u8]> {
        request_path(self.original.as_ref().map_or(&self.uri, |original| &original.uri))
    }

    /// The target as an upstream gets it: escaped anew where it has bytes that may not stand there.
    pub fn request_uri(&self) -> Cow<'_, [u8]> {
        request_uri(&self.uri)
    }

    /// How interim answers (1xx) reach the client.
    pub fn interim_way(&self) -> InterimWay<'_> {
        match &self.interims {
            Some(interims) => InterimWay::Stream(interims),
            None if self.version == Version::HTTP_11 => InterimWay::Connection(&self.conn),
            None => InterimWay::Nowhere,
        }
    }

    /// Changes the target to this escaped path and query.
    ///
    /// A path always begins with a slash (or is `*`), and what may not stand in a query is escaped.
    ///
    /// # Errors
    /// The target is longer than any may be.
    pub fn set_target(&mut self, path: &[u8], query: Option<&[u8]>) -> Result<(), HandlerError> {
        let mut target = Vec::with_capacity(path.len() + query.map_or(0, <[u8]>::len) + 2);
        if path != b"*" && path.first() != Some(&b'/') {
            target.push(b'/');
        }
        target.extend_from_slice(path);
        if let Some(query) = query {
            target.push(b'?');
            target.extend_from_slice(&target::escape_bad_query(query));
        }
        let target = PathAndQuery::from_maybe_shared(Bytes::from(target))
            .map_err(|error| HandlerError::new(StatusCode::URI_TOO_LONG, error))?;
        self.uri = Uri::from(target);
        Ok(())
    }

    /// The request's id (`{http.request.uuid}`), a random UUID that is made when first asked for.
    pub fn uuid(&self) -> &str {
        self.uuid.get_or_init(|| {
            let mut id = [0_u8; 16];
            // Without a random source the id is always the same: it is only a label.
            let _ = getrandom::fill(&mut id);
            id[6] = id[6] & 0x0f | 0x40;
            id[8] = id[8] & 0x3f | 0x80;
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]).into()
        })
    }

    /// The request's id, if something has asked for it; access logs show it then.
    pub fn uuid_if_made(&self) -> Option<&str> {
        self.uuid.get().map(|id| &**id)
    }

    /// Keeps the whole body for placeholders that ask for it; whoever reads the body gets it anew.
    pub fn keep_body(&mut self, body: Bytes) {
        self.body = Body::from(body.clone());
        self.kept_body = Some(body);
    }

    /// Whether the whole body has been kept.
    pub(super) fn has_kept_body(&self) -> bool {
        self.kept_body.is_some()
    }

    /// The whole body, if it has been kept.
    pub(super) fn kept_body(&self) -> &[u8] {
        self.kept_body.as_deref().unwrap_or_default()
    }

    /// The variable as text; empty if there is none.
    pub(super) fn var(&self, name: &str) -> Cow<'_, [u8]> {
        match (self.vars.get(name), name) {
            (Some(value), _) => value.to_text(),
            (None, "client_ip") => self
                .client_ip
                .map_or(Cow::Borrowed(b""), |ip| Cow::Owned(ip.to_canonical().to_string().into_bytes())),
            (None, "trusted_proxy") => Cow::Borrowed(if self.trusted_proxy { b"true" } else { b"false" }),
            _ => Cow::Borrowed(b""),
        }
    }

    /// What handlers have left under this name, or a source knows.
    pub(super) fn named(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        if let Some(value) = self.named.get(name) {
            return Some(value.to_text());
        }
        let depth = self.source_depth.get();
        if self.sources.is_empty() || depth >= SOURCE_DEPTH_MAX {
            return None;
        }
        self.source_depth.set(depth + 1);
        let value = self.sources.iter().find_map(|source| source.value(name, self));
        self.source_depth.set(depth);
        value
    }

    /// A group of the latest match that has it, of the expression called `name` if one is asked for.
    pub(super) fn capture(&self, name: Option<&str>, key: &GroupKey) -> Option<&[u8]> {
        let mut latest = self.captures.iter().rev();
        latest.find_map(|found| match name {
            Some(name) if name != found.name() => None,
            _ => found.get(key),
        })
    }
}

#[cfg(test)]
impl Exchange {
    /// An exchange for `request` from 192.0.2.1 to 192.0.2.2:8080, without TLS.
    pub(crate) fn for_test(request: http::Request<Body>) -> Self {
        let peer = Some(([192, 0, 2, 1], 1234).into());
        let local = Some(([192, 0, 2, 2], 8080).into());
        Self::new(request, Arc::new(ConnInfo::new(peer, local, None)))
    }

    /// An exchange for `GET target` with these header fields.
    pub(crate) fn get(target: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = http::Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self::for_test(request.body(Body::Empty).expect("a test's request is valid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_target_names_the_host() {
        let x = Exchange::get("http://other:8/p?q", &[("host", "h")]);
        assert_eq!(x.host(), "other:8");
        assert_eq!(x.uri, "/p?q");
        assert_eq!(Exchange::get("/", &[("host", "h:1")]).host(), "h:1");
    }

    #[test]
    fn ids_are_random_and_stay() {
        let x = Exchange::get("/", &[]);
        assert_eq!(x.uuid_if_made(), None);
        let id = x.uuid().to_owned();
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        assert_eq!(x.uuid_if_made(), Some(&*id));
        assert_ne!(Exchange::get("/", &[]).uuid(), id);
    }
}
