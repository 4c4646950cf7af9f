//! A request made ready for upstreams: which of the client's header fields go on, and which are
//! ours.

use std::borrow::Cow;

use http::Version;
use http::header::{CONNECTION, HOST, HeaderName, TE, UPGRADE, VIA};
use ipnet::IpNet;

use super::hop_by_hop::{has_token, is_hop_by_hop, list};
use super::overlay::Overlay;
use crate::http::Exchange;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The client's header fields as upstreams are to see them, before `header_up`.
///
/// `trusted` are the proxies whose `X-Forwarded-*` this handler believes, besides the server's own.
pub fn fields<'a>(x: &'a Exchange, trusted: &[IpNet]) -> Overlay<'a> {
    let mut fields = Overlay::new(&x.headers);
    remove_hop_by_hop(&mut fields, x);
    add_forwarded(&mut fields, x, trusted);
    fields.append(VIA, via(x.version).as_bytes());
    fields
}

/// What `Via` says of us and of the protocol version that a message came to us in. Upstreams and
/// caches may look for Caddy's name there, so it stays Caddy's.
pub fn via(version: Version) -> &'static str {
    match version {
        // What came by no version of HTTP, such as FastCGI.
        Version::HTTP_09 => "0.0 Caddy",
        Version::HTTP_10 => "1.0 Caddy",
        Version::HTTP_2 => "2.0 Caddy",
        Version::HTTP_3 => "3.0 Caddy",
        _ => "1.1 Caddy",
    }
}

/// The protocol that the client wants to change to, if we pass that on.
///
/// `h2c` never is: requests inside the tunnel would walk past every other handler.
pub fn upgrade(x: &Exchange) -> Option<Cow<'_, [u8]>> {
    if x.version != Version::HTTP_11 || !has_token(&x.headers, &CONNECTION, b"upgrade") {
        return None;
    }
    let protocol = x.headers.get(UPGRADE)?.as_bytes().trim_ascii();
    if protocol.is_empty() || list(protocol).any(|name| name.eq_ignore_ascii_case(b"h2c")) {
        return None;
    }
    Some(if protocol.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(protocol.to_ascii_lowercase())
    } else {
        Cow::Borrowed(protocol)
    })
}

/// Removes what concerns only the client's connection, but for what is meant for all the way: that the
/// client takes trailers, or wants to change the protocol.
fn remove_hop_by_hop<'a>(fields: &mut Overlay<'a>, x: &'a Exchange) {
    let headers = fields.below();
    let (mut has_connection, mut wants_trailers) = (false, false);
    for name in headers.keys().filter(|name| is_hop_by_hop(name)) {
        has_connection |= *name == CONNECTION;
        if *name == TE {
            wants_trailers = has_token(headers, &TE, b"trailers") && !has_token(headers, &CONNECTION, b"te");
        }
        fields.remove(name);
    }
    if !has_connection && !wants_trailers {
        return;
    }
    for value in headers.get_all(CONNECTION) {
        for token in list(value.as_bytes()) {
            // `Host` is no field of a connection, whatever a client may say.
            if let Ok(name) = HeaderName::from_bytes(token)
                && name != HOST
                && headers.contains_key(&name)
            {
                fields.remove(&name);
            }
        }
    }
    if wants_trailers {
        fields.set(TE, &b"trailers"[..]);
    }
    if let Some(protocol) = upgrade(x) {
        fields.set(CONNECTION, &b"Upgrade"[..]);
        fields.set(UPGRADE, protocol);
    }
}

/// `X-Forwarded-*`, which tell the upstream of the client. What the client itself says there counts
/// only if it is a proxy that is trusted.
fn add_forwarded<'a>(fields: &mut Overlay<'a>, x: &'a Exchange, trusted: &[IpNet]) {
    let Some(peer) = x.conn.peer.map(|peer| peer.ip().to_canonical()) else {
        // A Unix socket's peer has no address to add.
        if !x.trusted_proxy {
            for name in [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST] {
                fields.remove(&name);
            }
            return;
        }
        let joined = all_values(fields, &X_FORWARDED_FOR);
        if !joined.is_empty() {
            fields.set(X_FORWARDED_FOR, joined);
        }
        add_forwarded_origin(fields, x, true);
        return;
    };
    let is_trusted = x.trusted_proxy || trusted.iter().any(|range| range.contains(&peer));
    let peer = x.conn.peer_ip().as_bytes();
    let chain = if is_trusted { forwarded_for(fields, peer).into() } else { Cow::Borrowed(peer) };
    fields.set(X_FORWARDED_FOR, chain);
    add_forwarded_origin(fields, x, is_trusted);
}

fn forwarded_for(fields: &Overlay<'_>, peer: &[u8]) -> Vec<u8> {
    let mut chain = all_values(fields, &X_FORWARDED_FOR);
    if !chain.is_empty() {
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(peer);
    chain
}

/// The scheme and host that the client asked for.
fn add_forwarded_origin<'a>(fields: &mut Overlay<'a>, x: &'a Exchange, is_trusted: bool) {
    let said = |name: &HeaderName| {
        let last = is_trusted.then(|| fields.below().get_all(name).iter().next_back()).flatten();
        // What `Connection` took away is not there any more.
        last.filter(|value| !value.is_empty() && !fields.omit().contains(name)).map(|value| value.as_bytes())
    };
    let scheme: &[u8] = if x.conn.tls.is_some() { b"https" } else { b"http" };
    let proto = said(&X_FORWARDED_PROTO).unwrap_or(scheme);
    let host = said(&X_FORWARDED_HOST).unwrap_or_else(|| x.host().as_bytes());
    fields.set(X_FORWARDED_PROTO, proto);
    fields.set(X_FORWARDED_HOST, host);
}

fn all_values(fields: &Overlay<'_>, name: &HeaderName) -> Vec<u8> {
    fields.get_all(name).collect::<Vec<_>>().join(&b", "[..])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::{Body, ConnInfo, Fields as _};

    fn request(headers: &[(&str, &str)]) -> Exchange {
        let mut request = http::Request::new(Body::Empty);
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let peer = Some("192.0.2.7:1000".parse().unwrap());
        Exchange::new(request, Arc::new(ConnInfo::new(peer, None, None)))
    }

    /// What an upstream sees, our own fields left out.
    fn theirs(x: &Exchange) -> Vec<String> {
        let ours = ["via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        shown(x, &[]).into_iter().filter(|line| !ours.contains(&line.split_once(':').unwrap().0)).collect()
    }

    /// What an upstream sees in our own fields.
    fn ours(x: &Exchange, trusted: &[&str]) -> Vec<String> {
        let trusted: Vec<IpNet> = trusted.iter().map(|range| range.parse().unwrap()).collect();
        shown(x, &trusted).into_iter().filter(|line| line.starts_with(['x', 'v'])).collect()
    }

    fn shown(x: &Exchange, trusted: &[IpNet]) -> Vec<String> {
        let fields = fields(x, trusted);
        let mut lines = Vec::new();
        for name in fields.names() {
            let text = |value: &[u8]| format!("{name}: {}", String::from_utf8_lossy(value));
            lines.extend(fields.get_all(&name).map(text));
        }
        lines.sort();
        lines
    }

    #[test]
    fn fields_of_the_clients_connection_stay_behind() {
        let x = request(&[
            ("host", "h"),
            ("connection", "X-Private, keep-alive, Host"),
            ("x-private", "1"),
            ("x-public", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eDp5"),
            ("proxy-authenticate", "x"),
            ("trailer", "X-T"),
            ("te", "gzip"),
            ("upgrade", "foo/2"),
            ("alt-svc", "clear"),
            ("transfer-encoding", "chunked"),
        ]);
        assert_eq!(theirs(&x), ["host: h", "x-public: 1"]);
    }

    #[test]
    fn trailers_are_asked_for_only_if_that_was_meant_for_the_upstream() {
        assert_eq!(theirs(&request(&[("te", "gzip, trailers;q=1")])), [""; 0]);
        assert_eq!(theirs(&request(&[("te", "gzip, Trailers")])), ["te: trailers"]);
        assert_eq!(theirs(&request(&[("te", "trailers"), ("connection", "TE")])), [""; 0]);
    }

    #[test]
    fn an_upgrade_travels_unless_it_is_h2c_or_of_another_version() {
        let headers = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
        ];
        let mut x = request(&headers);
        let seen = theirs(&x);
        assert_eq!(seen, ["connection: Upgrade", "sec-websocket-version: 13", "upgrade: websocket"]);
        x.version = Version::HTTP_10;
        assert_eq!(theirs(&x), ["sec-websocket-version: 13"]);
        for protocol in ["h2c", "websocket, H2C"] {
            let x = request(&[
                ("connection", "Upgrade, HTTP2-Settings"),
                ("upgrade", protocol),
                ("http2-settings", "AAMAAABkAAQAAP__"),
            ]);
            assert_eq!(theirs(&x), [""; 0], "{protocol}");
        }
        assert_eq!(theirs(&request(&[("connection", "upgrade")])), [""; 0]);
        assert_eq!(theirs(&request(&[("upgrade", "websocket")])), [""; 0]);
    }

    const CLAIMS: [(&str, &str); 5] = [
        ("host", "h:1"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "front.example"),
    ];

    #[test]
    fn a_clients_own_claims_do_not_count() {
        let expected = [
            "via: 1.1 Caddy",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: h:1",
            "x-forwarded-proto: http",
        ];
        assert_eq!(ours(&request(&CLAIMS), &[]), expected);
        assert_eq!(ours(&request(&CLAIMS), &["10.0.0.0/8"]), expected);
    }

    #[test]
    fn a_trusted_proxys_claims_are_kept_and_added_to() {
        let expected = [
            "via: 1.1 Caddy",
            "x-forwarded-for: 203.0.113.7, 198.51.100.1, 192.0.2.7",
            "x-forwarded-host: front.example",
            "x-forwarded-proto: https",
        ];
        assert_eq!(ours(&request(&CLAIMS), &["192.0.2.0/24"]), expected);
        let mut x = request(&CLAIMS);
        x.trusted_proxy = true;
        assert_eq!(ours(&x, &[]), expected);
    }

    #[test]
    fn claims_over_a_unix_socket_count_only_if_it_is_trusted() {
        let mut x = request(&CLAIMS);
        x.conn = Arc::new(ConnInfo::new(None, None, None));
        assert_eq!(ours(&x, &[]), ["via: 1.1 Caddy"]);
        x.trusted_proxy = true;
        let expected = [
            "via: 1.1 Caddy",
            "x-forwarded-for: 203.0.113.7, 198.51.100.1",
            "x-forwarded-host: front.example",
            "x-forwarded-proto: https",
        ];
        assert_eq!(ours(&x, &[]), expected);
    }

    #[test]
    fn claims_that_connection_takes_away_are_gone() {
        let mut claims = CLAIMS.to_vec();
        claims.push(("connection", "X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host"));
        let mut x = request(&claims);
        x.trusted_proxy = true;
        let expected = [
            "via: 1.1 Caddy",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: h:1",
            "x-forwarded-proto: http",
        ];
        assert_eq!(ours(&x, &[]), expected);
    }

    #[test]
    fn via_is_added_to() {
        let mut x = request(&[("via", "1.0 fred")]);
        x.version = Version::HTTP_10;
        let expected = [
            "via: 1.0 Caddy",
            "via: 1.0 fred",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: ",
            "x-forwarded-proto: http",
        ];
        assert_eq!(shown(&x, &[]), expected);
    }
}
