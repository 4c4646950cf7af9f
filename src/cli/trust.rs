//! `trust`: make the system trust the root of an authority.

use http::Method;
use http::uri::PathAndQuery;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use super::flags::Source;
use super::{Command, Failure, admin_client};
use crate::app::source;
use crate::config::pki::DEFAULT_CA;
use crate::modules;
use crate::tls::TrustStore;

/// The flags by which a running instance's authority is found.
#[derive(clap::Args)]
pub(super) struct Authority {
    /// The ID of the authority (default: local)
    #[arg(long, value_name = "id")]
    ca: Option<String>,
    /// Address of the admin endpoint, if neither the default nor that of the configuration
    #[arg(long, value_name = "address")]
    address: Option<String>,
    #[command(flatten)]
    source: Source,
}

/// The flags of `trust`.
#[derive(clap::Args)]
pub(super) struct Trust {
    #[command(flatten)]
    authority: Authority,
}

impl Command for Trust {
    const NAME: &'static str = "trust";
    const ABOUT: &'static str = "Installs an authority's certificate into the system's trust store";
    const DETAILS: &'static str = "\
Makes the system trust the sites whose certificates are issued by an authority of our own (`tls internal`). \
An instance that runs as root does that by itself; for any other, run this command as root.

The root certificate is asked of the running instance at its admin endpoint: that of --address, else of the \
configuration in --config, else the default. Browsers that keep a trust store of their own are not changed.";

    fn run(self) -> Result<(), Failure> {
        let root = self.authority.root()?;
        let is_new = TrustStore::of_system().install(&root).map_err(Failure::other)?;
        let said = if is_new { "certificate installed" } else { "certificate is already installed" };
        eprintln!("{said}");
        Ok(())
    }
}

impl Authority {
    /// Whether any of the flags is there.
    pub(super) fn is_said(&self) -> bool {
        self.ca.is_some() || self.address.is_some() || self.source.config.is_some()
    }

    /// The root's certificate, asked of the running instance.
    pub(super) fn root(&self) -> Result<CertificateDer<'static>, Failure> {
        let config = match &self.source.config {
            Some(file) if self.address.is_none() => {
                let registry = modules::registry();
                source::load(&registry, Some(file), self.source.adapter.as_deref())?.json
            }
            _ => Value::Null,
        };
        let address = admin_client::address(self.address.as_deref(), &config)?;
        let id = utf8_percent_encode(self.ca.as_deref().unwrap_or(DEFAULT_CA), NON_ALPHANUMERIC);
        let path: PathAndQuery = format!("/pki/ca/{id}").parse().map_err(Failure::other)?;
        let answer = admin_client::Request::to(Method::GET, path).send(&address)?;
        let info: Value = serde_json::from_slice(&answer).map_err(Failure::other)?;
        let pem = info["root_certificate"].as_str().unwrap_or_default();
        CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| Failure::other(format!("the answer holds no root certificate: {error:?}")))
    }
}
