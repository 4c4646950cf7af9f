//! Which proxy the environment names, by the rules that Go programs keep (`http.ProxyFromEnvironment`).

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustls::ClientConfig;

use super::ForwardProxy;

/// What the environment says of proxies.
#[derive(Debug, Default)]
pub(super) struct Environment {
    http: Option<Arc<ForwardProxy>>,
    https: Option<Arc<ForwardProxy>>,
    exceptions: Vec<Exception>,
}

/// What is asked for directly; at one port, or at all.
#[derive(Debug)]
enum Exception {
    All,
    Net(IpNet),
    Address(IpAddr, Option<String>),
    Domain {
        /// With a dot in front.
        suffix: String,
        /// Whether the name without the dot counts too.
        itself: bool,
        port: Option<String>,
    },
}

impl Environment {
    /// What these variables say. A proxy that is spoken with over TLS is trusted by `tls`.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>, tls: &Arc<ClientConfig>) -> Self {
        let any = |name: &str| any(&variable, name);
        let proxy = |name: &str| {
            let url = any(name)?;
            match parse(&url, tls) {
                Ok(proxy) => Some(Arc::new(proxy)),
                Err(error) => {
                    tracing::warn!(target: "fetch", variable = name, %error, "the environment names no proper proxy");
                    None
                }
            }
        };
        let (http, https) = (proxy("HTTP_PROXY"), proxy("HTTPS_PROXY"));
        let exceptions = any("NO_PROXY").unwrap_or_default();
        Self { http, https, exceptions: exceptions.split(',').filter_map(Exception::parse).collect() }
    }

    /// The proxy by which `host` is to be reached; none if that is to be done directly.
    pub(super) fn proxy_for(&self, is_https: bool, host: &str, port: u16) -> Option<&Arc<ForwardProxy>> {
        let proxy = if is_https { &self.https } else { &self.http }.as_ref()?;
        let ip: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || ip.is_some_and(|ip| ip.to_canonical().is_loopback()) {
            return None;
        }
        let (host, port) = (host.to_lowercase(), port.to_string());
        let is_excepted = self.exceptions.iter().any(|exception| exception.holds(&host, ip, &port));
        (!is_excepted).then_some(proxy)
    }
}

/// Whether these variables name a proxy that is spoken with over TLS even for what is asked for in the clear.
pub(super) fn needs_tls_in_the_clear(variable: impl Fn(&str) -> Option<String>) -> bool {
    let proxy = any(&variable, "HTTP_PROXY");
    proxy.is_some_and(|url| url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")))
}

/// A variable's value under its name in upper or lower case, if it is not empty.
fn any(variable: &impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    let said = |name: &str| variable(name).filter(|value| !value.is_empty());
    said(name).or_else(|| said(&name.to_ascii_lowercase()))
}

/// A proxy's URL, whose scheme may be left out.
fn parse(url: &str, tls: &Arc<ClientConfig>) -> Result<ForwardProxy, String> {
    let has_scheme = url.split_once("://").is_some();
    let url = if has_scheme { url.to_owned() } else { format!("http://{url}") };
    ForwardProxy::parse(&url, || Ok::<_, String>(tls.clone()))
}

impl Exception {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        if text == "*" {
            return Some(Self::All);
        }
        if let Ok(net) = text.parse() {
            return Some(Self::Net(net));
        }
        let (host, port) = match text.rsplit_once(':') {
            // Without brackets an address of IPv6 has no port.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (text.as_str(), None),
        };
        let port = port.filter(|port| !port.is_empty()).map(str::to_owned);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = host.parse() {
            return Some(Self::Address(ip, port));
        }
        let host = if host.starts_with("*.") { &host[1..] } else { host };
        match host {
            "" => None,
            host if host.starts_with('.') => {
                Some(Self::Domain { suffix: host.to_owned(), itself: false, port })
            }
            host => Some(Self::Domain { suffix: format!(".{host}"), itself: true, port }),
        }
    }

    fn holds(&self, host: &str, ip: Option<IpAddr>, at: &str) -> bool {
        let is_at = |port: &Option<String>| port.as_ref().is_none_or(|port| port == at);
        match self {
            Self::All => true,
            Self::Net(net) => ip.is_some_and(|ip| net.contains(&ip)),
            Self::Address(address, port) => ip == Some(*address) && is_at(port),
            Self::Domain { suffix, itself, port } => {
                (host.ends_with(suffix.as_str()) || (*itself && host == &suffix[1..])) && is_at(port)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trusting_nobody;
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        let find = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Environment::read(find, &trusting_nobody())
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let environment =
            read(&[("HTTP_PROXY", ""), ("http_proxy", "plain.test:81"), ("HTTPS_PROXY", "https://tls.test")]);
        let host = |is_https| {
            let proxy = environment.proxy_for(is_https, "a.test", 443)?;
            Some((proxy.host().to_owned(), proxy.port()))
        };
        assert_eq!(host(false), Some(("plain.test".into(), 81)));
        assert_eq!(host(true), Some(("tls.test".into(), 443)));
        assert!(read(&[]).proxy_for(true, "a.test", 443).is_none());
        assert!(read(&[("HTTPS_PROXY", "ftp://a.test")]).proxy_for(true, "a.test", 443).is_none());
    }

    #[test]
    fn some_are_asked_directly() {
        let direct = |exceptions: &str, host: &str| {
            let environment = read(&[("HTTPS_PROXY", "p.test"), ("NO_PROXY", exceptions)]);
            environment.proxy_for(true, host, 8443).is_none()
        };
        for host in ["localhost", "127.0.0.9", "::1"] {
            assert!(direct("", host), "{host}");
        }
        for (exceptions, host, is_direct) in [
            ("*", "a.test", true),
            ("b.test, a.test", "A.test", true),
            ("a.test", "x.a.test", true),
            ("a.test", "xa.test", false),
            (".a.test", "a.test", false),
            (".a.test", "x.a.test", true),
            ("*.a.test", "x.a.test", true),
            ("*.a.test", "a.test", false),
            ("a.test:8443", "a.test", true),
            ("a.test:443", "a.test", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1:443", "10.0.0.1", false),
            ("2001:db8::1", "2001:db8::1", true),
            ("[2001:db8::1]:8443", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8::2", true),
            (",,:80,", "a.test", false),
        ] {
            assert_eq!(direct(exceptions, host), is_direct, "{exceptions}: {host}");
        }
    }
}
