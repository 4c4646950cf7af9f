//! The header of the PROXY protocol, which tells an upstream who the client is
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).

use std::net::IpAddr;

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}

/// How a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header for a connection on behalf of `client`; without one, on our own. As in Caddy, the port is
/// 0, and so are the address and port that the client came to.
pub(super) fn header(version: ProxyVersion, client: Option<IpAddr>) -> Vec<u8> {
    let client = client.map(|client| client.to_canonical());
    match (version, client) {
        (ProxyVersion::V1, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (ProxyVersion::V1, Some(ip @ IpAddr::V4(_))) => format!("PROXY TCP4 {ip} 0.0.0.0 0 0\r\n").into(),
        (ProxyVersion::V1, Some(ip @ IpAddr::V6(_))) => format!("PROXY TCP6 {ip} :: 0 0\r\n").into(),
        (ProxyVersion::V2, None) => [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat(),
        (ProxyVersion::V2, Some(IpAddr::V4(ip))) => {
            [&SIGNATURE[..], &[0x21, 0x11, 0, 12], &ip.octets(), &[0; 8]].concat()
        }
        (ProxyVersion::V2, Some(IpAddr::V6(ip))) => {
            [&SIGNATURE[..], &[0x21, 0x21, 0, 36], &ip.octets(), &[0; 20]].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_of_in_both_versions() {
        let v1 = |client: Option<&str>| {
            String::from_utf8(header(ProxyVersion::V1, client.map(|ip| ip.parse().unwrap()))).unwrap()
        };
        assert_eq!(v1(Some("192.0.2.7")), "PROXY TCP4 192.0.2.7 0.0.0.0 0 0\r\n");
        assert_eq!(v1(Some("::ffff:192.0.2.7")), "PROXY TCP4 192.0.2.7 0.0.0.0 0 0\r\n");
        assert_eq!(v1(Some("2001:db8::7")), "PROXY TCP6 2001:db8::7 :: 0 0\r\n");
        assert_eq!(v1(None), "PROXY UNKNOWN\r\n");
        let v2 = |client: Option<&str>| header(ProxyVersion::V2, client.map(|ip| ip.parse().unwrap()));
        assert_eq!(v2(Some("192.0.2.7"))[12..20], [0x21, 0x11, 0, 12, 192, 0, 2, 7]);
        assert_eq!(v2(Some("192.0.2.7")).len(), 28);
        assert_eq!(v2(Some("2001:db8::7")).len(), 52);
        assert_eq!(v2(None)[12..], [0x20, 0, 0, 0]);
    }
}
