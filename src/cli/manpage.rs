//! `manpage`: pages for `man`, one for each command.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Command, Failure, program_name, root};

/// The section of the manual for commands of administrators.
const SECTION: &str = "8";

/// The flags of `manpage`.
#[derive(clap::Args)]
pub(super) struct Manpage {
    /// The directory where the pages are written; it is made if it is not there
    #[arg(long, short = 'o', value_name = "path")]
    directory: Option<PathBuf>,
}

impl Command for Manpage {
    const NAME: &'static str = "manpage";
    const ABOUT: &'static str = "Generates the manual pages";
    const DETAILS: &'static str = "\
Writes a page of the manual for each command, in section 8. To read one: man -l DIRECTORY/tollgate-run.8";

    fn run(self) -> Result<(), Failure> {
        let directory = self.directory.filter(|directory| !directory.as_os_str().is_empty());
        let directory = directory.ok_or_else(|| Failure::other("--directory is required"))?;
        fs::create_dir_all(&directory)
            .map_err(|error| Failure::io(format!("making {}", directory.display()), error))?;
        let args: Vec<_> = std::env::args_os().take(1).collect();
        let name = program_name(&args);
        let mut command = root(name.clone());
        command.build();
        write(&directory, &name, command)
    }
}

/// Writes the page of a command, and those of the commands below it.
fn write(directory: &Path, name: &str, command: clap::Command) -> Result<(), Failure> {
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        write(directory, &format!("{name}-{}", inner.get_name()), inner.clone())?;
    }
    let file = directory.join(format!("{name}.{SECTION}"));
    let writing = |error| Failure::io(format!("writing {}", file.display()), error);
    // clap wants names to last as long as the program; there are few, and it ends soon.
    let leaked: &'static str = String::leak(name.to_owned());
    let mut page = Vec::new();
    let page_of = clap_mangen::Man::new(command.name(leaked)).section(SECTION).title(name.to_uppercase());
    page_of.render(&mut page).map_err(writing)?;
    fs::write(&file, page).map_err(writing)
}
