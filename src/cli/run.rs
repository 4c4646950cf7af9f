//! `run`: serve until told to stop.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::flags::{EnvFiles, Source};
use super::{Command, Exit, Failure, env_file, environ};
use crate::app::control::{self, Ending, Signals};
use crate::app::source::{self, Origin};
use crate::app::{Instance, adapter::Warning};
use crate::config::dirs;
use crate::http::Engine;
use crate::log;
use crate::module::Registry;
use crate::modules;

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

/// So long the last lines may take to be written.
const LOG_FLUSH_MAX: Duration = Duration::from_secs(1);

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
        log::install();
        log::hold();
        let registry: &'static Registry = Box::leak(Box::new(modules::registry()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::io("starting the runtime", error))?;
        let ended = runtime.block_on(self.serve(registry));
        // Work that is still going on, on threads for blocking work, is of no use any more.
        runtime.shutdown_background();
        // What was held back, if no configuration ever said where it is to go.
        log::release();
        log::flush(LOG_FLUSH_MAX);
        ended
    }
}

impl Run {
    async fn serve(&self, registry: &'static Registry) -> Result<(), Failure> {
        let mut signals = Signals::catch().map_err(|error| Failure::io("catching signals", error))?;
        let (config, origin) = self.configuration(registry)?;
        let pidfile = self.pidfile.as_deref().and_then(Pidfile::write);
        let ending = self.serve_until_told(registry, config, origin, &mut signals).await;
        let removed = pidfile.map_or(Ok(()), Pidfile::remove);
        if ending? == Ending::Forced {
            return Err(Failure::Quit(Exit::Forced));
        }
        if let Err(error) = removed {
            tracing::error!(target: "", %error, "cleaning up PID file");
            return Err(Failure::Quit(Exit::Unclean));
        }
        tracing::info!(target: "", exit_code = 0, "shutdown complete");
        Ok(())
    }

    async fn serve_until_told(
        &self,
        registry: &'static Registry,
        config: Value,
        origin: Option<Origin>,
        signals: &mut Signals,
    ) -> Result<Ending, Failure> {
        let workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let engine = Engine::start(workers).map_err(|error| Failure::io("starting the workers", error))?;
        let instance = Instance::new(registry, engine);
        instance.set_origin(origin.clone());
        let watched = origin.filter(|_| self.watch).map(|origin| (origin, config.clone()));
        instance.load(config, true).await.map_err(Failure::Initial)?;
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
