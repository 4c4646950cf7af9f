//! `list-modules`.

use serde::Serialize;

use super::{Command, Failure, print};
use crate::modules;

/// The flags of `list-modules`.
#[derive(clap::Args)]
pub(super) struct ListModules {
    /// Print package paths
    #[arg(long)]
    packages: bool,
    /// Print version information
    #[arg(long)]
    versions: bool,
    /// Skip the modules that Caddy has as standard
    #[arg(long, short)]
    skip_standard: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

const PACKAGE: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// A module in the JSON form of the list.
#[derive(Serialize)]
struct Row<'a> {
    module_name: &'a str,
    module_type: &'static str,
    version: &'static str,
    package_url: &'static str,
}

impl Command for ListModules {
    const NAME: &'static str = "list-modules";
    const ABOUT: &'static str = "Lists the modules that a configuration can use";

    fn run(self) -> Result<(), Failure> {
        // All of them are Caddy's standard ones: none is left when those are skipped.
        let ids = if self.skip_standard { Vec::new() } else { modules::registry().ids() };
        if self.json {
            return print(&as_json(&ids)?);
        }
        if self.skip_standard {
            return Ok(());
        }
        let mut out = String::new();
        for id in &ids {
            out.push_str(id);
            if self.versions {
                out.push_str(&format!(" {VERSION}"));
            }
            if self.packages {
                out.push_str(&format!(" {PACKAGE}"));
            }
            out.push('\n');
        }
        print(&format!("{out}\n  Standard modules: {}", ids.len()))
    }
}

fn as_json(ids: &[String]) -> Result<String, Failure> {
    let rows: Vec<Row<'_>> = ids
        .iter()
        .map(|id| Row { module_name: id, module_type: "standard", version: VERSION, package_url: PACKAGE })
        .collect();
    serde_json::to_string_pretty(&rows).map_err(Failure::other)
}
