//! Who may talk to the admin endpoint: the checks that keep web pages away from it.
//!
//! A browser on this machine can reach the endpoint, so a page that it shows must not: `Host` has to be
//! the endpoint's own address (a rebound name isn't), and so has `Origin`, if there is one.

use http::header::{HOST, HeaderMap, HeaderName, ORIGIN, REFERER, UPGRADE};
use http::{HeaderValue, StatusCode};

use super::ApiError;
use crate::config::{Admin, NetworkAddress, join_host_port};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What requests must look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Access {
    enforce_host: bool,
    enforce_origin: bool,
    allowed: Vec<Origin>,
}

/// A scheme, empty if it doesn't matter, and a host with its port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
}

impl Access {
    /// The rules of an endpoint that listens at `address`.
    pub(super) fn new(admin: &Admin, address: &NetworkAddress) -> Self {
        let local = address.is_unix() || address.is_fd();
        let allowed = match &admin.origins {
            Some(origins) => origins.iter().map(|origin| Origin::parse(origin)).collect(),
            None if local => Vec::new(),
            None => own_hosts(address).map(|host| Origin { scheme: String::new(), host }).collect(),
        };
        Self { enforce_host: !address.is_wildcard() && !local, enforce_origin: admin.enforce_origin, allowed }
    }

    /// Whether every Host is let in, because the address is every interface's.
    pub(super) fn is_open(&self) -> bool {
        !self.enforce_host
    }

    /// The allowed origins, for the log.
    pub(super) fn origins(&self) -> Vec<String> {
        self.allowed.iter().map(Origin::to_string).collect()
    }

    /// Checks a request. If it has an origin that is allowed, that is what
    /// `Access-Control-Allow-Origin` is to say.
    ///
    /// # Errors
    /// The request may not come in.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, ApiError> {
        let says = |name: &HeaderName, word: &str| {
            headers
                .get_all(name)
                .iter()
                .any(|value| value.to_str().unwrap_or_default().to_ascii_lowercase().contains(word))
        };
        if says(&UPGRADE, "websocket") {
            return Err(bad("WebSocket connections aren't allowed"));
        }
        if says(&SEC_FETCH_MODE, "no-cors") {
            return Err(bad("requests in no-cors mode aren't allowed"));
        }
        if headers.get(ORIGIN).is_some_and(|origin| origin == "null") {
            return Err(bad("the origin 'null' isn't allowed"));
        }
        if self.enforce_host {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            if !self.allowed.iter().any(|origin| origin.host == host) {
                return Err(forbidden(format!("host not allowed: {host}")));
            }
        }
        if self.enforce_origin || headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_MODE) {
            return self.check_origin(headers).map(Some);
        }
        Ok(None)
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<HeaderValue, ApiError> {
        let said =
            [ORIGIN, REFERER].iter().filter_map(|name| headers.get(name)).find(|said| !said.is_empty());
        let Some(said) = said.and_then(|said| said.to_str().ok()) else {
            return Err(forbidden("required Origin header is missing or invalid".to_owned()));
        };
        let origin = Origin::parse(said);
        let is_allowed = |allowed: &Origin| {
            (allowed.scheme.is_empty() || allowed.scheme == origin.scheme) && allowed.host == origin.host
        };
        // Without a scheme it is no origin, whatever follows.
        if origin.scheme.is_empty() || !self.allowed.iter().any(is_allowed) {
            return Err(forbidden(format!("client is not allowed to access from origin '{said}'")));
        }
        HeaderValue::try_from(origin.to_string())
            .map_err(|_| forbidden("required Origin header is missing or invalid".to_owned()))
    }
}

impl Origin {
    /// Reads `scheme://host:port/whatever`, or `host:port`.
    fn parse(text: &str) -> Self {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self { scheme: String::new(), host: text.to_owned() };
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        Self { scheme: scheme.to_ascii_lowercase(), host: host.to_owned() }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        write!(f, "//{}", self.host)
    }
}

/// How an address is called in `Host`: on loopback by all of its names.
fn own_hosts(address: &NetworkAddress) -> impl Iterator<Item = String> {
    let port = address.start_port.to_string();
    let hosts = if address.is_loopback() {
        vec!["localhost".to_owned(), "::1".to_owned(), "127.0.0.1".to_owned()]
    } else {
        vec![address.host.clone()]
    };
    hosts.into_iter().map(move |host| join_host_port(&host, &port))
}

fn bad(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, message)
}

fn forbidden(message: String) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(listen: &str, origins: Option<&[&str]>, enforce_origin: bool) -> Access {
        let origins = origins.map(|origins| origins.iter().map(ToString::to_string).collect());
        let admin = Admin { origins, enforce_origin, ..Admin::default() };
        Access::new(&admin, &listen.parse().unwrap())
    }

    /// The status of the refusal, or 200 and the origin to allow.
    fn check(access: &Access, headers: &[(&'static str, &str)]) -> (u16, String) {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        match access.check(&headers) {
            Ok(origin) => (200, origin.map_or_else(String::new, |o| o.to_str().unwrap().to_owned())),
            Err(error) => (error.status.as_u16(), String::new()),
        }
    }

    #[test]
    fn the_host_must_be_our_own() {
        let access = access("127.0.0.1:2019", None, false);
        for host in ["127.0.0.1:2019", "localhost:2019", "[::1]:2019"] {
            assert_eq!(check(&access, &[("host", host)]).0, 200, "{host}");
        }
        for host in ["evil.example", "evil.example:2019", "127.0.0.1:1", "localhost", ""] {
            assert_eq!(check(&access, &[("host", host)]).0, 403, "{host}");
        }
        assert_eq!(check(&access, &[]).0, 403);
    }

    #[test]
    fn an_origin_must_be_our_own_too() {
        let access = access("localhost:2019", None, false);
        let of = |origin: &str| check(&access, &[("host", "localhost:2019"), ("origin", origin)]);
        assert_eq!(of("http://localhost:2019"), (200, "http://localhost:2019".to_owned()));
        assert_eq!(of("http://evil.example").0, 403);
        assert_eq!(of("localhost:2019").0, 403);
        assert_eq!(of("http://evil.example/@localhost:2019").0, 403);
        assert_eq!(of("null").0, 400);
        let with = |name, value| check(&access, &[("host", "localhost:2019"), (name, value)]).0;
        assert_eq!(with("sec-fetch-mode", "no-cors"), 400);
        assert_eq!(with("sec-fetch-mode", "cors"), 403);
        assert_eq!(with("upgrade", "WebSocket"), 400);
    }

    #[test]
    fn an_origin_may_be_required() {
        let access = access("localhost:2019", None, true);
        assert_eq!(check(&access, &[("host", "localhost:2019")]).0, 403);
        let referer = check(&access, &[("host", "localhost:2019"), ("referer", "http://localhost:2019/x")]);
        assert_eq!(referer, (200, "http://localhost:2019".to_owned()));
    }

    #[test]
    fn named_origins_replace_the_address() {
        let access = access("localhost:2019", Some(&["https://gate.example", "other:1"]), false);
        assert_eq!(check(&access, &[("host", "localhost:2019")]).0, 403);
        assert_eq!(check(&access, &[("host", "gate.example")]).0, 200);
        let of = |origin: &str| check(&access, &[("host", "gate.example"), ("origin", origin)]).0;
        assert_eq!(of("https://gate.example"), 200);
        assert_eq!(of("http://gate.example"), 403);
        assert_eq!(of("http://other:1"), 200);
        let nobody = Access::new(
            &Admin { origins: Some(Vec::new()), ..Admin::default() },
            &"localhost:2019".parse().unwrap(),
        );
        assert_eq!(check(&nobody, &[("host", "localhost:2019")]).0, 403);
    }

    #[test]
    fn a_unix_socket_takes_any_host_but_no_foreign_origin() {
        let access = access("unix//run/admin.sock", None, false);
        assert_eq!(check(&access, &[("host", "whatever")]).0, 200);
        assert_eq!(check(&access, &[("origin", "http://evil.example")]).0, 403);
    }

    #[test]
    fn an_open_interface_takes_any_host() {
        assert_eq!(check(&access(":2019", None, false), &[("host", "whatever")]).0, 200);
        assert!(access(":2019", None, false).is_open());
        assert_eq!(check(&access("10.0.0.1:2019", None, false), &[("host", "10.0.0.1:2019")]).0, 200);
    }
}
