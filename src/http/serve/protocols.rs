//! Which versions of HTTP are spoken at an address.

use crate::config::http::Server;

/// Versions of HTTP, each on or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/1.
    pub h1: bool,
    /// HTTP/2 over TLS.
    pub h2: bool,
    /// HTTP/2 without TLS.
    pub h2c: bool,
    /// HTTP/3, always over TLS.
    pub h3: bool,
}

/// A protocol that there isn't.
#[derive(Debug, thiserror::Error)]
#[error("protocol '{0}' is unknown")]
pub struct UnknownProtocol(String);

impl Protocols {
    /// Where nothing is said: all but HTTP/2 without TLS.
    const STANDARD: Self = Self { h1: true, h2: true, h2c: false, h3: true };

    /// What a server speaks where its addresses don't say otherwise.
    ///
    /// # Errors
    /// [`UnknownProtocol`].
    pub fn of(server: &Server) -> Result<Self, UnknownProtocol> {
        match &server.protocols[..] {
            [] => Ok(Self::STANDARD),
            names => Self::default().with(names),
        }
    }

    /// What a server speaks at the `nth` address of its `listen`. Among the names of an address an
    /// empty one stands for all that the server speaks.
    ///
    /// # Errors
    /// [`UnknownProtocol`].
    pub fn at(server: &Server, nth: usize) -> Result<Self, UnknownProtocol> {
        let of_server = Self::of(server)?;
        match server.listen_protocols.get(nth) {
            Some(Some(names)) if names.iter().all(|name| !name.is_empty()) && !names.is_empty() => {
                Self::default().with(names)
            }
            Some(Some(names)) => of_server.with(names),
            _ => Ok(of_server),
        }
    }

    fn with(mut self, names: &[String]) -> Result<Self, UnknownProtocol> {
        for name in names {
            match name.as_str() {
                "h1" => self.h1 = true,
                "h2" => self.h2 = true,
                "h2c" => self.h2c = true,
                "h3" => self.h3 = true,
                "" => {}
                unknown => return Err(UnknownProtocol(unknown.to_owned())),
            }
        }
        Ok(self)
    }

    /// Whether any of them is spoken over TCP, with TLS or without.
    pub fn need_tcp(self, has_tls: bool) -> bool {
        self.h1 || (self.h2 && has_tls) || self.h2c
    }
}
