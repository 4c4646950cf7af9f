//! `version`.

use super::{Command, Failure, print};

/// `version` has no flags.
#[derive(clap::Args)]
pub(super) struct Version {}

impl Command for Version {
    const NAME: &'static str = "version";
    const ABOUT: &'static str = "Prints the version";

    fn run(self) -> Result<(), Failure> {
        print(&line())
    }
}

/// The version in one line. Its first word is the bare number, which scripts cut out.
pub(super) fn line() -> String {
    format!("v{} Tollgate", env!("CARGO_PKG_VERSION"))
}
