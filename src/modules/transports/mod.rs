//! Transports: how requests travel to upstreams (`transport NAME { ... }` of `reverse_proxy`).

pub mod fastcgi;
pub mod http;

use crate::config::ModuleJson;
use crate::http::upstream::Dial;
use crate::http::{Provision, ProvisionError};
use crate::module::Module;

use fastcgi::FastCgiTransport;
use http::{HttpTransport, Permit, Transports};

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&fastcgi::MODULE, &http::MODULE];

/// Caddy's namespace of transports.
pub const NAMESPACE: &str = "http.reverse_proxy.transport";

/// The way of a proxy to its upstreams.
pub enum AnyTransport {
    /// HTTP of some version.
    Http(Box<Transports>),
    /// FastCGI.
    FastCgi(Box<FastCgiTransport>),
}

impl AnyTransport {
    /// Makes ready the transport that stands under `tag`; HTTP if there is none.
    ///
    /// # Errors
    /// There is no such transport, or its own complaint.
    pub fn provision(
        json: Option<&ModuleJson>,
        tag: &'static str,
        ctx: &mut Provision<'_>,
    ) -> Result<Self, ProvisionError> {
        let Some(json) = json else {
            let transports = Transports::provision(&HttpTransport::default(), ctx)?;
            return Ok(Self::Http(Box::new(transports)));
        };
        match json.name(tag)? {
            http::NAME => Ok(Self::Http(Box::new(Transports::provision(&json.decode(tag)?, ctx)?))),
            fastcgi::NAME => {
                Ok(Self::FastCgi(Box::new(FastCgiTransport::provision(&json.decode(tag)?, ctx)?)))
            }
            name => Err(ProvisionError::Unknown { namespace: NAMESPACE, name: name.to_owned() }),
        }
    }

    /// Whether requests travel by TLS, so that `Host` has to be the upstream's own.
    pub fn uses_tls(&self) -> bool {
        matches!(self, Self::Http(transports) if transports.uses_tls())
    }

    /// Whether a request's body can only be sent if its length is known.
    pub fn needs_length(&self) -> bool {
        matches!(self, Self::FastCgi(_))
    }

    /// Waits for the right to a connection, if their number is limited.
    pub async fn permit(&self, dial: &Dial) -> Option<Permit> {
        match self {
            Self::Http(transports) => transports.permit(dial).await,
            Self::FastCgi(_) => None,
        }
    }
}
