//! Why a command failed, how that is shown, and which exit code it has.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ContextKind;

use super::admin_client::AdminError;
use crate::adapt;
use crate::app::adapter::{AdaptError, Warning};
use crate::app::provision::LoadError;
use crate::app::source::{Origin, SourceError};
use crate::app::{ChangeError, blame};
use crate::module::Registry;

/// The exit codes that scripts and service managers know from Caddy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It could not start, or the command failed; a service manager should not try again.
    Failed = 1,
    /// It was told to quit at once, without waiting for requests under way.
    Forced = 2,
    /// It ended, but could not clean up.
    Unclean = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments make no sense; clap's text, without its leading `error:`.
    #[error("{0}")]
    Usage(String),
    /// A command that does not exist.
    #[error("unknown command `{word}`{}; `--help` lists them all", near.map_or_else(String::new, |near| format!(", did you mean `{near}`?")))]
    UnknownCommand {
        /// What was typed.
        word: String,
        /// The command that is nearest, if one is near.
        near: Option<&'static str>,
    },
    /// A file or a stream.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// An environment file.
    #[error("loading additional environment variables: {}: {source}", path.display())]
    EnvFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: super::env_file::EnvFileError,
    },
    /// The configuration can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The configuration can't run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The first configuration can't run.
    #[error("loading initial config: {0}")]
    Initial(ChangeError),
    /// The configuration can't run, and it is known where in its Caddyfile the reason stands.
    #[error("{doing}{error}")]
    Blamed {
        /// What was being done, with a colon behind it; or nothing.
        doing: &'static str,
        /// What is wrong, and where.
        error: adapt::Error,
    },
    /// A running instance can't be talked to.
    #[error("{doing}: {source}")]
    Admin {
        /// The request.
        doing: String,
        /// Why there was no answer.
        source: AdminError,
    },
    /// It ended with this code, for a reason that is known.
    #[error("exiting with status {}", *.0 as u8)]
    Quit(Exit),
    /// Anything that a sentence says.
    #[error("{0}")]
    Other(String),
}

impl From<AdaptError> for Failure {
    fn from(error: AdaptError) -> Self {
        Self::Source(error.into())
    }
}

impl Failure {
    /// The same failure, with its place in the Caddyfile that the configuration came from if that can be found.
    pub(super) fn blamed(self, registry: &Registry, origin: Option<&Origin>) -> Self {
        let (doing, error) = match &self {
            Self::Load(error) => ("", error),
            Self::Initial(ChangeError::Load(error)) => {
                ("loading initial config: loading new config: ", error)
            }
            _ => return self,
        };
        match origin.and_then(|origin| blame::blame(registry, origin, error)) {
            Some(error) => Self::Blamed { doing, error },
            None => self,
        }
    }

    /// The arguments make no sense.
    pub(super) fn usage(mut error: clap::Error) -> Self {
        // Clap would suggest `-- --flag`, which no command has a use for.
        _ = error.remove(ContextKind::Suggested);
        let text = error.render();
        let text = if io::stderr().is_terminal() { text.ansi().to_string() } else { text.to_string() };
        let plain = text.strip_prefix("error: ").unwrap_or(&text);
        Self::Usage(plain.trim_end().to_owned())
    }

    /// A file or a stream could not be used.
    pub(super) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }

    /// Anything that a sentence says.
    pub(super) fn other(message: impl fmt::Display) -> Self {
        Self::Other(message.to_string())
    }

    /// Says on stderr what went wrong; of a Caddyfile it shows the spot.
    pub(super) fn report(&self) -> ExitCode {
        match self {
            Self::Source(SourceError::Adapt(AdaptError::Caddyfile(error))) | Self::Blamed { error, .. } => {
                let color = io::stderr().is_terminal();
                say(&format!("Error: {self}{}", error.excerpt(color)));
                for error in error.further() {
                    say(&format!("\nError: {error}{}", error.excerpt(color)));
                }
                if error.more() > 0 {
                    say(&format!("\nand {} more", error.more()));
                }
            }
            Self::Quit(exit) => return (*exit).into(),
            _ => say(&format!("Error: {self}")),
        }
        Exit::Failed.into()
    }
}

/// Shows an adapter's warnings on stderr.
pub(super) fn warn_of(warnings: &[Warning]) {
    for Warning { file, line, message } in warnings {
        if file.is_empty() { warn(message) } else { warn(&format!("{file}:{line}: {message}")) }
    }
}

/// Warns on stderr.
pub(super) fn warn(message: &str) {
    say(&format!("Warning: {message}"));
}

/// Writes a line to stderr; that there is nobody to read it is no reason to fail.
fn say(line: &str) {
    use io::Write as _;
    _ = writeln!(io::stderr(), "{line}");
}
