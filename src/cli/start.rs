//! `start`: serve in the background.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::{Child, Command as ChildCommand};

use super::flags::{EnvFiles, Source};
use super::{Command, Failure, failure, print};

/// The flags of `start`.
#[derive(clap::Args)]
pub(super) struct Start {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    env: EnvFiles,
    /// Reload the file whenever it changes
    #[arg(long, short)]
    watch: bool,
    /// File to write the process ID to
    #[arg(long, value_name = "file")]
    pidfile: Option<PathBuf>,
}

/// So many random bytes the process in the background has to give back, so that nobody else can claim
/// to be it.
pub(super) const CONFIRMATION_BYTES: usize = 32;

/// Whoever connects has this long to give them.
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(5);

impl Command for Start {
    const NAME: &'static str = "start";
    const ABOUT: &'static str = "Starts the server in the background and returns";
    const DETAILS: &'static str = "\
Does what `run` does in a process of its own, and returns once that serves or has failed. Use `stop` to end it.";

    fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::io("starting the runtime", error))?;
        runtime.block_on(self.start())
    }
}

impl Start {
    async fn start(&self) -> Result<(), Failure> {
        let mut confirmation = [0; CONFIRMATION_BYTES];
        getrandom::fill(&mut confirmation).map_err(Failure::other)?;
        let listener = listen()
            .await
            .map_err(|error| Failure::io("opening listener for success confirmation", error))?;
        let address = listener
            .local_addr()
            .map_err(|error| Failure::io("opening listener for success confirmation", error))?;
        let mut child =
            self.spawn(&address.to_string()).map_err(|error| Failure::io("starting the process", error))?;
        let id = child.id().unwrap_or_default();
        let written = async {
            match child.stdin.take() {
                Some(mut stdin) => stdin.write_all(&confirmation).await,
                None => Ok(()),
            }
        };
        // A process that has ended already is seen below.
        _ = written.await;
        tokio::select! {
            () = confirmed(&listener, &confirmation) => {
                print(&format!("Successfully started Tollgate (pid={id}); it is running in the background"))
            }
            ended = child.wait() => match ended {
                Ok(status) => Err(Failure::other(format!("the process ended with {status}"))),
                Err(error) => Err(Failure::io("waiting for the process", error)),
            }
        }
    }

    fn spawn(&self, pingback: &str) -> std::io::Result<Child> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        if let Some(name) = std::env::args_os().next() {
            command.arg0(name);
        }
        command.args(["run", "--pingback", pingback]);
        if let Some(config) = &self.source.config {
            command.arg("--config").arg(config);
        }
        if let Some(adapter) = &self.source.adapter {
            command.arg("--adapter").arg(adapter);
        }
        for file in &self.env.files {
            command.arg("--envfile").arg(file);
        }
        if self.watch {
            command.arg("--watch");
        }
        if let Some(pidfile) = &self.pidfile {
            command.arg("--pidfile").arg(pidfile);
        }
        command.stdin(Stdio::piped());
        ChildCommand::from(command).spawn()
    }
}

async fn listen() -> std::io::Result<TcpListener> {
    match TcpListener::bind(("127.0.0.1", 0)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("::1", 0)).await,
    }
}

/// Waits until somebody connects who knows the confirmation.
async fn confirmed(listener: &TcpListener, expected: &[u8; CONFIRMATION_BYTES]) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut given = [0; CONFIRMATION_BYTES];
        let read = tokio::time::timeout(CONFIRMATION_TIMEOUT, stream.read_exact(&mut given)).await;
        if matches!(read, Ok(Ok(_))) && bool::from(given.ct_eq(expected)) {
            return;
        }
        failure::warn("somebody else connected to where the process in the background is awaited");
    }
}
