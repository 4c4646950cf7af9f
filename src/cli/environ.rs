//! `environ`: what this process sees of its surroundings.

use super::flags::EnvFiles;
use super::{Command, Failure, env_file, version, write_out};
use crate::config::dirs;

/// The flags of `environ`.
#[derive(clap::Args)]
pub(super) struct Environ {
    #[command(flatten)]
    env: EnvFiles,
}

impl Command for Environ {
    const NAME: &'static str = "environ";
    const ABOUT: &'static str = "Prints the environment";
    const DETAILS: &'static str = "\
Prints where data and configuration are kept, then the environment variables, as this process sees them.

Under a service manager they are often not those of your shell, so run this where the server runs. The \
environment may hold secrets.";

    fn run(self) -> Result<(), Failure> {
        env_file::load(&self.env)?;
        print()
    }
}

/// Prints the environment; `run --environ` does the same. The names are Caddy's, for scripts.
pub(super) fn print() -> Result<(), Failure> {
    let directory = match std::env::current_dir() {
        Ok(directory) => directory.display().to_string(),
        Err(error) => format!("<error: {error}>"),
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut out = format!(
        "caddy.HomeDir={}\ncaddy.AppDataDir={}\ncaddy.AppConfigDir={}\ncaddy.ConfigAutosavePath={}\n\
         caddy.Version={}\nruntime.GOOS={}\nruntime.GOARCH={}\nruntime.NumCPU={processors}\nos.Getwd={directory}\n\n",
        dirs::home().display(),
        dirs::data().display(),
        dirs::config().display(),
        dirs::autosave().display(),
        version::line(),
        std::env::consts::OS,
        go_architecture(),
    )
    .into_bytes();
    for (name, value) in std::env::vars_os() {
        out.extend_from_slice(name.as_encoded_bytes());
        out.push(b'=');
        out.extend_from_slice(value.as_encoded_bytes());
        out.push(b'\n');
    }
    write_out(&out)
}

/// The processor's architecture by the name that scripts expect here.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
