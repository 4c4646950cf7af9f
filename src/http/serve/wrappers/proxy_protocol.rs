//! The header of the PROXY protocol, by which a load balancer tells who its client is
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// How one of version 1 begins.
const WORD: &[u8; 6] = b"PROXY ";
/// A header of version 1 is no longer, its line's end included.
const LINE_BYTES_MAX: usize = 107;
/// The fixed part of a header of version 2.
const FIXED_BYTES: usize = 16;
/// What follows it may be no longer: addresses, and fields that nobody here reads.
const REST_BYTES_MAX: usize = 16 * 1024;

/// The two ends of the connection that the load balancer has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

/// What stands at the start of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A header of so many bytes. Without ends the load balancer speaks for itself, or cannot say.
    Header(usize, Option<Ends>),
    /// No header.
    None,
    /// What could still become one.
    Incomplete,
}

/// Looks for a header at the start of `bytes`.
///
/// # Errors
/// It begins as one, and is malformed.
pub(super) fn look(bytes: &[u8]) -> Result<Start, &'static str> {
    if bytes.starts_with(WORD) {
        return line(bytes);
    }
    if bytes.starts_with(SIGNATURE) {
        return binary(bytes);
    }
    let could_be = !bytes.is_empty() && (WORD.starts_with(bytes) || SIGNATURE.starts_with(bytes));
    Ok(if could_be || bytes.is_empty() { Start::Incomplete } else { Start::None })
}

fn line(bytes: &[u8]) -> Result<Start, &'static str> {
    let part = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', part) else {
        let too_long = part.len() == LINE_BYTES_MAX;
        return if too_long { Err("PROXY line too long") } else { Ok(Start::Incomplete) };
    };
    let line = part[..end].strip_suffix(b"\r").ok_or("PROXY line without CRLF")?;
    let line = std::str::from_utf8(line).map_err(|_| "malformed PROXY line")?;
    let words: Vec<&str> = line.split(' ').collect();
    let ends = match words[1..] {
        ["UNKNOWN", ..] => None,
        [family @ ("TCP4" | "TCP6"), source, destination, source_port, destination_port] => {
            let end = |address: &str, port: &str| -> Option<SocketAddr> {
                let ip: IpAddr = address.parse().ok()?;
                let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse().ok().filter(|_| is_port)?;
                (ip.is_ipv4() == (family == "TCP4")).then_some(SocketAddr::new(ip, port))
            };
            let malformed = "malformed address in a PROXY line";
            Some(Ends {
                source: end(source, source_port).ok_or(malformed)?,
                destination: end(destination, destination_port).ok_or(malformed)?,
            })
        }
        _ => return Err("malformed PROXY line"),
    };
    Ok(Start::Header(end + 1, ends))
}

fn binary(bytes: &[u8]) -> Result<Start, &'static str> {
    let Some([.., version_command, family, high, low]) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Ok(Start::Incomplete);
    };
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err("unknown version or command of a PROXY header"),
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > REST_BYTES_MAX {
        return Err("PROXY header too long");
    }
    let Some(rest) = bytes.get(FIXED_BYTES..FIXED_BYTES + length) else { return Ok(Start::Incomplete) };
    let ends = match family {
        _ if is_local => None,
        // TCP or UDP over IPv4, or IPv6.
        0x11 | 0x12 => Some(addresses::<4>(rest)?),
        0x21 | 0x22 => Some(addresses::<16>(rest)?),
        // Unix sockets, and what nobody says more of.
        0x00 | 0x31 | 0x32 => None,
        _ => return Err("unknown family of a PROXY header"),
    };
    Ok(Start::Header(FIXED_BYTES + length, ends))
}

/// Two addresses and two ports, as they stand in a header of version 2.
fn addresses<const N: usize>(rest: &[u8]) -> Result<Ends, &'static str> {
    let short = "PROXY header without its addresses";
    let (source, rest) = rest.split_at_checked(N).ok_or(short)?;
    let (destination, rest) = rest.split_at_checked(N).ok_or(short)?;
    let [source_high, source_low, high, low] = *rest.first_chunk().ok_or(short)?;
    let ip = |bytes: &[u8]| match bytes {
        [a, b, c, d] => IpAddr::from(Ipv4Addr::new(*a, *b, *c, *d)),
        bytes => IpAddr::from(<[u8; 16]>::try_from(bytes).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from)),
    };
    let port = |high, low| u16::from_be_bytes([high, low]);
    Ok(Ends {
        source: SocketAddr::new(ip(source).to_canonical(), port(source_high, source_low)),
        destination: SocketAddr::new(ip(destination).to_canonical(), port(high, low)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: &str, destination: &str) -> Option<Ends> {
        Some(Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
    }

    fn binary_header(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_command, family], &length, rest].concat()
    }

    #[test]
    fn both_versions_are_read() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80];
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 15], &[1], &[0x30, 0x39, 0, 80]].concat();
        let with_fields = [&v4[..], &[4, 0, 1, 0]].concat();
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n".to_vec(), ends("192.0.2.7:12345", "10.0.0.1:80")),
            (b"PROXY TCP6 2001:db8::7 ::1 12345 80\r\n".to_vec(), ends("[2001:db8::7]:12345", "[::1]:80")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN what ever\r\n".to_vec(), None),
            (binary_header(0x21, 0x11, &v4), ends("192.0.2.7:12345", "10.0.0.1:80")),
            (binary_header(0x21, 0x11, &with_fields), ends("192.0.2.7:12345", "10.0.0.1:80")),
            (binary_header(0x21, 0x21, &v6), ends("[2001:db8::7]:12345", "[::1]:80")),
            (binary_header(0x20, 0x11, &v4), None),
            (binary_header(0x20, 0x00, b""), None),
            (binary_header(0x21, 0x31, &[0; 216]), None),
        ] {
            let length = header.len();
            for cut in 0..length {
                assert_eq!(look(&header[..cut]), Ok(Start::Incomplete), "{cut} of {header:?}");
            }
            let with_more = [header, b"GET / HTTP/1.1\r\n".to_vec()].concat();
            assert_eq!(look(&with_more), Ok(Start::Header(length, expected)));
        }
    }

    #[test]
    fn what_is_no_header_is_told_at_once() {
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"PROXYING",
            b"PUT",
            b"\x16\x03\x01",
            b"\r\n\r\nGET",
            b"\r\n\r\n\0\r\nQUIX",
        ] {
            assert_eq!(look(bytes), Ok(Start::None), "{bytes:?}");
        }
    }

    #[test]
    fn hostile_headers_are_refused_within_a_bound() {
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        let mut huge = binary_header(0x21, 0x11, &[0; 12]);
        huge[14..16].copy_from_slice(&[0xff, 0xff]);
        for header in [
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80 9\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 12345 80\r\n".to_vec(),
            b"PROXY TCP6 192.0.2.7 10.0.0.1 12345 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 +5 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 70000 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\n".to_vec(),
            b"PROXY TCP5 192.0.2.7 10.0.0.1 12345 80\r\n".to_vec(),
            b"PROXY \xff\r\n".to_vec(),
            long,
            huge,
            binary_header(0x11, 0x11, &[0; 12]),
            binary_header(0x22, 0x11, &[0; 12]),
            binary_header(0x21, 0x11, &[0; 11]),
            binary_header(0x21, 0x21, &[0; 12]),
            binary_header(0x21, 0x55, &[0; 12]),
        ] {
            assert!(look(&header).is_err(), "{header:?}");
        }
    }
}
