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

/// What no file of [`modules`] has a row for: apps, the admin endpoint, and parts of apps that are always
/// there.
const BUILT_IN: &[&str] = &[
    "admin.api.load",
    "admin.api.pki",
    "admin.api.reverse_proxy",
    "caddy.adapters.caddyfile",
    "http",
    "http.authentication.hashes.argon2id",
    "http.authentication.hashes.bcrypt",
    "http.authentication.providers.http_basic",
    "pki",
    "tls",
    "tls.certificates.automate",
    "tls.certificates.load_files",
    "tls.certificates.load_folders",
    "tls.certificates.load_pem",
    "tls.certificates.load_storage",
    "tls.handshake_match.local_ip",
    "tls.handshake_match.remote_ip",
    "tls.handshake_match.sni",
    "tls.handshake_match.sni_regexp",
    "tls.stek.distributed",
    "tls.stek.standard",
];

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
        let ids = if self.skip_standard { Vec::new() } else { all() };
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

/// The full names of all modules, sorted.
pub(super) fn all() -> Vec<String> {
    let mut ids = modules::registry().ids();
    ids.extend(BUILT_IN.iter().map(ToString::to_string));
    ids.sort_unstable();
    ids
}

fn as_json(ids: &[String]) -> Result<String, Failure> {
    let rows: Vec<Row<'_>> = ids
        .iter()
        .map(|id| Row { module_name: id, module_type: "standard", version: VERSION, package_url: PACKAGE })
        .collect();
    serde_json::to_string_pretty(&rows).map_err(Failure::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_has_no_row_too() {
        let ids = modules::registry().ids();
        for id in BUILT_IN {
            assert!(ids.binary_search(&id.to_string()).is_err(), "{id} is listed twice");
        }
        assert!(BUILT_IN.is_sorted());
    }

    #[test]
    fn what_only_can_be_written_is_not_listed() {
        let ids = modules::registry().ids();
        assert!(ids.binary_search(&"http.reverse_proxy.upstreams.srv".to_owned()).is_ok());
        assert!(ids.binary_search(&"http.handlers.timeouts".to_owned()).is_err());
    }
}
