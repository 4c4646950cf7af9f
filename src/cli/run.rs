//! `run`: serve until told to stop.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::flags::{EnvFiles, Source};
use super::{Command, Exit, Failure, env_file, environ, process};
use crate::app::adapter::Warning;
use crate::app::control::{self, Ending, Signals};
use crate::app::source::{self, Origin};
use crate::config::dirs;
use crate::module::Registry;
use crate::tls::TrustStore;

/// The flags of `run`.
#[derive(clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    env: EnvFiles,
    /// Print the environment
    #[arg(long, short)]
    environ: bool,
    /// Use the saved configuration, if there is one, rather than the file
    #[arg(long, short)]
    resume: bool,
    /// Reload the file whenever it changes
    #[arg(long, short)]
    watch: bool,
    /// File to write the process ID to
    #[arg(long, value_name = "file")]
    pidfile: Option<PathBuf>,
    /// Address to echo stdin to once it serves
    #[arg(long, value_name = "address")]
    pingback: Option<String>,
}

impl Command for Run {
    const NAME: &'static str = "run";
    const ABOUT: &'static str = "Starts the server and stays in the foreground";
    const DETAILS: &'static str = "\
Serves a configuration (./Caddyfile, if no other file is named) until it is told to stop. Without any \
configuration it waits for one at its admin endpoint.

SIGTERM and SIGINT end it once the requests under way are answered; a second SIGINT, or SIGQUIT, ends it at \
once. SIGUSR1 reloads the file.

--watch is for development: a file that is half edited is loaded as well.";

    fn run(self) -> Result<(), Failure> {
        env_file::load(&self.env)?;
        if self.environ {
            environ::print()?;
        }
        process::run(async |registry| self.serve(registry).await)
    }
}

impl Run {
    async fn serve(&self, registry: &'static Registry) -> Result<(), Failure> {
        let mut signals = process::signals()?;
        let (config, origin) = self.configuration(registry)?;
        let pidfile = self.pidfile.as_deref().and_then(Pidfile::write);
        let ending = self.serve_until_told(registry, config, origin, &mut signals).await;
        let removed = pidfile.map_or(Ok(()), Pidfile::remove);
        let ended = process::ended(ending?);
        if let Err(error) = removed {
            tracing::error!(target: "", %error, "cleaning up PID file");
            return ended.and(Err(Failure::Quit(Exit::Unclean)));
        }
        ended
    }

    async fn serve_until_told(
        &self,
        registry: &'static Registry,
        config: Value,
        origin: Option<Origin>,
        signals: &mut Signals,
    ) -> Result<Ending, Failure> {
        let instance = process::instance(registry)?;
        instance.install_roots_in(TrustStore::of_system());
        instance.set_origin(origin.clone());
        let watched = origin.clone().filter(|_| self.watch).map(|origin| (origin, config.clone()));
        let loaded = instance.load(config, true).await;
        loaded.map_err(|error| Failure::Initial(error).blamed(registry, origin.as_ref()))?;
        tracing::info!(target: "", "serving initial configuration");
        if let Some(address) = &self.pingback {
            ping_back(address)?;
        }
        if let Some((origin, config)) = watched {
            tokio::spawn(control::watch(instance.clone(), origin, config));
        }
        if dirs::are_unknown() {
            tracing::warn!(target: "", "$HOME environment variable is empty; some assets might be stored in ./caddy");
        }
        Ok(control::run(&instance, signals).await)
    }

    /// The configuration to begin with, and the file that it came from.
    fn configuration(&self, registry: &Registry) -> Result<(Value, Option<Origin>), Failure> {
        if self.resume
            && let Some(saved) = self.saved()?
        {
            return Ok((saved, None));
        }
        let loaded = source::load(registry, self.source.config.as_deref(), self.source.adapter.as_deref())?;
        if let Some(Origin { file, adapter }) = &loaded.origin {
            tracing::info!(target: "", file = %file.display(), adapter, "using config from file");
        }
        for Warning { file, line, message } in &loaded.warnings {
            tracing::warn!(target: "", file, line, "{message}");
        }
        Ok((loaded.json, loaded.origin))
    }

    /// The saved configuration, if there is one.
    fn saved(&self) -> Result<Option<Value>, Failure> {
        let path = dirs::autosave();
        let autosave_file = path.display();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                tracing::info!(target: "", %autosave_file, "no autosave file exists");
                return Ok(None);
            }
            Err(error) => return Err(Failure::io(format!("reading {autosave_file}"), error)),
        };
        if self.source.config.is_some() {
            tracing::warn!(
                target: "", %autosave_file,
                "--config and --resume were used together; ignoring --config and resuming from last configuration"
            );
        } else {
            tracing::info!(target: "", %autosave_file, "resuming from last configuration");
        }
        source::parse_json(&text)
            .map(Some)
            .map_err(|error| Failure::other(format!("{autosave_file} is not valid JSON: {error}")))
    }
}

/// Tells the process that started us that we serve, by giving back what it wrote to our stdin.
fn ping_back(address: &str) -> Result<(), Failure> {
    let mut confirmation = Vec::new();
    std::io::stdin()
        .lock()
        .take(super::start::CONFIRMATION_BYTES as u64)
        .read_to_end(&mut confirmation)
        .map_err(|error| Failure::io("reading confirmation bytes from stdin", error))?;
    TcpStream::connect(address)
        .and_then(|mut stream| stream.write_all(&confirmation))
        .map_err(|error| Failure::io(format!("writing confirmation bytes to {address}"), error))
}

/// A file that holds our process ID.
struct Pidfile<'a>(&'a Path);

impl<'a> Pidfile<'a> {
    /// Writes it. That it can't be written keeps nobody from serving.
    fn write(path: &'a Path) -> Option<Self> {
        if path.as_os_str().is_empty() {
            return None;
        }
        match std::fs::write(path, format!("{}\n", std::process::id())) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                tracing::error!(target: "", pidfile = %path.display(), %error, "unable to write PID file");
                None
            }
        }
    }

    fn remove(self) -> std::io::Result<()> {
        std::fs::remove_file(self.0)
    }
}
