//! A process that serves: its logs, its runtime, its signals and its end.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Exit, Failure};
use crate::app::Instance;
use crate::app::control::{self, Ending, Signals};
use crate::http::Engine;
use crate::module::Registry;
use crate::{log, modules};

/// So long the last lines of the logs may take to be written.
const LOG_FLUSH_MAX: Duration = Duration::from_secs(1);

/// Does `work` on the control thread of a process that logs. What is logged before there is a
/// configuration goes where that says.
pub(super) fn run(work: impl AsyncFnOnce(&'static Registry) -> Result<(), Failure>) -> Result<(), Failure> {
    log::install();
    log::hold();
    // It is used as long as the process lives.
    let registry: &'static Registry = Box::leak(Box::new(modules::registry()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(super::STACK_BYTES)
        .build()
        .map_err(|error| Failure::io("starting the runtime", error))?;
    let done = runtime.block_on(work(registry));
    // Work that is still going on, on threads for blocking work, is of no use any more.
    runtime.shutdown_background();
    log::release();
    log::flush(LOG_FLUSH_MAX);
    done
}

/// Takes over the signals.
pub(super) fn signals() -> Result<Signals, Failure> {
    Signals::catch().map_err(|error| Failure::io("catching signals", error))
}

/// An instance with a worker for each processor that we may use.
pub(super) fn instance(registry: &'static Registry) -> Result<Arc<Instance>, Failure> {
    let workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let engine = Engine::start(workers).map_err(|error| Failure::io("starting the workers", error))?;
    Ok(Instance::new(registry, engine))
}

/// What an ending means for the exit code.
pub(super) fn ended(ending: Ending) -> Result<(), Failure> {
    match ending {
        Ending::Graceful => {
            tracing::info!(target: "", exit_code = 0, "shutdown complete");
            Ok(())
        }
        Ending::Forced => Err(Failure::Quit(Exit::Forced)),
    }
}

/// Serves `apps` until told to stop, without an admin endpoint and without a trace on disk, as the
/// commands do that are servers by themselves. `started` is called once they serve.
pub(super) fn serve(
    apps: Value,
    debug: bool,
    started: impl AsyncFnOnce(&Instance) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut config = json!({
        "admin": {"disabled": true, "config": {"persist": false}},
        "apps": apps,
    });
    if debug {
        config["logging"] = json!({"logs": {"default": {"level": "DEBUG"}}});
    }
    run(async |registry| {
        let mut signals = signals()?;
        let instance = instance(registry)?;
        instance.load(config, true).await.map_err(Failure::Initial)?;
        started(&instance).await?;
        ended(control::run(&instance, &mut signals).await)
    })
}

/// `Field: value` flags as the object of a headers handler.
pub(super) fn header_fields(flag: &str, fields: &[String]) -> Result<Value, Failure> {
    let mut object = serde_json::Map::new();
    for (index, field) in fields.iter().enumerate() {
        let (name, value) = field.split_once(':').unwrap_or((field, ""));
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || value.is_empty() {
            return Err(Failure::other(format!(
                "{flag} {index}: invalid format \"{field}\" (expecting \"Field: value\")"
            )));
        }
        object.insert(name.to_owned(), json!([value]));
    }
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_flags_are_fields() {
        let fields = |given: &[&str]| {
            header_fields("header", &given.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(fields(&["X-A: one: two", "X-B:x"]).unwrap(), json!({"X-A": ["one: two"], "X-B": ["x"]}));
        for odd in ["X-A", "X-A:", ": x"] {
            assert!(fields(&[odd]).unwrap_err().to_string().contains(odd), "{odd}");
        }
    }
}
