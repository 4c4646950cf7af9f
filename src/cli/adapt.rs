//! `adapt`: a Caddyfile as the JSON that it means.

use std::path::{Path, PathBuf};

use super::flags::EnvFiles;
use super::{Command, Failure, env_file, explain, failure, print, validate};
use crate::app::source::Origin;
use crate::app::{adapter, source};
use crate::config::{to_go_json, to_go_json_pretty};
use crate::modules;

/// The flags of `adapt`.
#[derive(clap::Args)]
pub(super) struct Adapt {
    /// Configuration file to adapt; - is stdin
    #[arg(long, short, value_name = "path")]
    config: Option<PathBuf>,
    /// Name of the config adapter
    #[arg(long, short, value_name = "name", default_value = adapter::CADDYFILE)]
    adapter: String,
    /// Indent the output for people to read
    #[arg(long, short)]
    pretty: bool,
    /// Validate the output
    #[arg(long)]
    validate: bool,
    /// Show which site answers which address, and in which order its routes are tried, instead of the JSON
    #[arg(long, conflicts_with = "pretty")]
    explain: bool,
    #[command(flatten)]
    env: EnvFiles,
}

impl Command for Adapt {
    const NAME: &'static str = "adapt";
    const ABOUT: &'static str = "Adapts a configuration to Caddy's native JSON";
    const DETAILS: &'static str = "\
Prints the JSON that a Caddyfile (./Caddyfile, if no other is named) means; warnings go to stderr.

With --explain it prints a routing table for people instead: the addresses, the sites behind them in the order in \
which they are tried, and their routes in the order in which they run, each with the line that it came from.

With --validate the result is also checked as `validate` does it.";

    fn run(self) -> Result<(), Failure> {
        let file = source_or_default(self.config.as_deref())?;
        env_file::load(&self.env)?;
        let registry = modules::registry();
        adapter::check_name(&self.adapter)?;
        let text =
            source::read(file).map_err(|error| Failure::io(format!("reading {}", file.display()), error))?;
        let (adapted, outline) =
            adapter::explain(&registry, &self.adapter, &file.to_string_lossy(), &text, self.explain)?;
        match outline {
            Some(outline) => print(&explain::table(&outline))?,
            None => {
                let to_text = if self.pretty { to_go_json_pretty } else { to_go_json };
                print(&to_text(&adapted.json).map_err(Failure::other)?)?;
            }
        }
        failure::warn_of(&adapted.warnings);
        if !self.validate {
            return Ok(());
        }
        let origin = Origin { file: file.to_owned(), adapter: self.adapter };
        validate::check(&adapted.json, Some(&origin))
    }
}

/// The file that was named, or the Caddyfile of the working directory, which must then be there.
pub(super) fn source_or_default(file: Option<&Path>) -> Result<&Path, Failure> {
    let default = Path::new(source::DEFAULT_FILE);
    match file.filter(|file| !file.as_os_str().is_empty()) {
        Some(file) => Ok(file),
        None if default.exists() => Ok(default),
        None => {
            Err(Failure::other("there is no Caddyfile in the working directory: name a file with --config"))
        }
    }
}
