//! `reload`: give a running instance a new configuration.

use http::Method;

use super::flags::Source;
use super::{Command, Failure, admin_client, failure};
use crate::app::admin::{SOURCE_ADAPTER, SOURCE_FILE};
use crate::app::blame;
use crate::app::source::{self, Origin};
use crate::modules;

/// The flags of `reload`.
#[derive(clap::Args)]
pub(super) struct Reload {
    #[command(flatten)]
    source: Source,
    /// Address of the admin endpoint, if not that of the configuration
    #[arg(long, value_name = "address")]
    address: Option<String>,
    /// Reload even if the configuration is the same, as when a certificate's file has changed
    #[arg(long, short)]
    force: bool,
}

impl Command for Reload {
    const NAME: &'static str = "reload";
    const ABOUT: &'static str = "Changes the configuration of a running instance";
    const DETAILS: &'static str = "\
Gives a running instance the configuration (./Caddyfile, if no other file is named). No request is \
refused or cut by that; a configuration that can't run is refused, and the one before goes on.

The instance is reached at its admin endpoint: that of --address, else of the configuration, else the \
default. If the configuration moves the endpoint, --address must say where it is now.";

    fn run(self) -> Result<(), Failure> {
        let registry = modules::registry();
        let loaded = source::load(&registry, self.source.config.as_deref(), self.source.adapter.as_deref())?;
        let origin = loaded.origin.ok_or_else(|| Failure::other("no config file to load"))?;
        failure::warn_of(&loaded.warnings);
        let address = admin_client::address(self.address.as_deref(), &loaded.json)?;
        let mut request = admin_client::Request::new(Method::POST, "/load")
            .json(&loaded.json)
            .header(SOURCE_FILE, &origin.file.to_string_lossy())
            .header(SOURCE_ADAPTER, &origin.adapter);
        if self.force {
            request = request.header("cache-control", "must-revalidate");
        }
        let refused = match request.send(&address) {
            Err(refused @ Failure::Other(_)) => refused,
            other => return other.map(drop),
        };
        Err(with_place(refused, &origin))
    }
}

/// A refusal by the instance, with its place in the Caddyfile if it can be told.
fn with_place(refused: Failure, origin: &Origin) -> Failure {
    match blame::blame_refusal(&modules::registry(), origin, &refused.to_string()) {
        Some(error) => Failure::Blamed { doing: "", error },
        None => refused,
    }
}
