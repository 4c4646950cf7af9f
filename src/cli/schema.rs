//! `schema`.

use super::{Command, Failure, list_modules, print};
use crate::config::schema;
use crate::modules;

/// `schema` has no flags.
#[derive(clap::Args)]
pub(super) struct Schema {}

impl Command for Schema {
    const NAME: &'static str = "schema";
    const ABOUT: &'static str = "Prints a JSON Schema of the configuration";
    const DETAILS: &'static str = "\
Prints a JSON Schema (draft 2020-12) of Caddy's JSON as this build reads it, with the modules that it runs. \
An editor that is given the schema checks and completes such a file.";

    fn run(self) -> Result<(), Failure> {
        let schema = schema::of_config(&list_modules::all(), &modules::registry().schemas());
        print(&serde_json::to_string_pretty(&schema).map_err(Failure::other)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_says_what_can_be_said_of_it() {
        let registry = modules::registry();
        assert_eq!(schema::open_modules(&list_modules::all(), &registry.schemas()), [""; 0]);
    }
}
