//! Logs, which write, and loggers, which are written to. A logger knows from the start which logs
//! listen to it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;

use super::modules::{EncoderContext, Modules, check_core, default_encoder};
use super::sampler::Sampler;
use super::stream::stderr;
use super::{Encoder, Entry, Fields, Level, LogError, Outlet, Rules, global};
use crate::config::logging as config;

/// All logs of one configuration.
pub struct Logging {
    /// The default log comes first.
    logs: Vec<Arc<Log>>,
}

/// One log: what it takes, in which form, and where to.
pub(super) struct Log {
    level: Level,
    rules: Rules,
    sampler: Option<Sampler>,
    /// Whether entries say where in the program they come from.
    caller: bool,
    encoder: Arc<dyn Encoder>,
    /// `None` swallows everything.
    outlet: Option<Arc<Outlet>>,
}

/// Where entries of one name go. It is made once and cheap to clone.
#[derive(Clone)]
pub struct Logger {
    name: Arc<str>,
    logs: Arc<[Arc<Log>]>,
    /// The lowest level that any of the logs takes; `None` if there are no logs.
    level: Option<Level>,
}

impl Logging {
    /// Opens all that `config` describes; without a default log there, entries of level INFO and above
    /// go to standard error.
    ///
    /// # Errors
    /// The first log that makes no sense or can't be opened.
    pub fn provision(config: Option<&config::Logging>, modules: &Modules) -> Result<Self, LogError> {
        let mut logs = Vec::new();
        let none = config::Logging::default();
        let config = config.unwrap_or(&none);
        if let Some(sink) = &config.sink {
            // Nothing of ours writes unstructured output; what was said of it must make sense all the same.
            let log = config::CustomLog {
                writer: sink.writer.clone(),
                encoder: sink.encoder.clone(),
                core: sink.core.clone(),
                level: sink.level.clone(),
                ..config::CustomLog::default()
            };
            Log::provision(&log, modules).map_err(|error| error.at("setting up sink log"))?;
        }
        let default = config.logs.get(config::DEFAULT_LOG).cloned().unwrap_or_default();
        logs.push(Log::provision(&default, modules).map_err(|error| error.at("setting up default log"))?);
        for (name, log) in config.logs.iter().filter(|(name, _)| *name != config::DEFAULT_LOG) {
            let place = || format!("setting up custom log '{name}'");
            logs.push(Log::provision(log, modules).map_err(|error| error.at(place()))?);
        }
        Ok(Self { logs: logs.into_iter().map(Arc::new).collect() })
    }

    /// The logger called `name`, such as `http.log.access.log0`.
    pub fn logger(&self, name: impl Into<Arc<str>>) -> Logger {
        let name = name.into();
        let listens = |log: &&Arc<Log>| log.outlet.is_some() && log.rules.allow(&name);
        let logs: Arc<[_]> = self.logs.iter().filter(listens).cloned().collect();
        let level = logs.iter().map(|log| log.level).min();
        Logger { name, logs, level }
    }

    /// Whether any log takes entries of some logger that is called `space` or lies within it.
    pub fn listens_within(&self, space: &str) -> bool {
        self.logs.iter().any(|log| log.outlet.is_some() && log.rules.touch(space))
    }

    /// What people call the default log's output.
    pub(super) fn default_output(&self) -> &str {
        let outlet = self.logs.first().and_then(|log| log.outlet.as_deref());
        outlet.map_or("discard", Outlet::name)
    }

    /// The lowest level that any log takes.
    pub(super) fn level(&self) -> Option<Level> {
        self.logs.iter().filter(|log| log.outlet.is_some()).map(|log| log.level).min()
    }

    /// Writes an entry to all logs that listen to its logger.
    pub(super) fn write(&self, entry: &Entry<'_>) {
        for log in &self.logs {
            if entry.level >= log.level && log.rules.allow(entry.logger) {
                log.write(entry);
            }
        }
    }
}

impl Log {
    fn provision(config: &config::CustomLog, modules: &Modules) -> Result<Self, LogError> {
        let destination = match &config.writer {
            Some(json) => modules.destination(json)?,
            None => Some(stderr()),
        };
        let context = EncoderContext::new(modules, destination.as_ref());
        let encoder = match &config.encoder {
            Some(json) => context.encoder(json)?,
            None => default_encoder(context.terminal),
        };
        if let Some(core) = &config.core {
            check_core(core)?;
        }
        let outlet = destination.map(|destination| Outlet::open(destination, encoder.clone())).transpose()?;
        Ok(Self {
            level: global::expand(&config.level)?.parse()?,
            rules: Rules::new(&config.include, &config.exclude)?,
            sampler: config.sampling.as_ref().map(Sampler::new),
            caller: config.with_caller,
            encoder,
            outlet,
        })
    }

    /// Encodes an entry, whose level is high enough, and queues it.
    fn write(&self, entry: &Entry<'_>) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let Some(outlet) = &self.outlet else { return };
        if self.sampler.as_ref().is_some_and(|sampler| !sampler.allow(entry.level, entry.message)) {
            return;
        }
        let mut entry = *entry;
        if !self.caller {
            entry.caller = None;
        }
        // Taken out rather than borrowed: a field that logs while it is shown must not fail.
        let mut line = LINE.take();
        line.clear();
        self.encoder.encode(&entry, &mut line);
        outlet.push(&line);
        if line.capacity() <= LINE_BYTES_KEPT {
            LINE.set(line);
        }
    }
}

/// A thread's buffer for entries is given back when it has grown beyond this.
const LINE_BYTES_KEPT: usize = 64 << 10;

impl Logger {
    /// A logger that nobody listens to.
    pub fn nowhere() -> Self {
        Self { name: Arc::from(""), logs: Arc::from([]), level: None }
    }

    /// The logger's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether anybody takes entries of `level`.
    pub fn enabled(&self, level: Level) -> bool {
        self.level.is_some_and(|lowest| level >= lowest)
    }

    /// Writes an entry, now. It never waits.
    pub fn log(&self, level: Level, message: &str, fields: &dyn Fields) {
        if self.enabled(level) {
            let time = SystemTime::now();
            self.write(&Entry { level, time, logger: &self.name, caller: None, message, fields });
        }
    }

    /// Writes an entry that may have happened earlier; its `logger` is this one, whatever it says.
    pub fn write(&self, entry: &Entry<'_>) {
        let entry = Entry { logger: &self.name, ..*entry };
        for log in self.logs.iter().filter(|log| entry.level >= log.level) {
            log.write(&entry);
        }
    }
}
