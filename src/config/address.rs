//! Network addresses: `tcp/host:port`, port ranges, unix sockets.

use std::fmt;
use std::str::FromStr;

/// An address to listen on or to dial, as Caddy writes it: `network/host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NetworkAddress {
    /// `tcp`, `tcp4`, `tcp6`, `udp`, `unix`, `unixgram`, `unixpacket`, `fd`, ...
    pub network: String,
    /// The host; for a unix socket its path, and for `fd` the number.
    pub host: String,
    /// The first port; 0 for unix sockets.
    pub start_port: u16,
    /// The last port, mostly the same.
    pub end_port: u16,
}

/// Why a text is no network address. The wording is Go's and Caddy's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not of the form `host:port`.
    #[error("address {address}: {problem}")]
    Form {
        /// What was given.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A port that is no number from 0 to 65535.
    #[error("invalid {which} port: strconv.ParseUint: parsing {text:?}: {problem}")]
    Port {
        /// `start` or `end`.
        which: &'static str,
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A range that ends before it starts.
    #[error("end port must not be less than start port")]
    Range,
    /// Permissions of a unix socket that are no octal number, or don't let its owner write.
    #[error("could not parse octal permission bits in {0}")]
    Permissions(String),
}

impl NetworkAddress {
    /// Whether it is a unix socket of any kind.
    pub fn is_unix(&self) -> bool {
        is_unix(&self.network)
    }

    /// Whether it is an open descriptor.
    pub fn is_fd(&self) -> bool {
        is_fd(&self.network)
    }

    /// The path of a unix socket, and the permission bits that follow it after `|`; those are 0200
    /// unless said otherwise.
    ///
    /// # Errors
    /// [`AddressError::Permissions`].
    pub fn unix_path(&self) -> Result<(&str, u32), AddressError> {
        let Some((path, bits)) = self.host.split_once('|') else { return Ok((&self.host, 0o200)) };
        match u32::from_str_radix(bits, 8) {
            Ok(mode) if mode & 0o200 != 0 => Ok((path, mode)),
            _ => Err(AddressError::Permissions(self.host.clone())),
        }
    }

    /// How many ports there are; 1 where there is none.
    pub fn port_count(&self) -> usize {
        usize::from(self.end_port.saturating_sub(self.start_port)) + 1
    }

    /// Each single address of a port range.
    pub fn expand(&self) -> impl Iterator<Item = NetworkAddress> + '_ {
        (self.start_port..=self.end_port.max(self.start_port)).map(|port| NetworkAddress {
            start_port: port,
            end_port: port,
            ..self.clone()
        })
    }

    /// `host:port` of the first port; a unix socket's path.
    pub fn join_host_port(&self) -> String {
        if self.is_unix() || self.is_fd() {
            return self.host.clone();
        }
        join_host_port(&self.host, &self.start_port.to_string())
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.is_unix()
            || self.is_fd()
            || self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether it is every interface of this machine.
    pub fn is_wildcard(&self) -> bool {
        self.host.is_empty() || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }

    /// Whether there is a port other than `port` in its range; a unix socket has none but 0.
    pub fn uses_other_port_than(&self, port: u16) -> bool {
        port > self.end_port || port < self.start_port
    }

    /// Reads an address whose network or port may be missing.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse_with_defaults(text: &str, network: &str, port: u16) -> Result<Self, AddressError> {
        let (said_network, host, said_port) = split_network_address(text)?;
        let network = if said_network.is_empty() { network.to_owned() } else { said_network };
        if is_unix(&network) || is_fd(&network) {
            let address = Self { network, host, start_port: 0, end_port: 0 };
            if address.is_unix() {
                address.unix_path()?;
            }
            return Ok(address);
        }
        let (start_port, end_port) = if said_port.is_empty() {
            (port, port)
        } else {
            let (start, end) = said_port.split_once('-').unwrap_or((&said_port, &said_port));
            (parse_port("start", start)?, parse_port("end", end)?)
        };
        if end_port < start_port {
            return Err(AddressError::Range);
        }
        Ok(Self { network, host, start_port, end_port })
    }
}

impl FromStr for NetworkAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse_with_defaults(text, "tcp", 0)
    }
}

impl fmt::Display for NetworkAddress {
    /// As Caddy prints it: without the network if that is `tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.network != "tcp" && !self.network.is_empty() {
            write!(f, "{}/", self.network)?;
        }
        if self.is_unix() || self.is_fd() {
            return f.write_str(&self.host);
        }
        let port = if self.start_port == self.end_port {
            self.start_port.to_string()
        } else {
            format!("{}-{}", self.start_port, self.end_port)
        };
        f.write_str(&join_host_port(&self.host, &port))
    }
}

fn is_unix(network: &str) -> bool {
    network.starts_with("unix")
}

fn is_fd(network: &str) -> bool {
    network.starts_with("fd")
}

fn parse_port(which: &'static str, text: &str) -> Result<u16, AddressError> {
    text.parse().map_err(|_| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let problem = if digits { "value out of range" } else { "invalid syntax" };
        AddressError::Port { which, text: text.to_owned(), problem }
    })
}

/// `network/host:port` in its parts; network and port are empty where they are missing.
///
/// # Errors
/// [`AddressError::Form`].
pub fn split_network_address(text: &str) -> Result<(String, String, String), AddressError> {
    let (network, rest) = match text.split_once('/') {
        Some((network, rest)) => (network.trim().to_lowercase(), rest),
        None => (String::new(), text),
    };
    if is_unix(&network) || is_fd(&network) {
        return Ok((network, rest.to_owned(), String::new()));
    }
    let (host, port) = match split_host_port(rest) {
        Ok(parts) => parts,
        Err(error) => {
            // Mostly the port is missing: with one, the host must be right.
            let host = rest.trim_matches(['[', ']']);
            let with_port = join_host_port(host, "0");
            let (host, _) = split_host_port(&with_port).map_err(|_| error)?;
            return Ok((network, host.to_owned(), String::new()));
        }
    };
    Ok((network, host.to_owned(), port.to_owned()))
}

/// `host:port`, with brackets around a host that has colons itself (Go's `net.JoinHostPort`).
pub fn join_host_port(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The parts of `host:port`, `[host]:port`, `:port` (Go's `net.SplitHostPort`).
///
/// # Errors
/// [`AddressError::Form`].
pub fn split_host_port(text: &str) -> Result<(&str, &str), AddressError> {
    let error = |problem| AddressError::Form { address: text.to_owned(), problem };
    let Some(colon) = text.rfind(':') else { return Err(error("missing port in address")) };
    let (host, checked_from);
    if let Some(inner) = text.strip_prefix('[') {
        let Some(end) = inner.find(']').map(|at| at + 1) else { return Err(error("missing ']' in address")) };
        match end + 1 {
            after if after == text.len() => return Err(error("missing port in address")),
            after if after == colon => {}
            _ if text[end + 1..].starts_with(':') => return Err(error("too many colons in address")),
            _ => return Err(error("missing port in address")),
        }
        host = &text[1..end];
        checked_from = (1, end + 1);
    } else {
        host = &text[..colon];
        if host.contains(':') {
            return Err(error("too many colons in address"));
        }
        checked_from = (0, 0);
    }
    if text[checked_from.0..].contains('[') {
        return Err(error("unexpected '[' in address"));
    }
    if text[checked_from.1..].contains(']') {
        return Err(error("unexpected ']' in address"));
    }
    Ok((host, &text[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String, u16, u16) {
        let address: NetworkAddress = text.parse().unwrap();
        (address.network, address.host, address.start_port, address.end_port)
    }

    fn parts(network: &str, host: &str, start: u16, end: u16) -> (String, String, u16, u16) {
        (network.into(), host.into(), start, end)
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(parsed(":80"), parts("tcp", "", 80, 80));
        assert_eq!(parsed("localhost"), parts("tcp", "localhost", 0, 0));
        assert_eq!(parsed("udp/127.0.0.1:8000-8010"), parts("udp", "127.0.0.1", 8000, 8010));
        assert_eq!(parsed("[::1]:80"), parts("tcp", "::1", 80, 80));
        assert_eq!(parsed("::1"), parts("tcp", "::1", 0, 0));
        assert_eq!(parsed("TCP4/a:1"), parts("tcp4", "a", 1, 1));
        assert_eq!(parsed("unix//run/x.sock|0222"), parts("unix", "/run/x.sock|0222", 0, 0));
        assert_eq!(parsed("fd/3"), parts("fd", "3", 0, 0));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let error = |text: &str| text.parse::<NetworkAddress>().unwrap_err().to_string();
        assert_eq!(error(":x"), r#"invalid start port: strconv.ParseUint: parsing "x": invalid syntax"#);
        assert_eq!(
            error(":70000"),
            r#"invalid start port: strconv.ParseUint: parsing "70000": value out of range"#
        );
        assert_eq!(error(":2-1"), "end port must not be less than start port");
        assert!(error("unix//x|0444").contains("permission bits"));
    }

    #[test]
    fn display_gives_back_what_was_read() {
        let shown = |text: &str| text.parse::<NetworkAddress>().unwrap().to_string();
        for text in [":80", "[::1]:80", "udp/a:1-5", "unix//run/x.sock", "fd/3"] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown("tcp/a:1"), "a:1");
    }

    #[test]
    fn a_range_expands() {
        let address: NetworkAddress = "a:1-3".parse().unwrap();
        let all: Vec<String> = address.expand().map(|one| one.to_string()).collect();
        assert_eq!(all, ["a:1", "a:2", "a:3"]);
        assert_eq!(address.port_count(), 3);
        assert!(address.uses_other_port_than(4) && !address.uses_other_port_than(2));
    }

    #[test]
    fn unix_permissions() {
        let address: NetworkAddress = "unix//x|0222".parse().unwrap();
        assert_eq!(address.unix_path(), Ok(("/x", 0o222)));
        let address: NetworkAddress = "unix//x".parse().unwrap();
        assert_eq!(address.unix_path(), Ok(("/x", 0o200)));
    }
}
