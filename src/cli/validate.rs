//! `validate`: whether a configuration could run.

use serde_json::Value;

use super::adapt::source_or_default;
use super::flags::{EnvFiles, Source};
use super::{Command, Failure, env_file, failure, print};
use crate::app::config_tree::without_ids;
use crate::app::source::Origin;
use crate::app::{provision, source};
use crate::modules;

/// The flags of `validate`.
#[derive(clap::Args)]
pub(super) struct Validate {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    env: EnvFiles,
}

impl Command for Validate {
    const NAME: &'static str = "validate";
    const ABOUT: &'static str = "Tests whether a configuration is valid";
    const DETAILS: &'static str = "\
Does all that `run` does to a configuration (./Caddyfile, if no other file is named) short of opening a \
port: reads it, adapts it, loads its certificates, and builds its servers.";

    fn run(self) -> Result<(), Failure> {
        env_file::load(&self.env)?;
        let file = source_or_default(self.source.config.as_deref())?;
        let loaded = source::load(&modules::registry(), Some(file), self.source.adapter.as_deref())?;
        failure::warn_of(&loaded.warnings);
        if loaded.json.is_null() {
            // `run` starts with none; whoever asks whether one is valid has lost it.
            return Err(Failure::other(format!("decoding config: EOF: {} is empty", file.display())));
        }
        check(&loaded.json, loaded.origin.as_ref())?;
        print("Valid configuration")
    }
}

/// Provisions a configuration, and lets go of it. What is wrong is shown in the file that it came from.
pub(super) fn check(json: &Value, origin: Option<&Origin>) -> Result<(), Failure> {
    let registry = modules::registry();
    match provision::provision(without_ids(json), &registry) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::from(error).blamed(&registry, origin)),
    }
}
