//! `stop`: end a running instance.

use http::Method;

use super::flags::Source;
use super::{Command, Failure, admin_client};
use crate::app::source;
use crate::modules;

/// The flags of `stop`.
#[derive(clap::Args)]
pub(super) struct Stop {
    #[command(flatten)]
    source: Source,
    /// Address of the admin endpoint, if neither the default nor that of the configuration
    #[arg(long, value_name = "address")]
    address: Option<String>,
}

impl Command for Stop {
    const NAME: &'static str = "stop";
    const ABOUT: &'static str = "Gracefully stops a running instance";
    const DETAILS: &'static str = "\
Tells a running instance to end, and returns once the requests under way are answered. The instance is \
reached at its admin endpoint: that of --address, else of the configuration in --config, else the default.";

    fn run(self) -> Result<(), Failure> {
        let config = match &self.source.config {
            Some(file) if self.address.is_none() => {
                let registry = modules::registry();
                source::load(&registry, Some(file), self.source.adapter.as_deref())?.json
            }
            _ => serde_json::Value::Null,
        };
        let address = admin_client::address(self.address.as_deref(), &config)?;
        admin_client::Request::new(Method::POST, "/stop").send(&address).map(drop)
    }
}
