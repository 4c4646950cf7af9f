//! The cookie that keeps a client at its upstream.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;

use crate::http::{Exchange, Template, Unknown};

/// A cookie that names an upstream without giving it away: by the keyed hash of its address.
pub struct StickyCookie {
    name: String,
    value: Template,
    key: hmac::Key,
    max_age: Option<Duration>,
}

impl StickyCookie {
    /// The cookie of this name.
    pub fn new(name: &str, secret: &str, max_age: Option<Duration>) -> Self {
        Self {
            name: name.to_owned(),
            value: Template::compile(&format!("{{http.request.cookie.{name}}}"), Unknown::Empty),
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            max_age,
        }
    }

    /// What the client's cookie says.
    pub fn value<'a>(&'a self, x: &'a Exchange) -> Cow<'a, [u8]> {
        self.value.render(x)
    }

    /// Whether a cookie of this value names the upstream at `address`.
    pub fn names(&self, value: &[u8], address: &str) -> bool {
        self.hash(address).as_bytes().ct_eq(value).into()
    }

    /// The `Set-Cookie` value that names the upstream at `address`.
    pub fn to_set(&self, address: &str, x: &Exchange) -> String {
        let mut cookie = format!("{}={}; Path=/", self.name, self.hash(address));
        if let Some(max_age) = self.max_age {
            // Writing to a string can't fail.
            let _ = write!(cookie, "; Max-Age={}", max_age.as_secs());
        }
        cookie.push_str("; HttpOnly");
        cookie.push_str(if is_https(x) { "; Secure; SameSite=None" } else { "; SameSite=Lax" });
        cookie
    }

    fn hash(&self, address: &str) -> String {
        hmac::sign(&self.key, address.as_bytes()).as_ref().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// Whether the client speaks HTTPS, to us or to a proxy that we trust.
fn is_https(x: &Exchange) -> bool {
    let proxied =
        || x.headers.get_all("x-forwarded-proto").iter().next_back().is_some_and(|proto| proto == "https");
    x.conn.tls.is_some() || (x.trusted_proxy && proxied())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::{Body, ConnInfo};

    fn request(trusted_proxy: bool) -> Exchange {
        let mut request = http::Request::new(Body::Empty);
        request.headers_mut().insert("x-forwarded-proto", "https".parse().unwrap());
        let mut x = Exchange::new(request, Arc::new(ConnInfo::new(None, None, None)));
        x.trusted_proxy = trusted_proxy;
        x
    }

    #[test]
    fn the_cookie_names_its_upstream_and_no_other() {
        let cookie = StickyCookie::new("lb", "s3cret", None);
        let set = cookie.to_set("a:1", &request(false));
        let value = set.strip_prefix("lb=").unwrap().split_once(';').unwrap().0;
        assert_eq!(value.len(), 64);
        assert!(cookie.names(value.as_bytes(), "a:1"));
        assert!(!cookie.names(value.as_bytes(), "b:1"));
        assert!(!cookie.names(b"", "a:1"));
        assert!(!StickyCookie::new("lb", "other", None).names(value.as_bytes(), "a:1"));
    }

    #[test]
    fn attributes_follow_the_scheme() {
        let cookie = StickyCookie::new("lb", "", Some(Duration::from_secs(60)));
        let plain = cookie.to_set("a:1", &request(false));
        assert!(plain.ends_with("; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"), "{plain}");
        let secure = cookie.to_set("a:1", &request(true));
        assert!(secure.ends_with("; HttpOnly; Secure; SameSite=None"), "{secure}");
    }
}
