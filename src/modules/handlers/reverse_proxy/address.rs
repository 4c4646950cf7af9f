//! An upstream's address as a Caddyfile writes it: `host`, `host:port`, `scheme://host:port`,
//! `network/host:port`, with ports that may be ranges or placeholders.

use crate::config::{AddressError, NetworkAddress, join_host_port, split_network_address};

/// An upstream's address in its parts, each empty where it is not written and not implied.
#[derive(Debug, PartialEq, Eq)]
pub struct UpstreamAddress {
    network: String,
    /// `http`, `https`, `h2c`.
    pub scheme: String,
    host: String,
    port: String,
}

/// Why a text is no upstream's address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UpstreamAddressError {
    /// A placeholder in a URL.
    #[error("placeholders are not allowed when an upstream address contains a scheme")]
    PlaceholderInUrl,
    /// A URL that is none.
    #[error("parsing upstream URL: parse {url:?}: {problem}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A URL with more than that.
    #[error("for now, URLs for proxy upstreams only support scheme, host, and port components")]
    MoreThanHost,
    /// The other scheme's port.
    #[error("upstream address has conflicting scheme ({scheme}://) and port (:{port}, the {usual} port)")]
    Conflict {
        /// The scheme.
        scheme: String,
        /// The port.
        port: String,
        /// Whose port that is.
        usual: &'static str,
    },
    /// A scheme that only browsers know.
    #[error("the scheme {0}:// is only supported in browsers; use {1}:// instead")]
    BrowserScheme(&'static str, &'static str),
    /// Any other scheme.
    #[error("unsupported URL scheme {0}://")]
    Scheme(String),
    /// No network address.
    #[error(transparent)]
    Network(#[from] AddressError),
}

impl UpstreamAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// [`UpstreamAddressError`].
    pub fn parse(text: &str) -> Result<Self, UpstreamAddressError> {
        let mut address =
            if text.contains("://") { Self::parse_url(text)? } else { Self::parse_network(text) };
        if address.network == "unix+h2c" {
            "unix".clone_into(&mut address.network);
            "h2c".clone_into(&mut address.scheme);
        }
        match &*address.scheme {
            "" | "http" | "https" | "h2c" => Ok(address),
            "ws" => Err(UpstreamAddressError::BrowserScheme("ws", "http")),
            "wss" => Err(UpstreamAddressError::BrowserScheme("wss", "https")),
            other => Err(UpstreamAddressError::Scheme(other.to_owned())),
        }
    }

    fn parse_url(text: &str) -> Result<Self, UpstreamAddressError> {
        if text.contains('{') {
            return Err(UpstreamAddressError::PlaceholderInUrl);
        }
        let problem = |problem: String| UpstreamAddressError::Url { url: text.to_owned(), problem };
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        if scheme.is_empty() {
            return Err(problem("missing protocol scheme".into()));
        }
        let is_scheme = |ch: char| ch.is_ascii_alphanumeric() || matches!(ch, '+' | '-' | '.');
        if !scheme.starts_with(|ch: char| ch.is_ascii_alphabetic()) || !scheme.chars().all(is_scheme) {
            return Err(problem("first path segment in URL cannot contain colon".into()));
        }
        let scheme = scheme.to_ascii_lowercase();
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, more) = rest.split_at(end);
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = split_authority(host_and_port).map_err(problem)?;
        // A query without text is as good as none.
        if !more.is_empty() && more != "?" && more != "#" {
            return Err(UpstreamAddressError::MoreThanHost);
        }
        let port = implied_port(&scheme, port)?;
        Ok(Self { network: String::new(), scheme, host: host.to_owned(), port })
    }

    fn parse_network(text: &str) -> Self {
        let (network, host, mut port) =
            split_network_address(text).unwrap_or_else(|_| (String::new(), text.to_owned(), String::new()));
        let has_ports = !network.starts_with("unix") && !network.starts_with("fd");
        // A placeholder may well bring its port along.
        if port.is_empty() && has_ports && !host.contains('{') {
            "80".clone_into(&mut port);
        }
        Self { network, scheme: String::new(), host, port }
    }

    /// The address in the form that upstreams have in JSON; several for a range of ports.
    ///
    /// # Errors
    /// [`UpstreamAddressError::Network`], unless the port is a placeholder and so known later.
    pub fn dials(&self) -> Result<Vec<String>, UpstreamAddressError> {
        let dial = self.dial();
        if self.port.contains('{') && self.port.contains('}') {
            return Ok(vec![dial]);
        }
        let parsed: NetworkAddress = dial.parse()?;
        if parsed.is_unix() || !self.port.contains('-') {
            return Ok(vec![dial]);
        }
        let ports = parsed.start_port..=parsed.end_port;
        Ok(ports.map(|port| join_host_port(&parsed.host, &port.to_string())).collect())
    }

    fn dial(&self) -> String {
        let address =
            if self.port.is_empty() { self.host.clone() } else { join_host_port(&self.host, &self.port) };
        if self.network.is_empty() { address } else { format!("{}/{address}", self.network) }
    }
}

/// The host of a URL without its brackets, and its port.
fn split_authority(authority: &str) -> Result<(&str, &str), String> {
    if let Some(at) = authority.find('%') {
        let escape = authority.get(at..at + 3).unwrap_or(&authority[at..]);
        return Err(format!("invalid URL escape {escape:?}"));
    }
    if let Some(ch) =
        authority.chars().find(|ch| matches!(ch, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '|'))
    {
        return Err(format!("invalid character {ch:?} in host name"));
    }
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or("missing ']' in host")?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if rest.is_empty() {
        return Ok((host, ""));
    }
    let port = rest.strip_prefix(':').ok_or_else(|| format!("invalid port {rest:?} after host"))?;
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok((host, port));
    }
    if port.contains('-') {
        let is_range = port.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        return match port.matches('-').count() {
            1 if is_range => Ok((host, port)),
            _ => Err(format!("port range invalid: {port}")),
        };
    }
    Err(format!("invalid port {rest:?} after host"))
}

/// The port that goes with a scheme, unless one is written; it must not be another scheme's.
fn implied_port(scheme: &str, port: &str) -> Result<String, UpstreamAddressError> {
    let conflict = |usual| {
        Err(UpstreamAddressError::Conflict { scheme: scheme.to_owned(), port: port.to_owned(), usual })
    };
    match (scheme, port) {
        ("http" | "h2c", "443") => conflict("HTTPS"),
        ("https", "80") => conflict("HTTP"),
        ("https", "") => Ok("443".into()),
        ("http" | "h2c", "") => Ok("80".into()),
        _ => Ok(port.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, String), String> {
        let address = UpstreamAddress::parse(text).map_err(|error| error.to_string())?;
        let dials = address.dials().map_err(|error| error.to_string())?;
        Ok((address.scheme, dials.join(" ")))
    }

    #[test]
    fn every_form_is_read() {
        for (text, scheme, dials) in [
            ("localhost", "", "localhost:80"),
            (":8080", "", ":8080"),
            ("::1", "", "[::1]:80"),
            ("[::1]", "", "[::1]:80"),
            ("[::1]:8080-8082", "", "[::1]:8080 [::1]:8081 [::1]:8082"),
            ("http://localhost", "http", "localhost:80"),
            ("HTTPS://localhost", "https", "localhost:443"),
            ("h2c://localhost", "h2c", "localhost:80"),
            ("https://localhost:8001-8002", "https", "localhost:8001 localhost:8002"),
            ("http://user:pw@localhost:80", "http", "localhost:80"),
            ("http://[::1]", "http", "[::1]:80"),
            ("http://", "http", ":80"),
            ("{env.X}", "", "{env.X}"),
            ("{env.X}:80", "", "{env.X}:80"),
            ("localhost:{env.P}", "", "localhost:{env.P}"),
            ("{a}:{b}", "", "{a}:{b}"),
            ("unix//run/x.sock", "", "unix//run/x.sock"),
            ("unix+h2c//run/x.sock", "h2c", "unix//run/x.sock"),
            ("tcp/localhost", "", "tcp/localhost:80"),
            ("tcp/localhost:80-82", "", "localhost:80 localhost:81 localhost:82"),
            ("a:b:c", "", "[a:b:c]:80"),
        ] {
            assert_eq!(read(text), Ok((scheme.into(), dials.into())), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused_with_their_reason() {
        for (text, says) in [
            ("localhost:8003-8001", "end port must not be less than start port"),
            ("localhost:abc", r#"invalid start port: strconv.ParseUint: parsing "abc": invalid syntax"#),
            ("localhost:70000", "value out of range"),
            ("http://localhost:443", "conflicting scheme (http://) and port (:443, the HTTPS port)"),
            ("https://localhost:80", "conflicting scheme (https://) and port (:80, the HTTP port)"),
            ("h2c://localhost:443", "conflicting scheme (h2c://) and port (:443, the HTTPS port)"),
            ("http://a:1-2-3", r#"parse "http://a:1-2-3": port range invalid: 1-2-3"#),
            ("http://a:abc", r#"parsing upstream URL: parse "http://a:abc": invalid port ":abc" after host"#),
            ("http://a:80:90", r#"invalid port ":80:90" after host"#),
            ("http://a:80/", "only support scheme, host, and port"),
            ("http://a?x", "only support scheme, host, and port"),
            ("http://{env.X}", "placeholders are not allowed"),
            ("http://a%20b", r#"invalid URL escape "%20""#),
            ("ws://a", "the scheme ws:// is only supported in browsers; use http:// instead"),
            ("wss://a", "the scheme wss:// is only supported in browsers; use https:// instead"),
            ("ftp://a", "unsupported URL scheme ftp://"),
            ("://a", "missing protocol scheme"),
            ("unix//x|abc", "could not parse octal permission bits in /x|abc"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
