//! The process's own messages: what is said by `tracing` goes to the logs of the configuration that
//! is in force.
//!
//! A message's logger is its target. Those of ours are written out (`target: "http.auto_https"`), or
//! follow from the module: `tollgate::tls::acme` is `tls.acme`.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use super::{Level, Logging, Modules, OwnedEntry, OwnedValue};

/// How many messages are held back while there is no configuration yet.
const HELD_MAX: usize = 1000;
/// The name of this crate, as targets begin with it.
const CRATE: &str = "tollgate";

/// The logs that are in force.
static CURRENT: LazyLock<ArcSwap<Logging>> = LazyLock::new(|| {
    let logging = Logging::provision(None, &Modules::default())
        .expect("invariant: the default log is standard error, which is always open");
    ArcSwap::from_pointee(logging)
});
/// Messages that are held back, if they are.
static HELD: Mutex<Option<Vec<OwnedEntry>>> = Mutex::new(None);
/// The lowest level that any log takes, as a number; a message below it costs one load.
static LOWEST: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Makes this the process's subscriber of `tracing`, and lets panics be logged too, where a full pipe
/// can't hold up whoever panics. Messages go to standard error until there is a configuration.
pub fn install() {
    // A second call, in tests that share a process, changes nothing.
    if tracing::subscriber::set_global_default(Process::default()).is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let payload = panic.payload();
            let message = payload.downcast_ref::<&str>().copied();
            let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let message = message.unwrap_or("a value that is no text");
            let backtrace = std::backtrace::Backtrace::capture().to_string();
            tracing::error!(target: "", place, backtrace, "panic: {message}");
        }));
    }
}

/// Holds messages back from now on until [`activate`] or [`release`], so that those about loading a
/// configuration go where that configuration says.
pub fn hold() {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
}

/// Lets messages through that were held back.
pub fn release() {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
    let logging = CURRENT.load();
    for entry in held.into_iter().flatten() {
        logging.write(&entry.as_entry());
    }
}

/// Puts `logging` in force. Loggers made of the logs before it go on with those.
pub fn activate(logging: Arc<Logging>) {
    LOWEST.store(logging.level().unwrap_or(Level::Fatal) as u8, Ordering::Relaxed);
    let (from, to) = (CURRENT.load().default_output().to_owned(), logging.default_output().to_owned());
    if from != to {
        tracing::info!(target: "", from, to, "redirected default logger");
    }
    CURRENT.store(logging);
    tracing::callsite::rebuild_interest_cache();
    release();
}

/// The logs that are in force.
pub fn current() -> Arc<Logging> {
    CURRENT.load_full()
}

/// The subscriber. It takes events; spans have no place in Caddy's logs.
#[derive(Default)]
struct Process {
    spans: AtomicU64,
}

impl Subscriber for Process {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if !metadata.is_event() {
            return false;
        }
        let level = Level::from(metadata.level());
        // Libraries say much that only their authors understand.
        let foreign = logger_name(metadata).is_none() && level < Level::Warn;
        !foreign && level as u8 >= LOWEST.load(Ordering::Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if LOWEST.load(Ordering::Relaxed) > Level::Debug as u8 {
            LevelFilter::INFO
        } else {
            LevelFilter::TRACE
        })
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut fields = Gathered::default();
        event.record(&mut fields);
        let caller = metadata.file().map(|file| format!("{file}:{}", metadata.line().unwrap_or(0)));
        let entry = OwnedEntry {
            level: metadata.level().into(),
            time: SystemTime::now(),
            logger: logger_name(metadata)
                .unwrap_or_else(|| metadata.target().replace("::", ".").into())
                .into_owned(),
            caller,
            message: fields.message,
            fields: fields.others,
        };
        if let Some(held) = HELD.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            if held.len() < HELD_MAX {
                held.push(entry);
            }
            return;
        }
        CURRENT.load().write(&entry.as_entry());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The logger of a message of ours; `None` if it is a library's.
fn logger_name<'m>(metadata: &Metadata<'m>) -> Option<Cow<'m, str>> {
    let target = metadata.target();
    let module = metadata.module_path().unwrap_or_default();
    let ours = |path: &str| path == CRATE || path.starts_with("tollgate::");
    if !ours(module) {
        return None;
    }
    if !ours(target) {
        return Some(Cow::Borrowed(target));
    }
    Some(target[CRATE.len()..].trim_start_matches("::").replace("::", ".").into())
}

/// The fields of an event.
#[derive(Default)]
struct Gathered {
    message: String,
    others: Vec<(&'static str, OwnedValue)>,
}

impl Gathered {
    fn add(&mut self, field: &Field, value: OwnedValue) {
        match value {
            OwnedValue::Text(text) if field.name() == "message" => self.message = text,
            value => self.others.push((field.name(), value)),
        }
    }
}

impl Visit for Gathered {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, OwnedValue::Text(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, OwnedValue::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, OwnedValue::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, OwnedValue::Uint(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, OwnedValue::Float(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, OwnedValue::Text(value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, OwnedValue::Text(format!("{value:?}")));
    }
}
