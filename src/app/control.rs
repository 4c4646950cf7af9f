//! The control loop: signals, the request to quit, and the watched file.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::source::{self, Origin};
use super::{Instance, notify};

/// How often a watched file is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// What was under way has ended.
    Graceful,
    /// Somebody did not want to wait.
    Forced,
}

/// The signals that mean something to us. None is lost from here on.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    /// Takes the signals over from the system's defaults, which would end the process.
    ///
    /// # Errors
    /// The system refuses.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.interrupt.recv() => Caught::Interrupt,
            _ = self.terminate.recv() => Caught::Terminate,
            _ = self.quit.recv() => Caught::Quit,
            _ = self.user1.recv() => Caught::User1,
            _ = self.hangup.recv() => Caught::Other("SIGHUP"),
            _ = self.user2.recv() => Caught::Other("SIGUSR2"),
        }
    }
}

/// A signal that came.
enum Caught {
    Interrupt,
    Terminate,
    Quit,
    User1,
    /// One that Caddy lets pass, too.
    Other(&'static str),
}

/// Runs until the instance has ended: by SIGTERM or SIGINT or through the admin endpoint once the
/// requests under way are done, by SIGQUIT or a second SIGINT at once.
pub async fn run(instance: &Arc<Instance>, signals: &mut Signals) -> Ending {
    let mut stopping: Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = None;
    let mut interrupts = 0_u32;
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            () = instance.told_to_quit(), if stopping.is_none() => {
                stopping = Some(Box::pin(stop(instance)));
                continue;
            }
            () = ended(&mut stopping) => return Ending::Graceful,
        };
        match signal {
            Caught::Interrupt => {
                interrupts += 1;
                if interrupts > 1 {
                    tracing::warn!(target: "", signal = "SIGINT", "force quit");
                    return Ending::Forced;
                }
                tracing::info!(target: "", signal = "SIGINT", "shutting down");
                stopping.get_or_insert_with(|| Box::pin(stop(instance)));
            }
            Caught::Terminate => {
                tracing::info!(target: "", signal = "SIGTERM", "shutting down apps, then terminating");
                stopping.get_or_insert_with(|| Box::pin(stop(instance)));
            }
            Caught::Quit => {
                tracing::info!(target: "", signal = "SIGQUIT", "quitting process immediately");
                return Ending::Forced;
            }
            // Apart, so that other signals are heard meanwhile. Loads wait for each other.
            Caught::User1 => drop(tokio::spawn(reload(instance.clone()))),
            Caught::Other(signal) => tracing::info!(target: "", signal, "not implemented"),
        }
    }
}

async fn stop(instance: &Instance) {
    notify::stopping();
    tracing::warn!(target: "", "exiting");
    instance.stop().await;
}

/// Waits for the end of what may not have begun.
async fn ended(stopping: &mut Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>>) {
    match stopping {
        Some(stopping) => stopping.await,
        None => std::future::pending().await,
    }
}

/// Loads the file that the configuration came from once more.
async fn reload(instance: Arc<Instance>) {
    let signal = "SIGUSR1";
    let Some(origin) = instance.origin() else {
        tracing::info!(target: "", signal, "last config unknown, ignored SIGUSR1");
        return;
    };
    let Origin { file, adapter } = &origin;
    let file = file.display();
    tracing::info!(target: "", signal, %file, adapter, "reloading config from last-known source");
    let loaded = match read(&instance, &origin).await {
        Ok(json) => instance.load(json, true).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match loaded {
        Ok(()) => {
            tracing::info!(target: "", signal, %file, adapter, "successfully reloaded config from file")
        }
        Err(error) => {
            tracing::error!(target: "", signal, %file, adapter, error, "failed to reload config from file");
        }
    }
}

/// Looks at the file of `origin` now and then, and loads what has changed in it or in what it imports.
/// A file that can't be read is tried again.
pub async fn watch(instance: Arc<Instance>, origin: Origin, mut last: Value) {
    let file = origin.file.display().to_string();
    tracing::info!(target: "watcher", config_file = file, "watching config file for changes");
    let mut complaint = String::new();
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        let json = match read(&instance, &origin).await {
            Ok(json) => json,
            Err(error) => {
                if error != complaint {
                    tracing::error!(target: "watcher", config_file = file, error, "unable to load latest config");
                    complaint = error;
                }
                continue;
            }
        };
        complaint.clear();
        if json == last {
            continue;
        }
        tracing::info!(target: "watcher", config_file = file, "config file changed; reloading");
        last = json.clone();
        if let Err(error) = instance.load(json, false).await {
            tracing::error!(target: "watcher", config_file = file, %error, "applying latest config");
        }
    }
}

/// Reads and adapts a file, apart from the control thread.
async fn read(instance: &Instance, origin: &Origin) -> Result<Value, String> {
    let registry = instance.registry();
    let Origin { file, adapter } = origin.clone();
    let read = move || source::load(registry, Some(&file), Some(&adapter)).map(|loaded| loaded.json);
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
