//! Where things are: paths, and the addresses of what is there.

use std::net::Ipv6Addr;

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a segment of a path needs not escape.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The addresses of what is there, for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    /// Without a slash at the end.
    base: String,
}

impl Links {
    /// The addresses as they are for whoever calls the server by `host`.
    pub(super) fn new(host: &str, prefix: &str, authority: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        let authority = utf8_percent_encode(authority, SEGMENT);
        Self { base: format!("https://{}{slash}{prefix}/{authority}", in_brackets(host)) }
    }

    /// The address of something that there is one of.
    pub(super) fn to(&self, what: &str) -> String {
        format!("{}/{what}", self.base)
    }

    pub(super) fn account(&self, id: &str) -> String {
        format!("{}/account/{id}", self.base)
    }

    pub(super) fn orders(&self, account: &str) -> String {
        format!("{}/account/{account}/orders", self.base)
    }

    pub(super) fn order(&self, id: &str) -> String {
        format!("{}/order/{id}", self.base)
    }

    pub(super) fn finalize(&self, order: &str) -> String {
        format!("{}/order/{order}/finalize", self.base)
    }

    pub(super) fn authorization(&self, id: &str) -> String {
        format!("{}/authz/{id}", self.base)
    }

    pub(super) fn challenge(&self, authorization: &str, id: &str) -> String {
        format!("{}/challenge/{authorization}/{id}", self.base)
    }

    pub(super) fn certificate(&self, serial: &str) -> String {
        format!("{}/certificate/{serial}", self.base)
    }
}

/// An address of IPv6 that stands alone gets its brackets.
fn in_brackets(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Directory,
    NewNonce,
    NewAccount,
    Account(String),
    Orders(String),
    KeyChange,
    NewOrder,
    Order(String),
    Finalize(String),
    Authorization(String),
    Challenge(String, String),
    Certificate(String),
    RevokeCertificate,
}

/// Why there is nothing at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nothing ever is.
    Nothing,
    /// Something is, and wants one of these methods.
    Method(&'static [Method]),
    /// It would be of another authority than this one.
    Authority(String),
}

/// What is at a path below the prefix, which begins with a slash.
pub(super) fn place(method: &Method, path: &str, authority: &str) -> Result<Place, Missing> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let Some((name, rest)) = parts.split_first() else { return Err(Missing::Nothing) };
    // Ids are never empty.
    if rest.iter().any(|part| part.is_empty()) {
        return Err(Missing::Nothing);
    }
    let owned = |id: &str| id.to_owned();
    let place = match rest {
        ["directory"] => Place::Directory,
        ["new-nonce"] => Place::NewNonce,
        ["new-account"] => Place::NewAccount,
        ["new-order"] => Place::NewOrder,
        ["key-change"] => Place::KeyChange,
        ["revoke-cert"] => Place::RevokeCertificate,
        ["account", id] => Place::Account(owned(id)),
        ["account", id, "orders"] => Place::Orders(owned(id)),
        ["order", id] => Place::Order(owned(id)),
        ["order", id, "finalize"] => Place::Finalize(owned(id)),
        ["authz", id] => Place::Authorization(owned(id)),
        ["challenge", authorization, id] => Place::Challenge(owned(authorization), owned(id)),
        ["certificate", id] => Place::Certificate(owned(id)),
        _ => return Err(Missing::Nothing),
    };
    let methods: &'static [Method] = match place {
        Place::Directory | Place::NewNonce => &[Method::GET, Method::HEAD],
        _ => &[Method::POST],
    };
    if !methods.contains(method) {
        return Err(Missing::Method(methods));
    }
    if *name != authority {
        return Err(Missing::Authority(owned(name)));
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_below_the_prefix() {
        let links = Links::new("a.test:8443", "/acme/", "local");
        assert_eq!(links.to("directory"), "https://a.test:8443/acme/local/directory");
        assert_eq!(links.challenge("1", "2"), "https://a.test:8443/acme/local/challenge/1/2");
        assert_eq!(Links::new("::1", "/", "my ca").to("x"), "https://[::1]/my%20ca/x");
        assert_eq!(Links::new("a", "/x/y", "l").orders("1"), "https://a/x/y/l/account/1/orders");
    }

    #[test]
    fn paths_lead_to_places() {
        let at = |method, path| place(&method, path, "local");
        assert_eq!(at(Method::GET, "/local/directory"), Ok(Place::Directory));
        assert_eq!(at(Method::HEAD, "/local/new-nonce"), Ok(Place::NewNonce));
        assert_eq!(at(Method::POST, "/local/order/1/finalize"), Ok(Place::Finalize("1".into())));
        assert_eq!(at(Method::POST, "/local/challenge/1/2"), Ok(Place::Challenge("1".into(), "2".into())));
        assert_eq!(at(Method::GET, "/x/directory"), Err(Missing::Authority("x".into())));
        assert_eq!(at(Method::GET, "/local/new-account"), Err(Missing::Method(&[Method::POST])));
        for path in
            ["", "/", "/local", "/local/", "/local/directory/", "/local/order//finalize", "/local/new-authz"]
        {
            assert_eq!(at(Method::GET, path), Err(Missing::Nothing), "{path}");
        }
    }
}
