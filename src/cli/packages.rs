//! `add-package`, `remove-package`, `upgrade`: commands of Caddy's that fetch another binary, which this one doesn't do.

use super::{Command, Failure};

/// Why not.
fn refuse(doing: &str) -> Result<(), Failure> {
    Err(Failure::other(format!(
        "{doing} is not possible: everything there is is part of this program, and it never replaces itself; \
         `list-modules` lists what there is, and a newer version is installed as this one was"
    )))
}

/// The arguments of `add-package`.
#[derive(clap::Args)]
pub(super) struct AddPackage {
    /// The packages
    #[arg(value_name = "package")]
    packages: Vec<String>,
    /// Keep the binary of before
    #[arg(long, short)]
    keep_backup: bool,
}

impl Command for AddPackage {
    const NAME: &'static str = "add-package";
    const ABOUT: &'static str = "Refused: modules can't be added";

    fn run(self) -> Result<(), Failure> {
        if self.packages.is_empty() {
            return Err(Failure::other("at least one package name must be specified"));
        }
        refuse(&format!("adding {}", self.packages.join(", ")))
    }
}

/// The arguments of `remove-package`.
#[derive(clap::Args)]
pub(super) struct RemovePackage {
    /// The packages
    #[arg(value_name = "package")]
    packages: Vec<String>,
    /// Keep the binary of before
    #[arg(long, short)]
    keep_backup: bool,
}

impl Command for RemovePackage {
    const NAME: &'static str = "remove-package";
    const ABOUT: &'static str = "Refused: modules can't be removed";

    fn run(self) -> Result<(), Failure> {
        if self.packages.is_empty() {
            return Err(Failure::other("at least one package name must be specified"));
        }
        refuse(&format!("removing {}", self.packages.join(", ")))
    }
}

/// The flags of `upgrade`.
#[derive(clap::Args)]
pub(super) struct Upgrade {
    /// Keep the binary of before
    #[arg(long, short)]
    keep_backup: bool,
}

impl Command for Upgrade {
    const NAME: &'static str = "upgrade";
    const ABOUT: &'static str = "Refused: the program doesn't replace itself";

    fn run(self) -> Result<(), Failure> {
        refuse("upgrading")
    }
}
