//! The upstreams of one handler: where they are and whether they may be used.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::hosts::Host;
use super::json::PassiveHealthChecks;
use crate::config::{AddressError, NetworkAddress};
use crate::http::upstream::Dial;
use crate::http::{DialText, Exchange, PerWorker, Template, Unknown};

/// One upstream of a handler.
pub struct Upstream {
    /// Its address as the configuration writes it.
    pub name: Box<str>,
    /// What all handlers know of that address.
    pub host: Arc<Host>,
    /// Where it is.
    pub location: Location,
    /// So many requests at a time; `None` is no limit.
    pub max_requests: Option<usize>,
    /// So many recent failures take it out; `None` if they don't matter.
    pub max_fails: Option<usize>,
    /// What active health checks think of it.
    pub unhealthy: AtomicBool,
}

/// Where an upstream is.
pub enum Location {
    /// Always at the same place, with the text of it that each worker's requests hold on to.
    Fixed(Arc<Target>, PerWorker<DialText>),
    /// At a place that depends on the request.
    PerRequest(Template),
}

/// An address that can be dialled, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// For the transport.
    pub dial: Dial,
    /// For placeholders.
    pub text: Arc<DialText>,
}

/// Why an address can't be dialled.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It is no network address.
    #[error("invalid dial address {address}: {source}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        source: AddressError,
    },
    /// It is a range of ports.
    #[error("dial address must represent precisely one socket: {address} represents {ports}")]
    Range {
        /// What was given.
        address: String,
        /// How many ports it names.
        ports: usize,
    },
    /// Its network is none that upstreams are reached by.
    #[error("unsupported network of dial address {0}")]
    Network(String),
}

/// When an upstream is out of service, as far as the configuration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// So many requests at a time.
    pub max_requests: Option<usize>,
    /// So many recent failures.
    pub max_fails: Option<usize>,
}

impl Limits {
    /// The limits that passive health checks set for all upstreams.
    pub fn of(passive: Option<&PassiveHealthChecks>) -> Self {
        let Some(passive) = passive else { return Self::default() };
        Self {
            max_requests: usize::try_from(passive.unhealthy_request_count).ok().filter(|most| *most > 0),
            max_fails: Some(usize::try_from(passive.max_fails).unwrap_or(0).max(1)),
        }
    }
}

impl Upstream {
    /// The upstream at an address, which may have placeholders.
    ///
    /// # Errors
    /// [`TargetError`], if it has none and is no address.
    pub fn provision(address: &str, limits: Limits) -> Result<Self, TargetError> {
        let template = Template::compile(address, Unknown::Empty);
        let location = match template.constant() {
            Some(address) => Location::fixed(Target::parse(&String::from_utf8_lossy(&address))?),
            None => Location::PerRequest(template),
        };
        Ok(Self {
            name: address.into(),
            host: Host::named(address),
            location,
            max_requests: limits.max_requests,
            max_fails: limits.max_fails,
            unhealthy: AtomicBool::new(false),
        })
    }

    /// The upstream at an address, which has no placeholders.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn fixed(address: &str, limits: Limits) -> Result<Self, TargetError> {
        Ok(Self {
            name: address.into(),
            host: Host::named(address),
            location: Location::fixed(Target::parse(address)?),
            max_requests: limits.max_requests,
            max_fails: limits.max_fails,
            unhealthy: AtomicBool::new(false),
        })
    }

    /// Where it always is, if it is always at the same place.
    pub fn fixed_target(&self) -> Option<&Arc<Target>> {
        match &self.location {
            Location::Fixed(target, _) => Some(target),
            Location::PerRequest(_) => None,
        }
    }

    /// Whether it is up and not full.
    pub fn is_available(&self) -> bool {
        self.is_healthy() && self.max_requests.is_none_or(|most| self.host.in_flight() < most)
    }

    /// Whether neither active nor passive health checks speak against it.
    pub fn is_healthy(&self) -> bool {
        !self.unhealthy.load(Ordering::Relaxed)
            && self.max_fails.is_none_or(|most| self.host.failures() < most)
    }

    /// Where it is for this request.
    ///
    /// # Errors
    /// [`TargetError`], if that depends on the request and leads nowhere.
    pub fn target(&self, x: &Exchange) -> Result<Cow<'_, Target>, TargetError> {
        match &self.location {
            Location::Fixed(target, _) => Ok(Cow::Borrowed(target)),
            Location::PerRequest(template) => {
                let address = template.render(x);
                Target::parse(&String::from_utf8_lossy(&address)).map(Cow::Owned)
            }
        }
    }

    /// How `target`, which is where it is for a request, is written: for the request to keep.
    pub fn text(&self, target: &Target) -> Arc<DialText> {
        match &self.location {
            Location::Fixed(_, texts) => Arc::clone(texts.own(|| DialText::clone(&target.text))),
            Location::PerRequest(_) => Arc::clone(&target.text),
        }
    }
}

impl Location {
    /// A place that stays the same.
    pub fn fixed(target: Target) -> Self {
        Self::Fixed(Arc::new(target), PerWorker::default())
    }
}

impl Target {
    /// Reads a network address of one socket.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn parse(address: &str) -> Result<Self, TargetError> {
        let parsed: NetworkAddress =
            address.parse().map_err(|source| TargetError::Address { address: address.to_owned(), source })?;
        if parsed.port_count() != 1 {
            return Err(TargetError::Range { address: address.to_owned(), ports: parsed.port_count() });
        }
        let hostport = parsed.join_host_port();
        let text = DialText {
            address: format!("{}/{hostport}", parsed.network),
            hostport,
            host: parsed.host.clone(),
            port: parsed.start_port.to_string(),
        };
        let dial = match &*parsed.network {
            "tcp" | "tcp4" | "tcp6" => {
                // No host means this machine, as for Go's dialer.
                let host = if parsed.host.is_empty() { "localhost" } else { &parsed.host };
                Dial::Tcp { host: host.into(), port: parsed.start_port }
            }
            "unix" => {
                let (path, _) = parsed
                    .unix_path()
                    .map_err(|source| TargetError::Address { address: address.to_owned(), source })?;
                Dial::Unix(Path::new(path).into())
            }
            _ => return Err(TargetError::Network(address.to_owned())),
        };
        Ok(Self { dial, text: Arc::new(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_all_their_forms() {
        let target = Target::parse("localhost:8080").unwrap();
        assert_eq!(target.dial, Dial::Tcp { host: "localhost".into(), port: 8080 });
        assert_eq!(target.text.address, "tcp/localhost:8080");
        assert_eq!(target.text.hostport, "localhost:8080");
        let target = Target::parse("[::1]:1").unwrap();
        assert_eq!(target.dial, Dial::Tcp { host: "::1".into(), port: 1 });
        assert_eq!((&*target.text.hostport, &*target.text.host, &*target.text.port), ("[::1]:1", "::1", "1"));
        let target = Target::parse("unix//run/x.sock").unwrap();
        assert_eq!(target.dial, Dial::Unix(Path::new("/run/x.sock").into()));
        assert_eq!(target.text.address, "unix//run/x.sock");
        assert_eq!(Target::parse(":9000").unwrap().dial, Dial::Tcp { host: "localhost".into(), port: 9000 });
    }

    #[test]
    fn what_is_not_one_socket_is_refused() {
        for (address, says) in
            [("a:1-3", "represents 3"), ("a:x", "invalid start port"), ("udp/a:1", "unsupported network")]
        {
            let error = Target::parse(address).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
