//! `build-info`.

use super::{Command, Failure, print, version};

/// `build-info` has no flags.
#[derive(clap::Args)]
pub(super) struct BuildInfo {}

impl Command for BuildInfo {
    const NAME: &'static str = "build-info";
    const ABOUT: &'static str = "Prints information about this build";

    fn run(self) -> Result<(), Failure> {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        print(&format!(
            "version\t{}\nminimum rustc\t{}\ntarget\t{}-{}\nprofile\t{profile}",
            version::line(),
            env!("CARGO_PKG_RUST_VERSION"),
            std::env::consts::ARCH,
            std::env::consts::OS,
        ))
    }
}
