//! Values that come from the request itself.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Uri, Version, header};

use super::{OriginalField, RequestField, duration_text, into_bytes, millis_text};
use crate::config::split_host_port;
use crate::http::{Exchange, target};

impl RequestField {
    pub(super) fn value(self, x: &Exchange) -> Cow<'_, [u8]> {
        match self {
            Self::Method => text(x.method.as_str()),
            Self::Scheme => text(if x.conn.tls.is_some() { "https" } else { "http" }),
            Self::Proto => text(proto(x.version)),
            Self::ProtoName => text(match x.version {
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_3 => "HTTP/3",
                version => proto(version),
            }),
            Self::Host => text(host_of(x.host())),
            Self::Port => text(port_of(x.host())),
            Self::HostPort => text(x.host()),
            Self::Local => address(x.conn.local, ""),
            Self::LocalHost => host(x.conn.local, ""),
            Self::LocalPort => port(x.conn.local),
            Self::Remote => address(x.conn.peer, "@"),
            Self::RemoteHost => host(x.conn.peer, "@"),
            Self::RemotePort => port(x.conn.peer),
            Self::Uri => request_uri(&x.uri),
            Self::UriEscaped => escaped(request_uri(&x.uri)),
            Self::Path => path(&x.uri),
            Self::PathEscaped => escaped(path(&x.uri)),
            Self::File => part(path(&x.uri), target::file),
            Self::Dir => part(path(&x.uri), target::dir),
            Self::FileBase => part(path(&x.uri), |path| {
                let base = target::base(path);
                base.strip_suffix(target::extension(path)).unwrap_or(base)
            }),
            Self::FileExtension => part(path(&x.uri), target::extension),
            Self::Query => text(x.uri.query().unwrap_or_default()),
            Self::QueryEscaped => escaped(text(x.uri.query().unwrap_or_default())),
            Self::PrefixedQuery => prefixed_query(&x.uri),
            Self::Duration => Cow::Owned(duration_text(x.started.elapsed()).into_bytes()),
            Self::DurationMs => Cow::Owned(millis_text(x.started.elapsed()).into_bytes()),
            Self::Uuid => text(x.uuid()),
            Self::Body => Cow::Borrowed(x.kept_body()),
            Self::BodyBase64 => Cow::Owned(STANDARD.encode(x.kept_body()).into_bytes()),
            // A connection that is going down takes no new requests here.
            Self::ShuttingDown => text("false"),
        }
    }
}

impl OriginalField {
    pub(super) fn value(self, x: &Exchange) -> Cow<'_, [u8]> {
        let (method, uri) = match &x.original {
            Some(original) => (&original.method, &original.uri),
            None => (&x.method, &x.uri),
        };
        match self {
            Self::Method => text(method.as_str()),
            // As the client wrote it, not escaped anew.
            Self::Uri => text(uri.path_and_query().map_or("/", |target| target.as_str())),
            Self::Path => path(uri),
            Self::PathSegment(n) => path_segment(uri.path(), n),
            Self::File => part(path(uri), target::file),
            Self::Dir => part(path(uri), target::dir),
            Self::Query => text(uri.query().unwrap_or_default()),
            Self::PrefixedQuery => prefixed_query(uri),
        }
    }
}

fn text(text: &str) -> Cow<'_, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

fn proto(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// The decoded path.
pub(in crate::http) fn path(uri: &Uri) -> Cow<'_, [u8]> {
    let raw = uri.path().as_bytes();
    target::unescape(raw).unwrap_or(Cow::Borrowed(raw))
}

/// The target as an upstream gets it.
pub(in crate::http) fn request_uri(uri: &Uri) -> Cow<'_, [u8]> {
    let whole = uri.path_and_query().map_or("/", |target| target.as_str());
    match target::canonical_path(uri.path().as_bytes()) {
        Cow::Borrowed(_) => text(whole),
        Cow::Owned(mut path) => {
            if let Some(query) = uri.query() {
                path.push(b'?');
                path.extend_from_slice(query.as_bytes());
            }
            Cow::Owned(path)
        }
    }
}

fn prefixed_query(uri: &Uri) -> Cow<'_, [u8]> {
    match (uri.query(), uri.path_and_query()) {
        (Some(query), Some(whole)) if !query.is_empty() => text(&whole.as_str()[whole.path().len()..]),
        _ => Cow::Borrowed(b""),
    }
}

fn escaped(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    Cow::Owned(target::escape_query(&value).into_owned())
}

/// A part of a value, borrowed if the value is.
fn part<'a>(value: Cow<'a, [u8]>, f: impl for<'b> Fn(&'b [u8]) -> &'b [u8]) -> Cow<'a, [u8]> {
    match value {
        Cow::Borrowed(value) => Cow::Borrowed(f(value)),
        Cow::Owned(value) => Cow::Owned(f(&value).to_vec()),
    }
}

pub(super) fn path_segment(raw: &str, n: usize) -> Cow<'_, [u8]> {
    let path = target::unescape(raw.as_bytes()).unwrap_or(Cow::Borrowed(raw.as_bytes()));
    part(path, |path| target::segment(path, n))
}

pub(super) fn query_key<'a>(query: &'a str, key: &'a [u8]) -> Cow<'a, [u8]> {
    let mut values = target::query_values(query, key);
    let Some(first) = values.next() else { return Cow::Borrowed(b"") };
    let Some(second) = values.next() else { return first };
    let mut all = first.into_owned();
    for value in std::iter::once(second).chain(values) {
        all.push(b',');
        all.extend_from_slice(&value);
    }
    Cow::Owned(all)
}

/// The value of the first cookie of that name, whatever its case, without quotes around it.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Cow<'a, [u8]> {
    for line in headers.get_all(header::COOKIE) {
        for pair in line.as_bytes().split(|byte| *byte == b';') {
            let pair = pair.trim_ascii();
            let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            let (key, value) = (&pair[..at], pair.get(at + 1..).unwrap_or_default());
            if key.eq_ignore_ascii_case(name.as_bytes()) && cookie_is_valid(value) {
                return Cow::Borrowed(unquoted(value));
            }
        }
    }
    Cow::Borrowed(b"")
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// Go leaves out cookies whose value has other bytes.
fn cookie_is_valid(value: &[u8]) -> bool {
    unquoted(value).iter().all(|&byte| (b' '..0x7f).contains(&byte) && !b"\";\\".contains(&byte))
}

/// The label of the host, counted from the right, in lower case.
pub(super) fn host_label(x: &Exchange, n: usize) -> Cow<'_, [u8]> {
    let label = host_of(x.host()).rsplit('.').nth(n).unwrap_or_default();
    match target::lower_case(label.as_bytes()) {
        Cow::Borrowed(_) => text(label),
        lower => Cow::Owned(lower.into_owned()),
    }
}

pub(super) fn remote_network(x: &Exchange, v4: Option<u8>, v6: Option<u8>) -> Cow<'_, [u8]> {
    let Some(ip) = x.conn.peer.map(|peer| peer.ip().to_canonical()) else { return Cow::Borrowed(b"@") };
    let bits = if ip.is_ipv6() { v6 } else { v4 };
    let network = bits.and_then(|bits| ipnet::IpNet::new(ip, bits).ok());
    network.map_or(Cow::Borrowed(b""), |network| Cow::Owned(network.trunc().to_string().into_bytes()))
}

fn address(address: Option<SocketAddr>, unix: &'static str) -> Cow<'static, [u8]> {
    let Some(address) = address else { return text(unix) };
    into_bytes(Cow::Owned(canonical(address).to_string()))
}

fn host(address: Option<SocketAddr>, unix: &'static str) -> Cow<'static, [u8]> {
    address.map_or(text(unix), |address| Cow::Owned(ip(address).to_string().into_bytes()))
}

fn port(address: Option<SocketAddr>) -> Cow<'static, [u8]> {
    address.map_or(Cow::Borrowed(b""), |address| Cow::Owned(address.port().to_string().into_bytes()))
}

fn ip(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

/// An IPv4 client of an IPv6 socket is shown as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    match (ip(address), address) {
        (IpAddr::V4(ip), SocketAddr::V6(_)) => SocketAddr::new(ip.into(), address.port()),
        _ => address,
    }
}

/// The host of a `host:port`, or all of it if it has no port.
pub(in crate::http) fn host_of(hostport: &str) -> &str {
    // Most have no port, and need no error made for them.
    if !hostport.contains(':') {
        return hostport;
    }
    split_host_port(hostport).map_or(hostport, |(host, _)| host)
}

fn port_of(hostport: &str) -> &str {
    if hostport.contains(':') { split_host_port(hostport).map_or("", |(_, port)| port) } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Placeholder;

    fn value(x: &Exchange, name: &str) -> String {
        let placeholder = Placeholder::parse(name).unwrap();
        String::from_utf8(placeholder.value(x).unwrap().into_owned()).unwrap()
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn targets_are_shown_decoded_and_escaped() {
        let x = Exchange::get("/p.a/..%2f%2e./b.c^%C3%A9?x=%zz&x=1;2&x=3&y=%20", &[]);
        for (name, expected) in [
            ("http.request.uri", "/p.a/../../b.c%5E%C3%A9?x=%zz&x=1;2&x=3&y=%20"),
            ("http.request.uri.path", "/p.a/../../b.c^é"),
            ("http.request.uri.path.file", "b.c^é"),
            ("http.request.uri.path.dir", "/p.a/../../"),
            ("http.request.uri.path.file.ext", ".c^é"),
            ("http.request.uri.path.file.base", "b"),
            ("http.request.uri.path.0", "p.a"),
            ("http.request.uri.query.x", "3"),
            ("http.request.uri.query.y", " "),
            ("http.request.uri.query", "x=%zz&x=1;2&x=3&y=%20"),
            ("http.request.uri.query_escaped", "x%3D%25zz%26x%3D1%3B2%26x%3D3%26y%3D%2520"),
            ("http.request.orig_uri", "/p.a/..%2f%2e./b.c^%C3%A9?x=%zz&x=1;2&x=3&y=%20"),
        ] {
            assert_eq!(value(&x, name), expected, "{name}");
        }
        assert_eq!(value(&Exchange::get("/a?", &[]), "http.request.uri"), "/a?");
        assert_eq!(value(&Exchange::get("/a?", &[]), "http.request.uri.prefixed_query"), "");
        assert_eq!(value(&Exchange::get("/a?b", &[]), "http.request.uri.prefixed_query"), "?b");
    }

    #[test]
    fn hosts_lose_their_port() {
        for (sent, host, port) in [
            ("a.B.c", "a.B.c", ""),
            ("a:80", "a", "80"),
            ("[::1]:80", "::1", "80"),
            ("[::1]", "[::1]", ""),
            ("a:b:c", "a:b:c", ""),
            ("a:", "a", ""),
        ] {
            let x = Exchange::get("/", &[("host", sent)]);
            assert_eq!(value(&x, "http.request.host"), host);
            assert_eq!(value(&x, "http.request.port"), port);
            assert_eq!(value(&x, "http.request.hostport"), sent);
        }
        let x = Exchange::get("/", &[("host", "www.Site.Example:8")]);
        assert_eq!(value(&x, "http.request.host.labels.1"), "site");
        assert_eq!(value(&x, "http.request.host.labels.3"), "");
    }

    #[test]
    fn cookies_are_found_whatever_their_case() {
        let x = Exchange::get("/", &[("cookie", "a=\"b c\"; d=e; sid=abc"), ("cookie", "sid=def; bad=\"x")]);
        for (name, expected) in [("a", "b c"), ("D", "e"), ("sid", "abc"), ("bad", ""), ("none", "")] {
            assert_eq!(value(&x, &format!("http.request.cookie.{name}")), expected);
        }
    }

    #[test]
    fn several_values_are_joined() {
        let x = Exchange::get("/?q=1&q=2", &[("x-a", "1"), ("x-a", "2")]);
        assert_eq!(value(&x, "http.request.header.X-A"), "1,2");
        assert_eq!(value(&x, "http.request.uri.query.q"), "1,2");
    }

    #[test]
    fn networks_hide_the_host() {
        let x = Exchange::get("/", &[]);
        assert_eq!(value(&x, "http.request.remote.host/8"), "192.0.0.0/8");
        assert_eq!(value(&x, "http.request.remote.host/24,64"), "192.0.2.0/24");
        assert_eq!(value(&x, "http.request.remote.host/x"), "");
        assert_eq!(value(&x, "http.request.remote"), "192.0.2.1:1234");
    }
}
